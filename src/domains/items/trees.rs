//! Trees of items: into the trash, out of it, gone for good. A tree of up to [`CHUNK`] items moves in one transaction; of a
//! larger one the root does, and a job brings the rest along, a chunk at a time.

use sea_orm::{ActiveValue::Set, ExprTrait as _, prelude::*, sea_query::Expr};
use serde::{Deserialize, Serialize};

use super::{
    input::{ItemDeleteInput, ItemRestoreInput},
    service::{Written, open_anywhere, units},
    state::{Counts, ItemState},
    sweep::CHUNK,
};
use crate::{
    base::{
        enums::QuotaResource,
        error::{Error, Problem, ProblemCode, Result},
        id::ItemId,
        plan::{self, Plan},
        policy::Permission,
    },
    data::{
        db::{OrgScope, WriteTx, filter::select},
        entity::{EventType, Versioned as _, item},
        ledger::{NewEvent, changes},
    },
    domains::{comments, relations},
};

/// The kinds of jobs that bring the rest of a tree along.
pub const DELETION: &str = "item.deletion";
pub const RESTORE: &str = "item.restore";
pub const PURGE: &str = "item.purge";

/// One more than a chunk, so that it's known whether any are left.
const CHUNK_AND_ONE: u64 = CHUNK as u64 + 1;

/// What these jobs read: the tree's root, and what its rows in the trash have in common.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Tree {
    root_id: ItemId,
    deletion_id: Uuid,
}

/// The rows below an item that `keep` says, level by level, locked; `None` when they are more than fit one transaction
/// with their root.
async fn below(tx: &WriteTx, root: ItemId, keep: impl Fn(&item::Model) -> bool) -> Result<Option<Vec<item::Model>>> {
    let (mut rows, mut level) = (Vec::new(), vec![root]);
    while !level.is_empty() {
        let children = tx.find::<item::Entity>().filter(item::Column::ParentId.is_in(level)).limit(CHUNK_AND_ONE);
        let mut next = children.for_update().all().await?;
        if next.len() > CHUNK {
            return Ok(None);
        }
        next.retain(&keep);
        level = next.iter().map(|row| row.id).collect();
        rows.extend(next);
        if rows.len() >= CHUNK {
            return Ok(None);
        }
    }
    Ok(Some(rows))
}

/// To the trash, with all below it that is not there yet. Deleting again is harmless.
pub async fn delete(scope: &OrgScope, input: &ItemDeleteInput) -> Written {
    let mut tx = scope.write(Permission::ItemDelete).await?;
    let root = open_anywhere(&tx, input.id, input.if_version).await?.row;
    if root.deleted_at.is_some() {
        return Ok(tx.commit(root).await?);
    }
    let tree = Tree { root_id: root.id, deletion_id: scope.clock().new_uuid() };
    let mut rows = vec![root];
    match below(&tx, tree.root_id, |row| row.deleted_at.is_none()).await? {
        Some(below) => rows.extend(below),
        None => tx.enqueue(DELETION, tree.root_id.uuid(), tree).await?,
    }
    let root = to_trash(&mut tx, rows, tree.deletion_id, true).await?;
    Ok(tx.commit(root.ok_or_else(no_root)?).await?)
}

/// Brings the next rows of a tree into the trash; whether none are left.
pub async fn delete_more(tx: &mut WriteTx, tree: Tree) -> Result<bool> {
    let rows = next_below(tx, tree, item::Column::DeletedAt.is_null()).await?;
    let is_last = rows.is_empty();
    to_trash(tx, rows, tree.deletion_id, false).await?;
    Ok(is_last)
}

/// Rows whose parent this deletion took to the trash, a chunk of them.
async fn next_below(tx: &WriteTx, tree: Tree, which: impl Into<sea_orm::Condition> + Send) -> Result<Vec<item::Model>> {
    let taken = sea_orm::Condition::all().add(item::Column::DeletionId.eq(tree.deletion_id));
    let parents = select::<item::Entity>(tx.scope(), item::Column::Id, taken);
    let children = item::Column::ParentId.in_subquery(parents);
    tx.find::<item::Entity>().filter(children).filter(which.into()).limit(CHUNK as u64).for_update().all().await
}

async fn to_trash(
    tx: &mut WriteTx,
    rows: Vec<item::Model>,
    deletion_id: Uuid,
    with_root: bool,
) -> Result<Option<item::Model>> {
    tx.count(QuotaResource::Items, -units(rows.len())?);
    let now = tx.scope().clock().now();
    move_rows(tx, rows, EventType::ItemDeleted, with_root, |row| {
        row.deleted_at = Some(now);
        row.deletion_id = Some(deletion_id);
    })
    .await
}

/// Back from the trash, with what that deletion took along. Restoring again is harmless. INVALID_STATE while a job still
/// works on the tree.
pub async fn restore(scope: &OrgScope, input: &ItemRestoreInput) -> Written {
    let mut tx = scope.write(Permission::ItemDelete).await?;
    let root = open_anywhere(&tx, input.id, input.if_version).await?.row;
    let Some(deletion_id) = root.deletion_id.filter(|_| root.deleted_at.is_some()) else {
        return Ok(tx.commit(root).await?);
    };
    let invalid = |message: &str| Problem::new(ProblemCode::InvalidState, &["input", "id"], message);
    if let Some(parent) = root.parent_id
        && tx.locked::<item::Entity>(parent, &["input", "id"]).await?.deleted_at.is_some()
    {
        return Err(invalid("Its parent is in the trash; restore that first.").into());
    }
    if tx.has_job(root.id.uuid()).await? {
        return Err(invalid("What is below it is still on its way; try again shortly.").into());
    }
    let tree = Tree { root_id: root.id, deletion_id };
    let mut rows = vec![root];
    match below(&tx, tree.root_id, |row| row.deletion_id == Some(deletion_id)).await? {
        Some(below) => rows.extend(below),
        None => {
            check_room(&tx, deletion_id).await?;
            tx.enqueue(RESTORE, tree.root_id.uuid(), tree).await?;
        }
    }
    let root = from_trash(&mut tx, rows, true).await?;
    Ok(tx.commit(root.ok_or_else(no_root)?).await?)
}

/// QUOTA_EXCEEDED when the plan has no room for all that a deletion took: a job must not stop half-way.
async fn check_room(tx: &WriteTx, deletion_id: Uuid) -> Result<()> {
    let rows = tx.find::<item::Entity>().filter(item::Column::DeletionId.eq(deletion_id)).count().await?;
    let more = i64::try_from(rows).map_err(Error::internal)?;
    let head = tx.lock_head().await?;
    let used = head.used(QuotaResource::Items);
    match Plan::of(head.plan_tier).limit(QuotaResource::Items) {
        Some(limit) if used + more > limit => {
            Err(plan::exceeded(head.plan_tier, QuotaResource::Items, used, more, &["input"]).into())
        }
        _ => Ok(()),
    }
}

/// Brings the next rows of a tree back; whether none are left.
pub async fn restore_more(tx: &mut WriteTx, tree: Tree) -> Result<bool> {
    let taken = tx.find::<item::Entity>().filter(item::Column::DeletionId.eq(tree.deletion_id));
    let rows = taken.order_by_asc(item::Column::Id).limit(CHUNK as u64).for_update().all().await?;
    let is_last = rows.len() < CHUNK;
    from_trash(tx, rows, false).await?;
    Ok(is_last)
}

async fn from_trash(tx: &mut WriteTx, rows: Vec<item::Model>, with_root: bool) -> Result<Option<item::Model>> {
    tx.count(QuotaResource::Items, units(rows.len())?);
    move_rows(tx, rows, EventType::ItemRestored, with_root, |row| {
        row.deleted_at = None;
        row.deletion_id = None;
    })
    .await
}

/// Moves rows into the trash or out of it: one event a row. `with_root`: the first is a tree's root. Returns the first as it
/// then is.
async fn move_rows(
    tx: &mut WriteTx,
    rows: Vec<item::Model>,
    r#type: EventType,
    with_root: bool,
    change: impl Fn(&mut item::Model),
) -> Result<Option<item::Model>> {
    let now = tx.scope().clock().now();
    let mut counts = Counts::default();
    let mut root = None;
    for before in ItemState::load(tx, rows).await? {
        let mut after = before.clone();
        change(&mut after.row);
        after.row.advance(now);
        // Only the root's parent sees a change: below it, parents and children move together.
        if with_root && root.is_none() {
            counts.leave(&before.row);
            counts.enter(&after.row);
        }
        let changed = changes(Some(&before.fields()), Some(&after.fields()));
        tx.record(ItemState::event(&after.row, r#type, changed));
        let changed = item::ActiveModel {
            id: Set(after.row.id),
            deleted_at: Set(after.row.deleted_at),
            deletion_id: Set(after.row.deletion_id),
            updated_at: Set(now),
            version: Set(after.row.version),
            ..Default::default()
        };
        let row = tx.update(changed).await?;
        root.get_or_insert(row);
    }
    counts.apply(tx).await?;
    Ok(root)
}

/// Deletes an item and all below it for good, and the comments on them.
pub async fn purge(scope: &OrgScope, input: &ItemDeleteInput) -> Written {
    let mut tx = scope.write(Permission::ItemDelete).await?;
    scope.require(Permission::ItemPurge)?;
    let root = open_anywhere(&tx, input.id, input.if_version).await?.row;
    if tx.has_job(root.id.uuid()).await? {
        let message = "What is below it is still on its way; try again shortly.";
        return Err(Problem::new(ProblemCode::InvalidState, &["input", "id"], message).into());
    }
    // In the trash it still counts for a parent that went there with it.
    let mut leaving = root.clone();
    if let Some(parent) = root.parent_id.filter(|_| root.deleted_at.is_some()) {
        let parent: item::Model = tx.locked::<item::Entity>(parent, &["input", "id"]).await?;
        if parent.deletion_id == root.deletion_id {
            leaving.deleted_at = None;
        }
    }
    let rows = below(&tx, root.id, |_| true).await?;
    let rows = rows.map(|rows| std::iter::once(root.clone()).chain(rows).collect::<Vec<_>>());
    let rows = match rows {
        Some(rows) if fits_one_transaction(&tx, &rows).await? => rows,
        _ => {
            let root = purge_by_job(&mut tx, root, &leaving).await?;
            return Ok(tx.commit(root).await?);
        }
    };
    let mut counts = Counts::default();
    counts.leave(&leaving);
    counts.apply(&tx).await?;
    tx.count(QuotaResource::Items, -units(rows.iter().filter(|row| row.deleted_at.is_none()).count())?);
    comments::service::leave_with(&mut tx, &rows).await?;
    relations::service::leave_some(&mut tx, &rows, CHUNK as u64).await?;
    delete_rows(&mut tx, rows).await?;
    Ok(tx.commit(root).await?)
}

/// Whether what belongs to items is so little that it goes with them.
async fn fits_one_transaction(tx: &WriteTx, rows: &[item::Model]) -> Result<bool> {
    let comments: usize = rows.iter().map(|row| usize::try_from(row.comment_count).unwrap_or_default()).sum();
    Ok(comments <= CHUNK && relations::service::count(tx, rows).await? <= CHUNK as u64)
}

/// Takes the root of a tree to the trash, where it isn't there yet, apart from whatever went there before; the job does the
/// rest.
async fn purge_by_job(tx: &mut WriteTx, root: item::Model, leaving: &item::Model) -> Result<item::Model> {
    let tree = Tree { root_id: root.id, deletion_id: tx.scope().clock().new_uuid() };
    tx.enqueue(PURGE, root.id.uuid(), tree).await?;
    if root.deleted_at.is_none() {
        return to_trash(tx, vec![root], tree.deletion_id, true).await?.ok_or_else(no_root);
    }
    let mut counts = Counts::default();
    counts.leave(leaving);
    counts.apply(tx).await?;
    let moved = item::ActiveModel { id: Set(root.id), deletion_id: Set(Some(tree.deletion_id)), ..Default::default() };
    tx.update(moved).await
}

/// Goes on with deleting a tree for good: first everything comes under its deletion, then comments go, then items, those
/// that nothing is below first. Whether the root is gone.
pub async fn purge_more(tx: &mut WriteTx, tree: Tree) -> Result<bool> {
    let others = item::Column::DeletionId.is_null().or(item::Column::DeletionId.ne(tree.deletion_id));
    let rows = next_below(tx, tree, sea_orm::Condition::all().add(others)).await?;
    if !rows.is_empty() {
        let (trashed, present): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.deleted_at.is_some());
        let trashed = item::Column::Id.is_in(trashed.into_iter().map(|row| row.id));
        let columns = vec![(item::Column::DeletionId, Expr::value(tree.deletion_id))];
        tx.update_where::<item::Entity>(trashed, columns).await?;
        to_trash(tx, present, tree.deletion_id, false).await?;
        return Ok(false);
    }
    let taken = || sea_orm::Condition::all().add(item::Column::DeletionId.eq(tree.deletion_id));
    let parents =
        select::<item::Entity>(tx.scope(), item::Column::ParentId, taken().add(item::Column::ParentId.is_not_null()));
    let leaves = tx.find::<item::Entity>().filter(taken()).filter(item::Column::Id.not_in_subquery(parents));
    let rows = leaves.limit(CHUNK as u64).for_update().all().await?;
    if comments::service::leave_some(tx, &rows, CHUNK as u64).await?
        || relations::service::leave_some(tx, &rows, CHUNK as u64).await?
    {
        return Ok(false);
    }
    let is_last = rows.is_empty() || rows.iter().any(|row| row.id == tree.root_id);
    delete_rows(tx, rows).await?;
    Ok(is_last)
}

/// Deletes rows, parents before children in the list, and tells of it.
async fn delete_rows(tx: &mut WriteTx, rows: Vec<item::Model>) -> Result<()> {
    let states = ItemState::load(tx, rows).await?;
    // Children first: they refer to their parents.
    for state in states.iter().rev() {
        tx.delete_where::<item::Entity>(item::Column::Id.eq(state.row.id)).await?;
    }
    for state in &states {
        let gone = changes(Some(&state.fields()), None);
        let event = NewEvent::new(EventType::ItemPurged, state.row.id.any(), gone);
        tx.record(event.of_item(state.row.id, state.row.team_id));
    }
    Ok(())
}

fn no_root() -> Error {
    Error::internal("a tree without a root")
}
