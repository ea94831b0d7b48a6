//! The end of an account: out of its organizations, the first at once and the rest by a job, however many there are. The
//! account itself ends at once.

use sea_orm::{ActiveValue::Set, Condition, prelude::*, sea_query::IntoCondition as _};
use serde_json::json;

use super::announce::CHUNK;
use crate::{
    base::{
        enums::Role,
        error::{Problem, ProblemCode, Result},
        id::UserId,
    },
    data::{
        db::AccountTx,
        entity::{ActorRef, account_token, credential, membership, session, user},
    },
    domains::members::{
        self,
        service::{Removal, is_last_owner},
    },
};

/// Organizations that a person may own when they go: all of those are left at once, because each must keep an owner.
const MAX_OWNED: usize = 200;

/// The kind of job that takes a person out of the organizations that are left, and off everything that refers to them; the
/// account goes last.
pub const DEPARTURE: &str = "account.deletion";

/// Takes a person out of what they own, and of the next organizations. LAST_OWNER, with the organizations, while one would
/// be left without an owner.
pub async fn depart(mut tx: AccountTx, user_id: UserId) -> Result<AccountTx> {
    let owned = membership::Column::Role.eq(Role::Owner).into_condition();
    let mut rows = tx.memberships(user_id, owned.clone(), MAX_OWNED as u64 + 1).await?;
    if rows.len() > MAX_OWNED {
        let message = format!("You own more than {MAX_OWNED} organizations: hand some over, or delete them, first.");
        let problem = Problem::new(ProblemCode::InvalidState, &["input"], message);
        return Err(problem.details(json!({ "limit": MAX_OWNED })).into());
    }
    rows.extend(tx.memberships(user_id, owned.not(), CHUNK).await?);
    // Organizations are locked in one order, by whoever locks several.
    rows.sort_by_key(|row| row.organization_id);
    let mut left_alone = Vec::new();
    for membership in rows {
        let mut inside = tx.depart(&membership).await?;
        inside.lock_organization().await?;
        // As it stands now that nobody else can change it; removed meanwhile is as good.
        let own = membership::Column::Id.eq(membership.id);
        if let Some(row) = inside.find::<membership::Entity>().filter(own).for_update().one().await? {
            if is_last_owner(&inside, &row).await? {
                let organization = inside.scope().organization();
                left_alone.push(json!({
                    "id": organization.id, "slug": organization.slug, "name": organization.name,
                }));
            } else {
                members::service::take_out(&mut inside, &row, None).await?;
            }
        }
        tx = inside.leave();
    }
    if left_alone.is_empty() {
        return Ok(tx);
    }
    let message = "You are the last owner of an organization: make somebody else an owner, or delete it, first.";
    let problem = Problem::new(ProblemCode::LastOwner, &["input"], message);
    Err(problem.details(json!({ "organizations": left_alone })).into())
}

/// Ends an account for everybody: deletes it, or leaves that to a job while there is more to leave. Then no credential is
/// left, the address and the username are free, and what they did was done by somebody without a name.
pub async fn close(tx: &mut AccountTx, user_id: UserId) -> Result<()> {
    if tx.memberships(user_id, Condition::all(), 1).await?.is_empty() {
        return tx.delete_where::<user::Entity>(user::Column::Id.eq(user_id)).await.map(drop);
    }
    tx.delete_where::<credential::Entity>(credential::Column::UserId.eq(user_id)).await?;
    tx.delete_where::<session::Entity>(session::Column::UserId.eq(user_id)).await?;
    tx.delete_where::<account_token::Entity>(account_token::Column::UserId.eq(user_id)).await?;
    let nobody = format!("deleted-{}", user_id.uuid().simple());
    tx.update(user::ActiveModel {
        id: Set(user_id),
        email: Set(nobody.clone()),
        email_key: Set(nobody.clone()),
        username: Set(nobody.clone()),
        username_key: Set(nobody),
        full_name: Set(None),
        full_name_key: Set(None),
        avatar_url: Set(None),
        email_verified_at: Set(None),
        ..Default::default()
    })
    .await?;
    tx.enqueue(DEPARTURE, user_id.uuid(), ActorRef::user(user_id), user_id).await
}

/// Goes on in one organization: takes the person out, or off the next items that refer to them. Deletes the account when no
/// organization is left; whether it is gone.
pub async fn depart_more(tx: AccountTx, user_id: UserId) -> Result<(AccountTx, bool)> {
    let Some(membership) = tx.memberships(user_id, Condition::all(), 1).await?.into_iter().next() else {
        tx.delete_where::<user::Entity>(user::Column::Id.eq(user_id)).await?;
        return Ok((tx, true));
    };
    let mut inside = tx.depart(&membership).await?;
    inside.lock_organization().await?;
    let own = membership::Column::Id.eq(membership.id);
    match inside.find::<membership::Entity>().filter(own).for_update().one().await? {
        Some(row) if row.removed_at.is_none() => members::service::take_out(&mut inside, &row, None).await?,
        Some(row) => members::service::remove_more(&mut inside, Removal::of(&row)).await.map(drop)?,
        None => {}
    }
    Ok((inside.leave(), false))
}
