//! Trees of items: into the trash, out of it, gone for good. A tree of up to [`CHUNK`] items moves in one transaction; of a
//! larger one the root does, and a job brings the rest along, a chunk at a time.

use std::collections::{BTreeSet, HashMap};

use sea_orm::{ActiveValue::Set, ExprTrait as _, prelude::*, sea_query::Expr};
use serde::{Deserialize, Serialize};

use super::{
    input::{ItemDeleteInput, ItemRestoreInput},
    save_many::{ItemChange, save_all},
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
        db::{
            OrgScope, WriteTx,
            filter::{among, among_uuids, select},
        },
        entity::{EventType, item},
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

/// The rows below items that `keep` says, each once, level by level, locked; `None` when they are more than fit one
/// transaction with their roots.
async fn below(
    tx: &WriteTx,
    roots: &[ItemId],
    keep: impl Fn(&item::Model) -> bool,
) -> Result<Option<Vec<item::Model>>> {
    let (mut rows, mut level) = (Vec::new(), roots.to_vec());
    let mut seen: BTreeSet<ItemId> = roots.iter().copied().collect();
    while !level.is_empty() {
        let children = tx.find::<item::Entity>().filter(item::Column::ParentId.is_in(level)).limit(CHUNK_AND_ONE);
        let mut next = children.for_update().all().await?;
        if next.len() > CHUNK {
            return Ok(None);
        }
        next.retain(|row| keep(row) && seen.insert(row.id));
        level = next.iter().map(|row| row.id).collect();
        rows.extend(next);
        if rows.len() + roots.len() > CHUNK {
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
    match below(&tx, &[tree.root_id], |row| row.deleted_at.is_none()).await? {
        Some(below) => rows.extend(below),
        None => tx.enqueue(DELETION, tree.root_id.uuid(), tree).await?,
    }
    let moved = to_trash(&mut tx, rows, |_| tree.deletion_id).await?;
    Ok(tx.commit(moved.into_iter().next().ok_or_else(no_root)?).await?)
}

/// Brings the next rows of a tree into the trash; whether none are left.
pub async fn delete_more(tx: &mut WriteTx, tree: Tree) -> Result<bool> {
    let rows = next_below(tx, tree, item::Column::DeletedAt.is_null()).await?;
    let is_last = rows.is_empty();
    to_trash(tx, rows, |_| tree.deletion_id).await?;
    Ok(is_last)
}

/// Rows whose parent this deletion took to the trash, a chunk of them.
async fn next_below(tx: &WriteTx, tree: Tree, which: impl Into<sea_orm::Condition> + Send) -> Result<Vec<item::Model>> {
    let taken = sea_orm::Condition::all().add(item::Column::DeletionId.eq(tree.deletion_id));
    let parents = select::<item::Entity>(tx.scope(), item::Column::Id, taken);
    let children = item::Column::ParentId.in_subquery(parents);
    tx.find::<item::Entity>().filter(children).filter(which.into()).limit(CHUNK as u64).for_update().all().await
}

/// Takes the trees of these items to the trash, each by a deletion of its own, in one transaction. TOO_MANY when they have
/// more items below them than that may change. Gives the rows as they then are.
pub(super) async fn delete_all(tx: &mut WriteTx, roots: Vec<item::Model>) -> Result<Vec<item::Model>> {
    let roots: Vec<item::Model> = roots.into_iter().filter(|row| row.deleted_at.is_none()).collect();
    let ids: Vec<ItemId> = roots.iter().map(|row| row.id).collect();
    let below = below(tx, &ids, |row| row.deleted_at.is_none()).await?.ok_or_else(too_large)?;
    let rows: Vec<item::Model> = roots.into_iter().chain(below).collect();
    let parents: HashMap<ItemId, Option<ItemId>> = rows.iter().map(|row| (row.id, row.parent_id)).collect();
    let mut deletions: HashMap<ItemId, Uuid> = HashMap::new();
    let clock = tx.scope().clock().clone();
    // What is below another goes with that one.
    let mut deletion_of = |id: ItemId| {
        let mut top = id;
        while let Some(parent) = parents.get(&top).copied().flatten().filter(|parent| parents.contains_key(parent)) {
            top = parent;
        }
        *deletions.entry(top).or_insert_with(|| clock.new_uuid())
    };
    let of_each: HashMap<ItemId, Uuid> = rows.iter().map(|row| (row.id, deletion_of(row.id))).collect();
    to_trash(tx, rows, |row| of_each.get(&row.id).copied().unwrap_or_default()).await
}

fn too_large() -> Error {
    let message =
        format!("With all below them these are more than {CHUNK} items: name fewer, or large ones one by one.");
    let problem = Problem::new(ProblemCode::TooMany, &["input", "select"], message);
    problem.details(serde_json::json!({ "limit": CHUNK })).into()
}

async fn to_trash(
    tx: &mut WriteTx,
    rows: Vec<item::Model>,
    deletion: impl Fn(&item::Model) -> Uuid,
) -> Result<Vec<item::Model>> {
    tx.count(QuotaResource::Items, -units(rows.len())?);
    let now = tx.scope().clock().now();
    move_rows(tx, rows, EventType::ItemDeleted, |row| {
        row.deletion_id = Some(deletion(row));
        row.deleted_at = Some(now);
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
    match below(&tx, &[tree.root_id], |row| row.deletion_id == Some(deletion_id)).await? {
        Some(below) => rows.extend(below),
        None => {
            check_room(&tx, deletion_id).await?;
            tx.enqueue(RESTORE, tree.root_id.uuid(), tree).await?;
        }
    }
    let moved = from_trash(&mut tx, rows).await?;
    Ok(tx.commit(moved.into_iter().next().ok_or_else(no_root)?).await?)
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
    from_trash(tx, rows).await?;
    Ok(is_last)
}

/// What is to come back from the trash: the items named, and the deletions that are undone.
pub(super) struct Restore {
    present: Vec<item::Model>,
    deletions: BTreeSet<Uuid>,
}

/// Which of these items can come back, and why others can't: below one that stays in the trash, or while a job still works
/// on their tree.
pub(super) async fn plan_restore(tx: &WriteTx, items: Vec<item::Model>) -> Result<(Restore, Vec<(ItemId, Problem)>)> {
    let (trashed, mut present): (Vec<_>, Vec<_>) = items.into_iter().partition(|row| row.deletion_id.is_some());
    let busy = tx.have_jobs(trashed.iter().map(|row| row.id.uuid()).collect()).await?;
    let parents = among(tx.scope().db(), item::Column::Id, trashed.iter().filter_map(|row| row.parent_id));
    let parents = tx.find::<item::Entity>().filter(parents).order_by_asc(item::Column::Id).for_update().all().await?;
    let parents: HashMap<ItemId, item::Model> = parents.into_iter().map(|row| (row.id, row)).collect();
    let (mut deletions, mut left) = (BTreeSet::new(), trashed);
    loop {
        let is_free = |row: &item::Model| {
            let parent = row.parent_id.and_then(|parent| parents.get(&parent));
            let comes_along = |parent: &item::Model| parent.deletion_id.is_some_and(|id| deletions.contains(&id));
            !busy.contains(&row.id.uuid())
                && parent.is_none_or(|parent| parent.deleted_at.is_none() || comes_along(parent))
        };
        let (free, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(is_free);
        left = rest;
        if free.is_empty() {
            break;
        }
        deletions.extend(free.iter().filter_map(|row| row.deletion_id));
        present.extend(free);
    }
    let refused = left.into_iter().map(|row| {
        let message = if busy.contains(&row.id.uuid()) {
            "What is below it is still on its way; try again shortly."
        } else {
            "Its parent is in the trash; restore that first."
        };
        (row.id, Problem::new(ProblemCode::InvalidState, &["input", "select"], message))
    });
    let refused = refused.collect();
    Ok((Restore { present, deletions }, refused))
}

/// Brings back what a plan says, in one transaction. TOO_MANY when it may not change as many. Gives the rows as they then
/// are.
pub(super) async fn restore_all(tx: &mut WriteTx, plan: Restore) -> Result<Vec<item::Model>> {
    let taken = among_uuids(tx.scope().db(), Expr::col(item::Column::DeletionId), plan.deletions.into_iter().collect());
    let rows = tx.find::<item::Entity>().filter(taken).order_by_asc(item::Column::Id).limit(CHUNK_AND_ONE);
    let rows = rows.for_update().all().await?;
    if rows.len() > CHUNK {
        return Err(too_large());
    }
    let moved = from_trash(tx, rows).await?;
    Ok(plan.present.into_iter().chain(moved).collect())
}

async fn from_trash(tx: &mut WriteTx, rows: Vec<item::Model>) -> Result<Vec<item::Model>> {
    tx.count(QuotaResource::Items, units(rows.len())?);
    move_rows(tx, rows, EventType::ItemRestored, |row| {
        row.deleted_at = None;
        row.deletion_id = None;
    })
    .await
}

/// Moves rows into the trash or out of it: one event a row. Gives them as they then are.
async fn move_rows(
    tx: &mut WriteTx,
    rows: Vec<item::Model>,
    r#type: EventType,
    change: impl Fn(&mut item::Model),
) -> Result<Vec<item::Model>> {
    let mut all = Vec::with_capacity(rows.len());
    for before in ItemState::load(tx, rows).await? {
        let mut after = before.clone();
        change(&mut after.row);
        all.push(ItemChange { r#type, before, after });
    }
    let deletion =
        |change: &ItemChange| (change.before.row.id, change.before.row.deletion_id.or(change.after.row.deletion_id));
    let deletions: HashMap<ItemId, Option<Uuid>> = all.iter().map(deletion).collect();
    // A parent that moves by the same deletion keeps the count that it has.
    let counts = |row: &item::Model| {
        let of_parent = row.parent_id.and_then(|parent| deletions.get(&parent));
        of_parent.is_none_or(|of_parent| deletions.get(&row.id) != Some(of_parent))
    };
    Ok(save_all(tx, all, counts).await?.into_iter().map(|state| state.row).collect())
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
    let rows = below(&tx, &[root.id], |_| true).await?;
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
        let moved = to_trash(tx, vec![root], |_| tree.deletion_id).await?;
        return moved.into_iter().next().ok_or_else(no_root);
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
        to_trash(tx, present, |_| tree.deletion_id).await?;
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
