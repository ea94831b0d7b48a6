//! What other domains do to items when something that items refer to goes: a tag, a team, a member. One event for each item
//! that changes, a chunk of items at a time: however many there are, no transaction is long.

use sea_orm::{ColumnTrait, ExprTrait as _};

use super::{
    save_many::{ItemChange, save_all},
    state::ItemState,
};
use crate::{
    base::{
        enums::{ItemStatus, MembershipStatus},
        error::Result,
        id::{ItemId, TagId, TeamId, UserId},
    },
    data::{
        db::WriteTx,
        entity::{EventType, item, item_assignee, item_tag, membership, tag},
    },
};

/// Items that one transaction changes at most; a change of more leaves the rest to a job.
pub const CHUNK: usize = 500;

/// One more than a chunk, so that it's known whether any are left.
const CHUNK_AND_ONE: u64 = CHUNK as u64 + 1;

/// Takes the next items of a team out of it; whether none are left.
pub async fn leave_team(tx: &mut WriteTx, team_id: TeamId) -> Result<bool> {
    let of_team = tx.find::<item::Entity>().filter(item::Column::TeamId.eq(team_id)).limit(CHUNK_AND_ONE);
    let ids = of_team.column(item::Column::Id).await?;
    change_each(tx, ids, |state| state.row.team_id = None).await
}

/// Takes a tag off the next items that have it; `replacement` takes its place, unless it has gone meanwhile. Whether none
/// are left.
pub async fn replace_tag(tx: &mut WriteTx, tag_id: TagId, replacement: Option<TagId>) -> Result<bool> {
    let replacement = match replacement {
        Some(id) => tx.find::<tag::Entity>().filter(tag::Column::Id.eq(id)).one().await?.map(|tag| tag.id),
        None => None,
    };
    let tagged = tx.find::<item_tag::Entity>().filter(item_tag::Column::TagId.eq(tag_id)).limit(CHUNK_AND_ONE);
    let ids = tagged.column(item_tag::Column::ItemId).await?;
    change_each(tx, ids, |state| {
        state.tags.remove(&tag_id);
        state.tags.extend(replacement);
    })
    .await
}

/// Takes a person off the next items they are assigned to; `replacement` takes over the open ones, unless they are no
/// active member any more. Whether none are left.
pub async fn reassign(tx: &mut WriteTx, user_id: UserId, replacement: Option<UserId>) -> Result<bool> {
    let replacement = match replacement {
        Some(id) => {
            let active = membership::Column::UserId.eq(id).and(membership::Column::Status.eq(MembershipStatus::Active));
            tx.find::<membership::Entity>().filter(active).one().await?.map(|member| member.user_id)
        }
        None => None,
    };
    let assigned = item_assignee::Column::UserId.eq(user_id);
    let assigned = tx.find::<item_assignee::Entity>().filter(assigned).limit(CHUNK_AND_ONE);
    let ids = assigned.column(item_assignee::Column::ItemId).await?;
    change_each(tx, ids, |state| {
        state.assignees.remove(&user_id);
        let open =
            state.row.deleted_at.is_none() && !matches!(state.row.status, ItemStatus::Done | ItemStatus::Archived);
        state.assignees.extend(replacement.filter(|_| open));
    })
    .await
}

/// Changes the first [`CHUNK`] of these items; whether that were all.
async fn change_each(tx: &mut WriteTx, mut ids: Vec<ItemId>, change: impl Fn(&mut ItemState)) -> Result<bool> {
    let is_all = ids.len() <= CHUNK;
    ids.truncate(CHUNK);
    if ids.is_empty() {
        return Ok(is_all);
    }
    let named = item::Column::Id.is_in(ids);
    let rows = tx.find::<item::Entity>().filter(named).order_by_asc(item::Column::Id).for_update().all().await?;
    let mut all = Vec::with_capacity(rows.len());
    for before in ItemState::load(tx, rows).await? {
        let mut after = before.clone();
        change(&mut after);
        all.push(ItemChange { r#type: EventType::ItemUpdated, before, after });
    }
    save_all(tx, all, |_| true).await?;
    Ok(is_all)
}
