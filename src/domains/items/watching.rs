//! Watching items: what a person wants to hear of. It concerns nobody else, so it is not in the ledger.

use sea_orm::{ColumnTrait as _, ExprTrait as _};

use super::{input::ItemWatchInput, service::Written, sweep::CHUNK};
use crate::{
    base::{
        error::{Code, Problem, ProblemCode, Refusal, Result},
        id::{ItemId, UserId},
    },
    data::{
        db::{OrgScope, WriteTx, filter::among},
        entity::{item, item_watcher},
    },
};

/// Begins or ends watching an item. Doing so again changes nothing.
pub async fn watch(scope: &OrgScope, input: &ItemWatchInput) -> Written {
    use item_watcher::Column;
    let user_id = scope
        .user_id()
        .ok_or_else(|| Refusal::new(Code::Forbidden, "Only a person watches items; an API key does not."))?;
    let tx = scope.write_as_member().await?;
    let path = ["input", "id"];
    let item = tx.find::<item::Entity>().filter(item::Column::Id.eq(input.id)).one().await?;
    let item = item.ok_or_else(|| Problem::not_found(&path, "item"))?;
    let own = || Column::ItemId.eq(input.id).and(Column::UserId.eq(user_id));
    if !input.watching {
        tx.delete_where::<item_watcher::Entity>(own()).await?;
    } else if tx.find::<item_watcher::Entity>().filter(own()).one().await?.is_none() {
        if item.deleted_at.is_some() {
            let message = "The item is in the trash; restore it first.";
            return Err(Problem::new(ProblemCode::InvalidState, &path, message).into());
        }
        let organization_id = scope.organization_id();
        tx.insert(item_watcher::Model { organization_id, item_id: input.id, user_id }).await?;
    }
    Ok(tx.commit_unrecorded(item, "what somebody watches concerns nobody else").await?)
}

/// Ends a person's watching of the next items; whether none are left.
pub async fn stop_watching(tx: &WriteTx, user_id: UserId) -> Result<bool> {
    use item_watcher::Column;
    let watched = tx.find::<item_watcher::Entity>().filter(Column::UserId.eq(user_id)).limit(CHUNK as u64 + 1);
    let mut ids: Vec<ItemId> = watched.column(Column::ItemId).await?;
    let is_last = ids.len() <= CHUNK;
    ids.truncate(CHUNK);
    if !ids.is_empty() {
        let these = Column::UserId.eq(user_id).and(among(tx.scope().db(), Column::ItemId, ids));
        tx.delete_where::<item_watcher::Entity>(these).await?;
    }
    Ok(is_last)
}
