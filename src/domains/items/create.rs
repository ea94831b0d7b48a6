//! New items: planned by the request that makes them, checked and written in groups.
//!
//! Creates of an organization that come while one is written are written together by the next transaction (see
//! `db::groups`): what they refer to is looked up once, or known, their rows and events go in together, and each has its own
//! outcome and its own events. What can't be shared is written alone: under a parent that is there already, many at once,
//! under an idempotency key, with an id that is taken.

use std::collections::{BTreeSet, HashMap};

use futures_util::FutureExt as _;
use sea_orm::{ColumnTrait as _, prelude::Uuid};

use super::{
    input::{ItemCreateInput, MAX_ANCESTORS, rounded},
    references::{Found, References},
    service::{Changed, Written, check_parent, too_deep, units},
    state::{Counts, ItemState, assignee_links, set_status, tag_links},
};
use crate::{
    base::{
        clock::Instant,
        enums::{ItemStatus, QuotaResource},
        error::{Error, Result},
        id::ItemId,
        policy::Permission,
        rank,
    },
    data::{
        db::{
            Committed, OrgScope, WriteTx,
            filter::fold,
            groups::{Groups, Handover, MAX_GROUP_BYTES},
        },
        entity::{EventType, item, item_assignee, item_tag, ledger_head},
        ledger::{LedgerCursor, changes},
    },
};

/// Items of a create that joins a group at most, its subtasks included, what they refer to, and bytes: a large one would keep
/// others waiting.
const MAX_JOINED: usize = 20;
const MAX_REFERENCES: usize = 200;
const MAX_BYTES: usize = MAX_GROUP_BYTES / 4;

/// What an item takes besides its texts, and each reference, about, in bytes.
const ITEM_BYTES: usize = 1024;
const REFERENCE_BYTES: usize = 64;

/// Creates an item, and the subtasks given with it.
pub async fn create(scope: &OrgScope, input: &ItemCreateInput) -> Written {
    // Before the write begins: what is wrong in itself takes no lock.
    input.validate()?;
    scope.require(Permission::ItemWrite)?;
    if input.parent_id.is_none() && scope.origin().idempotency.is_none() {
        let planned = Planned::of(scope, input, 0, Times::default())?;
        if planned.may_join() {
            let groups = scope.db().shared(|| Groups::new(|creates, handover| write_group(creates, handover).boxed()));
            let bytes = planned.bytes();
            match groups.join(scope.organization_id(), planned, bytes).await? {
                Some(Outcome::Written(row, cursor)) => return Ok(Committed { value: *row, cursor: Some(cursor) }),
                Some(Outcome::Failed(error)) => return Err(error.into()),
                Some(Outcome::Alone) | None => {}
            }
        }
    }
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
    let planned = Planned::of(&scope, input, level, Times::default())?;
    let found = Found::of(tx, [&planned.references]).await?;
    if input.id.is_some_and(|id| found.ids.contains(&id)) {
        // Absent a moment ago: the next try answers as to a repeat.
        return Err(Error::retry("the item was created meanwhile").into());
    }
    planned.references.check(&found)?;
    // The counts of the parent that is already there; the new ones carry theirs.
    let mut counts = Counts::default();
    counts.enter(&planned.states[0].row);
    counts.apply(tx).await?;
    let mut rows = insert(tx, vec![planned]).await?;
    Ok(rows.swap_remove(0))
}

/// What became of a create in a group.
enum Outcome {
    /// With the ledger's position just after its own events.
    Written(Box<item::Model>, LedgerCursor),
    Failed(Error),
    /// It must be tried alone: nothing of it was written.
    Alone,
}

/// Writes creates of one organization in one transaction. What is wrong with one is its own. When all fail together before
/// the commit, by the plan's limit or by what nobody foresaw, each is tried alone; when the database is away, full or busy,
/// and when nobody knows whether they were written, all are told so.
async fn write_group(creates: Vec<Planned>, handover: Handover) -> Vec<Outcome> {
    let all = creates.len();
    let failed = |error: &Error| (0..all).map(|_| Outcome::Failed(error.clone())).collect();
    let alone = || (0..all).map(|_| Outcome::Alone).collect();
    let (mut tx, mut outcomes, rows) = match begin_group(creates).await {
        Ok(Some(begun)) => begun,
        Ok(None) => return alone(),
        Err(error @ (Error::Refused(_) | Error::Retry(_))) => return failed(&error),
        Err(error) if all == 1 => return failed(&error),
        Err(_) => return alone(),
    };
    let Some(last) = rows.last().map(|(_, events, _)| *events) else {
        return outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Alone)).collect();
    };
    tx.hand_over(handover);
    let newest = match tx.commit(()).await {
        Ok(Committed { cursor: Some(cursor), .. }) => cursor,
        Ok(_) => return failed(&Error::internal("a commit without a position")),
        Err(error) => return failed(&error),
    };
    for (place, events, row) in rows {
        let cursor = LedgerCursor { sequence: newest.sequence - (last - events), ..newest };
        outcomes[place] = Some(Outcome::Written(Box::new(row), cursor));
    }
    outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Alone)).collect()
}

/// What a group has made before its commit: the outcomes that are known by then, and of each create that is written its
/// place among them, how many events there are up to its last one, and its row.
type Begun = (WriteTx, Vec<Option<Outcome>>, Vec<(usize, i64, item::Model)>);

/// None: each must be tried alone.
async fn begin_group(creates: Vec<Planned>) -> Result<Option<Begun>> {
    let scope = creates.first().map(|create| create.scope.clone());
    let scope = scope.ok_or_else(|| Error::internal("a group of no creates"))?;
    let wanted = Found::wanted(creates.iter().map(|create| &create.references));
    // Before the write begins: whether it still holds is seen when the head is locked.
    let (teams, tags) = (wanted.teams.iter().copied().collect(), wanted.tags.iter().copied().collect());
    let known = scope.known_at(&teams, &tags).await?;
    let mut tx = scope.write(Permission::ItemWrite).await?;
    let found = match known {
        Some(_) => wanted.look_up_others(&tx).await?,
        None => wanted.clone().look_up(&tx).await?,
    };
    let mut taken = found.ids.clone();
    let (mut outcomes, mut places, mut good) = (Vec::new(), Vec::new(), Vec::new());
    for (place, create) in creates.into_iter().enumerate() {
        // Two of a group may come with one id.
        let is_new = create.references.ids.keys().all(|id| !taken.contains(id));
        let outcome = match create.references.check(&found) {
            _ if !is_new => Some(Outcome::Alone),
            Err(error) => Some(Outcome::Failed(error)),
            Ok(()) => {
                taken.extend(create.references.ids.keys().copied());
                places.push((place, create.states.len()));
                good.push(create);
                None
            }
        };
        outcomes.push(outcome);
    }
    let mut events = 0;
    let mut rows = Vec::with_capacity(good.len());
    if !good.is_empty() {
        let (number, head) = reserve(&mut tx, &good).await?;
        if known.is_some_and(|known| !scope.holds(known, &head)) && !wanted.has_its_teams_and_tags(&tx).await? {
            return Ok(None);
        }
        for ((place, made), row) in places.into_iter().zip(insert_from(&mut tx, number, good).await?) {
            events += units(made)?;
            rows.push((place, events, row));
        }
    }
    Ok(Some((tx, outcomes, rows)))
}

/// Inserts what was planned and checked, with its events, each told as done by whoever planned it; gives the root of each.
pub(super) async fn insert(tx: &mut WriteTx, creates: Vec<Planned>) -> Result<Vec<item::Model>> {
    let (number, _) = reserve(tx, &creates).await?;
    insert_from(tx, number, creates).await
}

/// Takes the numbers, and the places in the ledger; gives the first number.
async fn reserve(tx: &mut WriteTx, creates: &[Planned]) -> Result<(i64, ledger_head::Model)> {
    let numbers = units(creates.iter().map(|create| create.states.len()).sum())?;
    tx.count(QuotaResource::Items, numbers);
    tx.reserve(numbers, numbers).await
}

async fn insert_from(tx: &mut WriteTx, mut number: i64, creates: Vec<Planned>) -> Result<Vec<item::Model>> {
    let (mut roots, mut rows, mut assignees, mut tags) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Planned { scope, mut states, references: _ } in creates {
        for state in &mut states {
            state.row.number = number;
            state.row.rank = rank::of_number(number);
            number += 1;
            assignees.extend(assignee_links(&state.row, &state.assignees));
            tags.extend(tag_links(&state.row, &state.tags));
            rows.push(state.row.clone());
            let created = changes(None, Some(&state.fields()));
            tx.record_by(&scope, ItemState::event(&state.row, EventType::ItemCreated, created));
        }
        roots.push(states.swap_remove(0).row);
    }
    insert_rows(tx, rows, assignees, tags).await?;
    Ok(roots)
}

/// Inserts new items with their links.
pub async fn insert_rows(
    tx: &WriteTx,
    items: Vec<item::Model>,
    assignees: Vec<item_assignee::Model>,
    tags: Vec<item_tag::Model>,
) -> Result<()> {
    let ids = |links: Vec<(ItemId, Uuid)>| -> Vec<Vec<Uuid>> {
        let mut by_item: HashMap<ItemId, BTreeSet<Uuid>> = HashMap::new();
        for (item, id) in links {
            by_item.entry(item).or_default().insert(id);
        }
        items.iter().map(|item| by_item.remove(&item.id).into_iter().flatten().collect()).collect()
    };
    let assignee_ids = ids(assignees.iter().map(|link| (link.item_id, link.user_id.uuid())).collect());
    let tag_ids = ids(tags.iter().map(|link| (link.item_id, link.tag_id.uuid())).collect());
    tx.insert_many_with(items, [("assignee_ids", assignee_ids), ("tag_ids", tag_ids)]).await?;
    tx.insert_many(assignees).await?;
    tx.insert_many(tags).await
}

/// When an item was created and done elsewhere, before it came here. What is left out is the present.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    pub created_at: Option<Instant>,
    /// Of one that is begun.
    pub started_at: Option<Instant>,
    /// Of one that is DONE; its work began then at the latest.
    pub completed_at: Option<Instant>,
}

/// What a create makes, and what it refers to.
pub(super) struct Planned {
    /// Whose it is.
    pub(super) scope: OrgScope,
    /// The item itself first.
    pub(super) states: Vec<ItemState>,
    pub(super) references: References,
}

impl Planned {
    /// `level` is how many ancestors the item has; `times` are the item's own, not its subtasks'.
    pub(super) fn of(scope: &OrgScope, input: &ItemCreateInput, level: usize, times: Times) -> Result<Self> {
        let mut planned = Self { scope: scope.clone(), states: Vec::new(), references: References::default() };
        planned.add(input, input.parent_id, level, &["input".to_owned()])?;
        let now = scope.clock().now();
        let row = &mut planned.states[0].row;
        row.created_at = times.created_at.map_or(now, |at| at.min(now));
        let completed_at = times.completed_at.map(|at| at.min(now));
        // What the status says that there is gets its time from elsewhere.
        row.completed_at = row.completed_at.map(|at| completed_at.unwrap_or(at));
        row.started_at = row
            .started_at
            .map(|at| times.started_at.or(completed_at).unwrap_or(at).min(row.completed_at.unwrap_or(now)));
        Ok(planned)
    }

    fn may_join(&self) -> bool {
        self.states.len() <= MAX_JOINED && self.references.count() <= MAX_REFERENCES && self.bytes() <= MAX_BYTES
    }

    /// What it takes in memory and in statements, about.
    fn bytes(&self) -> usize {
        let texts =
            |row: &item::Model| row.title.len() + row.title_key.len() + row.description.as_ref().map_or(0, String::len);
        let items: usize = self.states.iter().map(|state| ITEM_BYTES + texts(&state.row)).sum();
        items + self.references.count() * REFERENCE_BYTES
    }

    fn add(&mut self, input: &ItemCreateInput, parent_id: Option<ItemId>, level: usize, base: &[String]) -> Result<()> {
        let path = |segments: &[&str]| -> Vec<String> {
            base.iter().cloned().chain(segments.iter().map(|segment| (*segment).to_owned())).collect()
        };
        if level > MAX_ANCESTORS {
            return Err(too_deep(&["input"]).into());
        }
        let now = self.scope.clock().now();
        let id = input.id.unwrap_or_else(|| self.scope.clock().new_id());
        if let Some(id) = input.id {
            self.references.ids.insert(id, path(&["id"]));
        }
        if let Some(team) = input.team_id {
            self.references.teams.entry(team).or_insert_with(|| path(&["teamId"]));
        }
        for (index, user) in input.assignee_ids.iter().flatten().enumerate() {
            self.references.assignees.entry(*user).or_insert_with(|| path(&["assigneeIds", &index.to_string()]));
        }
        for (index, tag) in input.tag_ids.iter().flatten().enumerate() {
            self.references.tags.entry(*tag).or_insert_with(|| path(&["tagIds", &index.to_string()]));
        }
        let subtasks = input.subtasks.as_deref().unwrap_or_default();
        let done = subtasks.iter().filter(|subtask| subtask.status == ItemStatus::Done).count();
        let count = |number: usize| i32::try_from(number).map_err(Error::internal);
        let mut row = item::Model {
            organization_id: self.scope.organization_id(),
            id,
            number: 0,
            title: input.title.trim().to_owned(),
            title_key: fold(&input.title),
            description: input.description.clone().map(|text| text.0),
            status: ItemStatus::Todo,
            status_before_archive: None,
            priority: input.priority,
            due_at: input.due_at.map(|due| due.0),
            estimated_hours: input.estimated_hours.map(rounded),
            actual_hours: None,
            team_id: input.team_id,
            parent_id,
            subtask_count: count(subtasks.len())?,
            subtask_done_count: count(done)?,
            comment_count: 0,
            created_by_kind: self.scope.actor().kind,
            created_by_id: self.scope.actor().id,
            created_at: now,
            updated_at: now,
            started_at: None,
            completed_at: None,
            archived_at: None,
            deleted_at: None,
            deletion_id: None,
            rank: String::new(),
            version: 1,
        };
        set_status(&mut row, input.status, now);
        self.states.push(ItemState { row, assignees: input.assignees(), tags: input.tags() });
        for (index, subtask) in subtasks.iter().enumerate() {
            let base = path(&["subtasks", &index.to_string()]);
            self.add(subtask, Some(id), level + 1, &base)?;
        }
        Ok(())
    }
}

/// Whether an item is what an input makes.
async fn has_made(tx: &WriteTx, present: &item::Model, input: &ItemCreateInput) -> Result<bool> {
    let state = ItemState::load(tx, vec![present.clone()]).await?.remove(0);
    is_made(tx, &state, input).await
}

/// [`has_made`], of an item with its links.
pub(super) async fn is_made(tx: &WriteTx, state: &ItemState, input: &ItemCreateInput) -> Result<bool> {
    let row = &state.row;
    Ok(row.title == input.title.trim()
        && row.description.as_deref() == input.description.as_ref().map(|text| text.0.as_str())
        && row.status == input.status
        && row.priority == input.priority
        && row.due_at == input.due_at.map(|due| due.0)
        && row.estimated_hours == input.estimated_hours.map(rounded)
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
