//! The rules of items.
//!
//! Locks are taken in one order everywhere: items first, the ledger's head last (at the commit, or with `reserve` right
//! before the inserts of a create), so that two writers can't wait for each other.

use sea_orm::ColumnTrait;

use super::{
    input::{ItemArchiveInput, ItemPatch, ItemUnarchiveInput, ItemUpdateInput, MAX_ANCESTORS, MAX_ASSIGNEES, MAX_TAGS},
    position,
    references::References,
    state::{ItemState, set_status},
};
use crate::{
    base::{
        clock::Instant,
        enums::ItemStatus,
        error::{Error, Problem, ProblemCode, Rejected, Result},
        id::ItemId,
        policy::Permission,
    },
    data::{
        db::{Committed, OrgScope, WriteTx},
        entity::{EventType, item},
    },
};

pub(super) type Written = Result<Committed<item::Model>, Rejected<item::Model>>;
pub(super) type Changed = Result<item::Model, Rejected<item::Model>>;

/// Items that one statement changes when a whole set is moved.
const CHUNK: usize = 500;

/// Items as units of the plan: those outside the trash count.
pub(super) fn units(items: usize) -> Result<i64> {
    i64::try_from(items).map_err(Error::internal)
}

pub(super) fn too_deep(path: &[&str]) -> Problem {
    Problem::new(ProblemCode::OutOfRange, path, format!("Subtasks are at most {MAX_ANCESTORS} deep."))
        .details(serde_json::json!({ "maximum": MAX_ANCESTORS }))
}

/// Checks that an item may go under `parent`. The organization's tree is locked: ancestors stay as they are read. Rows are
/// locked upwards, as everybody does who changes an item and then its parent's counts: the old parent before the new ones,
/// unless it is among them.
async fn check_move(tx: &WriteTx, item: &item::Model, parent: ItemId) -> Result<()> {
    let path = ["input", "patch", "parentId"];
    let (mut old, mut next, mut levels) = (item.parent_id, Some(parent), 0);
    while let Some(id) = next.filter(|_| levels <= MAX_ANCESTORS) {
        if id == item.id {
            let message = "An item can't be its own ancestor.";
            return Err(Problem::new(ProblemCode::Cycle, &path, message).into());
        }
        old = old.filter(|old| *old != id);
        let found = tx.find::<item::Entity>().filter(item::Column::Id.eq(id));
        next = found.column(item::Column::ParentId).await?.into_iter().next().flatten();
        levels += 1;
    }
    if let Some(old) = old {
        tx.find::<item::Entity>().filter(item::Column::Id.eq(old)).for_update().one().await?;
    }
    let level = check_parent(tx, Some(parent), &path).await?;
    if level + levels_below(tx, item.id, MAX_ANCESTORS - level + 1).await? > MAX_ANCESTORS {
        return Err(too_deep(&path).into());
    }
    Ok(())
}

/// How many levels of items are below one, `most` at most. Nobody hangs another there who has not locked the way up.
async fn levels_below(tx: &WriteTx, root: ItemId, most: usize) -> Result<usize> {
    let (mut levels, mut level) = (0, vec![root]);
    while levels < most {
        let mut next = Vec::new();
        for parents in level.chunks(CHUNK) {
            let children = item::Column::ParentId.is_in(parents.iter().copied());
            next.extend(tx.find::<item::Entity>().filter(children).column::<ItemId>(item::Column::Id).await?);
        }
        if next.is_empty() {
            break;
        }
        (level, levels) = (next, levels + 1);
    }
    Ok(levels)
}

/// Checks that an item may hang under `parent`, and locks the way up; says how many ancestors it then has.
pub(super) async fn check_parent(tx: &WriteTx, parent: Option<ItemId>, path: &[&str]) -> Result<usize> {
    let mut level = 0;
    let mut next = parent;
    while let Some(id) = next {
        let row: item::Model = tx.locked::<item::Entity>(id, path).await?;
        if level == 0 && row.deleted_at.is_some() {
            let message = "The parent is in the trash; restore it first.";
            return Err(Problem::new(ProblemCode::InvalidState, path, message).into());
        }
        level += 1;
        if level > MAX_ANCESTORS {
            return Err(too_deep(path).into());
        }
        next = row.parent_id;
    }
    Ok(level)
}

/// An item to be changed, with its links: locked, of the version asked for, outside the trash.
async fn open(tx: &WriteTx, id: ItemId, if_version: Option<i32>) -> Result<ItemState, Rejected<item::Model>> {
    let state = open_anywhere(tx, id, if_version).await?;
    if state.row.deleted_at.is_some() {
        let message = "The item is in the trash; restore it first.";
        return Err(Problem::new(ProblemCode::InvalidState, &["input", "id"], message).into());
    }
    Ok(state)
}

/// [`open`], also in the trash.
pub(super) async fn open_anywhere(
    tx: &WriteTx,
    id: ItemId,
    if_version: Option<i32>,
) -> Result<ItemState, Rejected<item::Model>> {
    let row = tx.open::<item::Entity>(id, if_version).await?;
    Ok(ItemState::load(tx, vec![row]).await?.remove(0))
}

/// What a change of status is called.
pub(super) fn event_type(before: &ItemState, after: &ItemState) -> EventType {
    match (before.row.status, after.row.status) {
        (before, ItemStatus::Archived) if before != ItemStatus::Archived => EventType::ItemArchived,
        (ItemStatus::Archived, after) if after != ItemStatus::Archived => EventType::ItemUnarchived,
        _ => EventType::ItemUpdated,
    }
}

pub async fn update(scope: &OrgScope, input: &ItemUpdateInput) -> Written {
    input.patch.validate()?;
    let mut tx = scope.write(Permission::ItemWrite).await?;
    let row = update_in(&mut tx, input).await?;
    Ok(tx.commit(row).await?)
}

/// [`update`], as part of a write.
pub async fn update_in(tx: &mut WriteTx, input: &ItemUpdateInput) -> Changed {
    input.patch.validate()?;
    tx.scope().require(Permission::ItemWrite)?;
    if !input.patch.parent_id.is_undefined() || !input.patch.position.is_undefined() {
        tx.lock_tree().await?;
    }
    let mut before = open(tx, input.id, input.if_version).await?;
    let mut place = None;
    if let Some(position) = input.patch.position.value() {
        place = Some(position::place(tx, input.id, position).await?);
        // Those around that place may have got others, and it with them.
        before = open(tx, input.id, None).await?;
    }
    let (mut after, wanted) = planned(&before, &input.patch, tx.scope().clock().now())?;
    if let Some(place) = place {
        after.row.rank = place;
    }
    wanted.look_up(tx).await?;
    if let Some(parent) = after.row.parent_id.filter(|_| after.row.parent_id != before.row.parent_id) {
        check_move(tx, &before.row, parent).await?;
    }
    let r#type = event_type(&before, &after);
    let after = after.save(tx, r#type, &before).await?;
    Ok(after.row)
}

/// What a patch makes of an item, and what it then newly refers to. Nothing is looked up.
pub(super) fn planned(before: &ItemState, patch: &ItemPatch, now: Instant) -> Result<(ItemState, References)> {
    let mut after = before.clone();
    patch.apply(&mut after.row);
    if let Some(status) = patch.status() {
        set_status(&mut after.row, status, now);
    }
    let mut wanted = References::default();
    let at = |field: &str| vec!["input".to_owned(), "patch".to_owned(), field.to_owned()];
    if let Some(patch) = patch.assignees.value() {
        after.assignees = patch.apply(&before.assignees, &["input", "patch", "assignees"], MAX_ASSIGNEES)?;
        wanted.assignees = after.assignees.difference(&before.assignees).map(|id| (*id, at("assignees"))).collect();
    }
    if let Some(patch) = patch.tags.value() {
        after.tags = patch.apply(&before.tags, &["input", "patch", "tags"], MAX_TAGS)?;
        wanted.tags = after.tags.difference(&before.tags).map(|id| (*id, at("tags"))).collect();
    }
    if let Some(team) = after.row.team_id.filter(|_| after.row.team_id != before.row.team_id) {
        wanted.teams.insert(team, at("teamId"));
    }
    Ok((after, wanted))
}

/// An item by its id or its identifier (`ACME-42`), as a write sees it.
pub async fn find_in(tx: &WriteTx, reference: &str) -> Result<Option<item::Model>> {
    if let Ok(id) = reference.parse::<ItemId>() {
        return tx.find::<item::Entity>().filter(item::Column::Id.eq(id)).one().await;
    }
    let prefix = &tx.scope().organization().item_prefix;
    let number = reference.rsplit_once('-').filter(|(given, _)| given.eq_ignore_ascii_case(prefix));
    let Some(Ok(number)) = number.map(|(_, number)| number.parse::<i64>()) else { return Ok(None) };
    tx.find::<item::Entity>().filter(item::Column::Number.eq(number)).one().await
}

pub async fn archive(scope: &OrgScope, input: &ItemArchiveInput) -> Written {
    let mut tx = scope.write(Permission::ItemWrite).await?;
    let before = open(&tx, input.id, input.if_version).await?;
    let now = scope.clock().now();
    let mut after = before.clone();
    set_status(&mut after.row, ItemStatus::Archived, now);
    let after = after.save(&mut tx, EventType::ItemArchived, &before).await?;
    Ok(tx.commit(after.row).await?)
}

pub async fn unarchive(scope: &OrgScope, input: &ItemUnarchiveInput) -> Written {
    let mut tx = scope.write(Permission::ItemWrite).await?;
    let before = open(&tx, input.id, input.if_version).await?;
    if before.row.status != ItemStatus::Archived {
        return Ok(tx.commit(before.row).await?);
    }
    let mut after = before.clone();
    // The instants are those of before the archive, so only the status moves.
    after.row.status = before.row.status_before_archive.unwrap_or(ItemStatus::Todo);
    after.row.status_before_archive = None;
    after.row.archived_at = None;
    let after = after.save(&mut tx, EventType::ItemUnarchived, &before).await?;
    Ok(tx.commit(after.row).await?)
}
