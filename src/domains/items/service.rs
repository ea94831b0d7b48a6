//! The rules of items.
//!
//! Locks are taken in one order everywhere: items first, the ledger's head last (at the commit, or with `reserve` right
//! before the inserts of a create), so that two writers can't wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::ColumnTrait;

use super::{
    input::{
        ItemArchiveInput, ItemCreateInput, ItemUnarchiveInput, ItemUpdateInput, MAX_ANCESTORS, MAX_ASSIGNEES, MAX_TAGS,
        plain,
    },
    state::{Counts, ItemState, assignee_links, set_status, tag_links},
};
use crate::{
    base::{
        enums::{ItemStatus, MembershipStatus, QuotaResource},
        error::{Error, Problem, ProblemCode, Rejected, Result},
        id::{ItemId, TagId, TeamId, UserId},
        policy::Permission,
    },
    data::{
        db::{Committed, OrgScope, WriteTx, filter::fold, id_taken},
        entity::{EventType, item, membership, tag, team},
        ledger::changes,
    },
};

pub(super) type Written = Result<Committed<item::Model>, Rejected<item::Model>>;
type Changed = Result<item::Model, Rejected<item::Model>>;

/// Items that one statement changes when a whole set is moved.
const CHUNK: usize = 500;

/// Creates an item, and the subtasks given with it.
pub async fn create(scope: &OrgScope, input: &ItemCreateInput) -> Written {
    // Before the write begins: what is wrong in itself takes no lock.
    input.validate()?;
    let mut tx = scope.write(Permission::ItemWrite).await?;
    let row = create_in(&mut tx, input).await?;
    Ok(tx.commit(row).await?)
}

/// [`create`], as part of a write that makes no other events.
pub async fn create_in(tx: &mut WriteTx, input: &ItemCreateInput) -> Changed {
    input.validate()?;
    let scope = tx.scope().clone();
    scope.require(Permission::ItemWrite)?;
    let is_same = async |present: &item::Model| has_made(tx, present, input).await;
    if let Some(present) = tx.made_before::<item::Entity>(input.id, is_same).await? {
        return Ok(present);
    }
    let level = check_parent(tx, input.parent_id, &["input", "parentId"]).await?;
    let mut states = Vec::new();
    let mut wanted = References::default();
    plan(&scope, input, input.parent_id, level, &["input".to_owned()], &mut states, &mut wanted)?;
    wanted.check(tx, input.id).await?;

    // The counts of the parent that is already there; the new ones carry theirs.
    let mut counts = Counts::default();
    counts.enter(&states[0].row);
    counts.apply(tx).await?;
    let numbers = units(states.len())?;
    tx.count(QuotaResource::Items, numbers);
    let first = tx.reserve(numbers, numbers).await?;
    for (number, state) in (first..).zip(&mut states) {
        state.row.number = number;
    }
    tx.insert_many(states.iter().map(|state| state.row.clone()).collect()).await?;
    tx.insert_many(states.iter().flat_map(|state| assignee_links(&state.row, &state.assignees)).collect()).await?;
    tx.insert_many(states.iter().flat_map(|state| tag_links(&state.row, &state.tags)).collect()).await?;
    for state in &states {
        let created = changes(None, Some(&state.fields()));
        tx.record(ItemState::event(&state.row, EventType::ItemCreated, created));
    }
    Ok(states.swap_remove(0).row)
}

/// Items as units of the plan: those outside the trash count.
pub(super) fn units(items: usize) -> Result<i64> {
    i64::try_from(items).map_err(Error::internal)
}

/// What a create refers to, and where the input named it.
#[derive(Default)]
struct References {
    ids: BTreeMap<ItemId, Vec<String>>,
    teams: BTreeMap<TeamId, Vec<String>>,
    assignees: BTreeMap<UserId, Vec<String>>,
    tags: BTreeMap<TagId, Vec<String>>,
}

impl References {
    /// Problems for whatever is not there, each at its path: at most one statement a kind.
    /// `root`, absent a moment ago and there now, was created meanwhile: the next try answers as to a repeat.
    async fn check(self, tx: &WriteTx, root: Option<ItemId>) -> Result<()> {
        let mut problems = Vec::new();
        if !self.ids.is_empty() {
            let ids = tx.find::<item::Entity>().filter(item::Column::Id.is_in(self.ids.keys().copied()));
            for id in ids.column(item::Column::Id).await? {
                if Some(id) == root {
                    return Err(Error::retry(format!("{id} was created meanwhile")));
                }
                let path = self.ids.get(&id).cloned().unwrap_or_default();
                problems.push(id_taken(path));
            }
        }
        if !self.teams.is_empty() {
            let teams = tx.find::<team::Entity>().filter(team::Column::Id.is_in(self.teams.keys().copied()));
            missing(&mut problems, &self.teams, teams.column(team::Column::Id).await?, "team");
        }
        if !self.assignees.is_empty() {
            let members = tx
                .find::<membership::Entity>()
                .filter(membership::Column::UserId.is_in(self.assignees.keys().copied()))
                .filter(membership::Column::Status.eq(MembershipStatus::Active));
            missing(&mut problems, &self.assignees, members.column(membership::Column::UserId).await?, "member");
        }
        if !self.tags.is_empty() {
            let tags = tx.find::<tag::Entity>().filter(tag::Column::Id.is_in(self.tags.keys().copied()));
            missing(&mut problems, &self.tags, tags.column(tag::Column::Id).await?, "tag");
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
    }
}

fn missing<I: Ord>(problems: &mut Vec<Problem>, wanted: &BTreeMap<I, Vec<String>>, found: Vec<I>, what: &str) {
    let found: BTreeSet<I> = found.into_iter().collect();
    for (_, path) in wanted.iter().filter(|(id, _)| !found.contains(id)) {
        problems.push(Problem { path: path.clone(), ..Problem::not_found(&[], what) });
    }
}

/// The rows that an input makes, the item itself first; `level` is how many ancestors it has.
fn plan(
    scope: &OrgScope,
    input: &ItemCreateInput,
    parent_id: Option<ItemId>,
    level: usize,
    base: &[String],
    states: &mut Vec<ItemState>,
    wanted: &mut References,
) -> Result<()> {
    let path = |segments: &[&str]| -> Vec<String> {
        base.iter().cloned().chain(segments.iter().map(|segment| (*segment).to_owned())).collect()
    };
    if level > MAX_ANCESTORS {
        return Err(too_deep(&["input"]).into());
    }
    let now = scope.clock().now();
    let id = input.id.unwrap_or_else(|| scope.clock().new_id());
    if let Some(id) = input.id {
        wanted.ids.insert(id, path(&["id"]));
    }
    if let Some(team) = input.team_id {
        wanted.teams.entry(team).or_insert_with(|| path(&["teamId"]));
    }
    for (index, user) in input.assignee_ids.iter().flatten().enumerate() {
        wanted.assignees.entry(*user).or_insert_with(|| path(&["assigneeIds", &index.to_string()]));
    }
    for (index, tag) in input.tag_ids.iter().flatten().enumerate() {
        wanted.tags.entry(*tag).or_insert_with(|| path(&["tagIds", &index.to_string()]));
    }
    let subtasks = input.subtasks.as_deref().unwrap_or_default();
    let done = subtasks.iter().filter(|subtask| subtask.status == ItemStatus::Done).count();
    let count = |number: usize| i32::try_from(number).map_err(Error::internal);
    let mut row = item::Model {
        organization_id: scope.organization_id(),
        id,
        number: 0,
        title: input.title.trim().to_owned(),
        title_key: fold(&input.title),
        description: input.description.clone().map(|text| text.0),
        status: ItemStatus::Todo,
        status_before_archive: None,
        priority: input.priority,
        due_at: input.due_at.map(|due| due.0),
        estimated_hours: input.estimated_hours.map(plain),
        actual_hours: None,
        team_id: input.team_id,
        parent_id,
        subtask_count: count(subtasks.len())?,
        subtask_done_count: count(done)?,
        comment_count: 0,
        created_by_kind: scope.actor().kind,
        created_by_id: scope.actor().id,
        created_at: now,
        updated_at: now,
        started_at: None,
        completed_at: None,
        archived_at: None,
        deleted_at: None,
        deletion_id: None,
        version: 1,
    };
    set_status(&mut row, input.status, now);
    states.push(ItemState { row, assignees: input.assignees(), tags: input.tags() });
    for (index, subtask) in subtasks.iter().enumerate() {
        let base = path(&["subtasks", &index.to_string()]);
        plan(scope, subtask, Some(id), level + 1, &base, states, wanted)?;
    }
    Ok(())
}

fn too_deep(path: &[&str]) -> Problem {
    Problem::new(ProblemCode::OutOfRange, path, format!("Subtasks are at most {MAX_ANCESTORS} deep."))
        .details(serde_json::json!({ "maximum": MAX_ANCESTORS }))
}

/// Whether an item is what an input makes.
async fn has_made(tx: &WriteTx, present: &item::Model, input: &ItemCreateInput) -> Result<bool> {
    let state = ItemState::load(tx, vec![present.clone()]).await?.remove(0);
    let row = &state.row;
    Ok(row.title == input.title.trim()
        && row.description.as_deref() == input.description.as_ref().map(|text| text.0.as_str())
        && row.status == input.status
        && row.priority == input.priority
        && row.due_at == input.due_at.map(|due| due.0)
        && row.estimated_hours == input.estimated_hours
        && row.team_id == input.team_id
        && row.parent_id == input.parent_id
        && state.assignees == input.assignees()
        && state.tags == input.tags()
        && has_subtasks(tx, row.id, input.subtasks.as_deref().unwrap_or_default()).await?)
}

/// Whether an item has all these subtasks; others may have come since.
async fn has_subtasks(tx: &WriteTx, root: ItemId, subtasks: &[ItemCreateInput]) -> Result<bool> {
    let mut open = vec![(root, subtasks)];
    while let Some((parent, subtasks)) = open.pop() {
        if subtasks.is_empty() {
            continue;
        }
        let mut children = tx.find::<item::Entity>().filter(item::Column::ParentId.eq(parent)).all().await?;
        for subtask in subtasks {
            let same =
                |row: &item::Model| row.title == subtask.title.trim() && subtask.id.is_none_or(|id| id == row.id);
            let Some(place) = children.iter().position(same) else { return Ok(false) };
            open.push((children.swap_remove(place).id, subtask.subtasks.as_deref().unwrap_or_default()));
        }
    }
    Ok(true)
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
async fn check_parent(tx: &WriteTx, parent: Option<ItemId>, path: &[&str]) -> Result<usize> {
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
fn event_type(before: &ItemState, after: &ItemState) -> EventType {
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
    if !input.patch.parent_id.is_undefined() {
        tx.lock_tree().await?;
    }
    let before = open(tx, input.id, input.if_version).await?;
    let now = tx.scope().clock().now();
    let mut after = before.clone();
    input.patch.apply(&mut after.row);
    if let Some(status) = input.patch.status() {
        set_status(&mut after.row, status, now);
    }
    let mut wanted = References::default();
    let at = |field: &str| vec!["input".to_owned(), "patch".to_owned(), field.to_owned()];
    if let Some(patch) = input.patch.assignees.value() {
        after.assignees = patch.apply(&before.assignees, &["input", "patch", "assignees"], MAX_ASSIGNEES)?;
        wanted.assignees = after.assignees.difference(&before.assignees).map(|id| (*id, at("assignees"))).collect();
    }
    if let Some(patch) = input.patch.tags.value() {
        after.tags = patch.apply(&before.tags, &["input", "patch", "tags"], MAX_TAGS)?;
        wanted.tags = after.tags.difference(&before.tags).map(|id| (*id, at("tags"))).collect();
    }
    if let Some(team) = after.row.team_id.filter(|_| after.row.team_id != before.row.team_id) {
        wanted.teams.insert(team, at("teamId"));
    }
    wanted.check(tx, None).await?;
    if let Some(parent) = after.row.parent_id.filter(|_| after.row.parent_id != before.row.parent_id) {
        check_move(tx, &before.row, parent).await?;
    }
    let r#type = event_type(&before, &after);
    let after = after.save(tx, r#type, &before).await?;
    Ok(after.row)
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
