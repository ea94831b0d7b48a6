//! Keys of somebody who leaves. Knows neither async-graphql nor axum.

use sea_orm::{ActiveValue::Set, ExprTrait as _, prelude::*};

use crate::{
    db::WriteTx,
    entity::api_key,
    error::Result,
    graphql::scalars::format_instant,
    id::UserId,
    ledger::{Change, EventType, NewEvent},
};

/// Revokes every key that a person made in the write's organization: a key's rights are its creator's, and they have
/// none here any more.
pub async fn revoke_of(tx: &mut WriteTx, user_id: UserId) -> Result<()> {
    let now = tx.scope().clock().now();
    let live = api_key::Column::CreatedById.eq(user_id).and(api_key::Column::RevokedAt.is_null());
    let keys = tx.find::<api_key::Entity>().filter(live).order_by_asc(api_key::Column::Id).for_update().all().await?;
    for key in keys {
        tx.update(api_key::ActiveModel {
            id: Set(key.id),
            revoked_at: Set(Some(now)),
            previous_hash: Set(None),
            previous_until: Set(None),
            version: Set(key.version + 1),
            ..Default::default()
        })
        .await?;
        let revoked = Change { field: "revokedAt".to_owned(), before: Json::Null, after: format_instant(now).into() };
        tx.record(NewEvent::new(EventType::ApiKeyRevoked, key.id.any(), vec![revoked]));
    }
    Ok(())
}
