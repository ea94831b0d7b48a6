use std::collections::BTreeSet;

use async_graphql::{Enum, InputObject, MaybeUndefined};

pub use super::filter::ItemFilter;
use crate::{
    base::{
        enums::{ItemStatus, Priority},
        error::{Problem, ProblemCode, Problems, Result},
        id::{ClientMade, ItemId, TagId, TeamId, UserId},
    },
    data::{
        db::{filter::fold, page::Key},
        entity::item,
    },
    domains::{accounts::input::required, teams::input::MAX_DESCRIPTION},
    graphql::{
        patch::{IdSetPatch, check_set},
        scalars::{DateTime, Markdown},
    },
};

/// Assignees of an item at most.
pub const MAX_ASSIGNEES: usize = 20;
/// Tags of an item at most.
pub const MAX_TAGS: usize = 50;
/// Items above each other at most, the item itself not counted.
pub const MAX_ANCESTORS: usize = 10;
/// Items made by one create, the root included.
const MAX_CREATED: usize = 200;
pub const MAX_TITLE: usize = 500;
/// Hours at most: what fits into the sums of a report.
const MAX_HOURS: f64 = 100_000.0;

/// Which items to read: the working set, the archive, the trash, or the first two.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemScope {
    /// The working set: neither archived nor in the trash.
    Active,
    /// The archive.
    Archived,
    /// The trash.
    Trashed,
    /// Working set and archive.
    All,
}

/// Which end of an order comes first.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderDirection {
    /// Lowest, earliest or first in the alphabet comes first.
    Asc,
    /// Highest, latest or last in the alphabet comes first.
    Desc,
}

/// Where absent values go, whichever the direction.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NullsOrder {
    /// Before all others.
    First,
    /// After all others.
    Last,
}

/// What items are ordered by.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemOrderField {
    /// When they were created.
    CreatedAt,
    /// When they were last changed.
    UpdatedAt,
    /// When they are due.
    DueAt,
    /// When they were done.
    CompletedAt,
    /// Priority, in the order of `Priority`'s values.
    Priority,
    /// Status, in the order of `ItemStatus`'s values.
    Status,
    /// Title, without regard to case, by code points.
    Title,
    /// The identifier's number: `ACME-9` before `ACME-10`.
    Identifier,
    /// The manual order: see `ItemPatch.position`. Items that were never moved are in the order of their numbers.
    Rank,
}

/// One key of an order of items. Ties are broken by id, so every ordering is total and its cursors are stable.
#[derive(InputObject, Clone, Copy, Debug)]
pub struct ItemOrder {
    /// What to order by.
    pub field: ItemOrderField,
    /// Which end comes first.
    #[graphql(default_with = "OrderDirection::Asc")]
    pub direction: OrderDirection,
    /// Where items without a value go.
    #[graphql(default_with = "NullsOrder::Last")]
    pub nulls: NullsOrder,
}

impl ItemOrder {
    pub fn key(self) -> Key<item::Column> {
        let column = match self.field {
            ItemOrderField::CreatedAt => item::Column::CreatedAt,
            ItemOrderField::UpdatedAt => item::Column::UpdatedAt,
            ItemOrderField::DueAt => item::Column::DueAt,
            ItemOrderField::CompletedAt => item::Column::CompletedAt,
            ItemOrderField::Priority => item::Column::Priority,
            ItemOrderField::Status => item::Column::Status,
            ItemOrderField::Title => item::Column::TitleKey,
            ItemOrderField::Identifier => item::Column::Number,
            ItemOrderField::Rank => item::Column::Rank,
        };
        Key { column, descending: self.direction == OrderDirection::Desc, nulls_first: self.nulls == NullsOrder::First }
    }
}

/// The order of a list that doesn't say.
pub fn newest_first() -> Vec<ItemOrder> {
    vec![ItemOrder { field: ItemOrderField::CreatedAt, direction: OrderDirection::Desc, nulls: NullsOrder::Last }]
}

/// The order of subtasks that doesn't say.
pub fn by_rank() -> Vec<ItemOrder> {
    vec![ItemOrder { field: ItemOrderField::Rank, direction: OrderDirection::Asc, nulls: NullsOrder::Last }]
}

/// A new item, with the subtasks given along: 200 items at most, made all or none.
#[derive(InputObject, Clone)]
pub struct ItemCreateInput {
    /// Client-made id, `itm_` and a UUIDv7; made by the server when left out. Repeating a create with the same id and
    /// content returns the first result.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<ItemId>,
    /// What is to be done, 1 to 500 characters; surrounding spaces are cut off.
    pub title: String,
    /// More about it, 50,000 characters at most.
    pub description: Option<Markdown>,
    /// How far it has got already; not ARCHIVED.
    #[graphql(default_with = "ItemStatus::Todo")]
    pub status: ItemStatus,
    /// How urgent it is.
    #[graphql(default_with = "Priority::Medium")]
    pub priority: Priority,
    /// When it is to be done.
    pub due_at: Option<DateTime>,
    /// Estimate of the work, in hours, 0 to 100,000; rounded to two decimals.
    pub estimated_hours: Option<f64>,
    /// The team it belongs to.
    pub team_id: Option<TeamId>,
    /// The item it is a subtask of, which may have 9 above it at most and not be in the trash.
    pub parent_id: Option<ItemId>,
    /// User ids of active members, 20 at most.
    pub assignee_ids: Option<Vec<UserId>>,
    /// Tags, 50 at most.
    pub tag_ids: Option<Vec<TagId>>,
    /// Created along with it, two levels at most; each may have its own `id`, none a `parentId`.
    pub subtasks: Option<Vec<ItemCreateInput>>,
}

impl ItemCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        let count = self.check(&mut problems, &["input".to_owned()], 0);
        problems.count(&["input", "subtasks"], count, MAX_CREATED);
        problems.finish()
    }

    /// Checks this item and those below it; says how many there are.
    fn check(&self, problems: &mut Problems, base: &[String], level: usize) -> usize {
        let path = |field: &str| {
            let mut path: Vec<&str> = base.iter().map(String::as_str).collect();
            path.push(field);
            path.iter().map(|segment| (*segment).to_owned()).collect::<Vec<_>>()
        };
        let Self {
            id: _,
            title,
            description,
            status,
            priority: _,
            due_at: _,
            estimated_hours,
            team_id: _,
            parent_id,
            assignee_ids,
            tag_ids,
            subtasks,
        } = self;
        problems.length(&strs(&path("title")), title, 1, MAX_TITLE);
        if let Some(text) = description {
            problems.length(&strs(&path("description")), &text.0, 0, MAX_DESCRIPTION);
        }
        if *status == ItemStatus::Archived {
            let message = "An item is archived with `itemArchive`, not created so.";
            problems.push(ProblemCode::Invalid, &strs(&path("status")), message);
        }
        check_hours(problems, &strs(&path("estimatedHours")), *estimated_hours);
        if level > 0 && parent_id.is_some() {
            let message = "A subtask created along belongs to the item around it.";
            problems.push(ProblemCode::Invalid, &strs(&path("parentId")), message);
        }
        problems.count(&strs(&path("assigneeIds")), assignee_ids.as_ref().map_or(0, Vec::len), MAX_ASSIGNEES);
        problems.count(&strs(&path("tagIds")), tag_ids.as_ref().map_or(0, Vec::len), MAX_TAGS);
        let subtasks = subtasks.as_deref().unwrap_or_default();
        if level == 2 && !subtasks.is_empty() {
            problems.push(ProblemCode::Invalid, &strs(&path("subtasks")), "Two levels of subtasks at most.");
            return 1;
        }
        let below = subtasks.iter().enumerate().map(|(index, subtask)| {
            let mut base = path("subtasks");
            base.push(index.to_string());
            subtask.check(problems, &base, level + 1)
        });
        1 + below.sum::<usize>()
    }

    /// How many items it makes.
    pub fn items(&self) -> usize {
        1 + self.subtasks.iter().flatten().map(Self::items).sum::<usize>()
    }

    pub fn assignees(&self) -> BTreeSet<UserId> {
        self.assignee_ids.iter().flatten().copied().collect()
    }

    pub fn tags(&self) -> BTreeSet<TagId> {
        self.tag_ids.iter().flatten().copied().collect()
    }
}

fn strs(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

/// Hours as they are kept: rounded to two decimals, so that sums of them can be made in whole hundredths. Without the sign
/// of a negative zero, which PostgreSQL keeps and SQLite doesn't.
pub fn rounded(hours: f64) -> f64 {
    let hours = (hours * 100.0).round() / 100.0;
    if hours == 0.0 { 0.0 } else { hours }
}

fn check_hours(problems: &mut Problems, path: &[&str], hours: Option<f64>) {
    if hours.is_some_and(|hours| !(0.0..=MAX_HOURS).contains(&hours)) {
        problems.add(
            Problem::new(ProblemCode::OutOfRange, path, format!("Between 0 and {MAX_HOURS}."))
                .details(serde_json::json!({ "minimum": 0, "maximum": MAX_HOURS })),
        );
    }
}

/// Changes to an item. What is left out stays as it is, null clears.
#[derive(InputObject, Clone, Default)]
pub struct ItemPatch {
    /// What is to be done, 1 to 500 characters. Can't be cleared.
    pub title: MaybeUndefined<String>,
    /// More about it, 50,000 characters at most; null: none.
    pub description: MaybeUndefined<Markdown>,
    /// How far it has got. ARCHIVED archives it as `itemArchive` does; another status takes it out of the archive.
    /// Can't be cleared.
    pub status: MaybeUndefined<ItemStatus>,
    /// How urgent it is. Can't be cleared.
    pub priority: MaybeUndefined<Priority>,
    /// When it is to be done; null: no such time.
    pub due_at: MaybeUndefined<DateTime>,
    /// Estimate of the work, in hours, 0 to 100,000, rounded to two decimals; null: none.
    pub estimated_hours: MaybeUndefined<f64>,
    /// Time it took, in hours, 0 to 100,000, rounded to two decimals; null: unknown.
    pub actual_hours: MaybeUndefined<f64>,
    /// The team it belongs to; null: none.
    pub team_id: MaybeUndefined<TeamId>,
    /// The item it is a subtask of, not one below it (CYCLE); null: to the top. Subtasks come along, 10 levels at
    /// most.
    pub parent_id: MaybeUndefined<ItemId>,
    /// User ids of active members, 20 at most; who is suspended may stay. Null is REQUIRED.
    pub assignees: MaybeUndefined<IdSetPatch>,
    /// Tags, 50 at most. Null is REQUIRED.
    pub tags: MaybeUndefined<IdSetPatch>,
    /// Its place in the manual order. Null is REQUIRED.
    pub position: MaybeUndefined<ItemPosition>,
}

/// Between two neighbours in manual order; give at least one. With one of them it is right beside that. Any other items of
/// the organization will do, whatever their parents, teams and scopes.
#[derive(InputObject, Clone, Copy, Debug)]
pub struct ItemPosition {
    /// It comes right after this item.
    pub after_id: Option<ItemId>,
    /// It comes before this item; without `afterId` right before it.
    pub before_id: Option<ItemId>,
}

impl ItemPatch {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        required(&mut problems, &["input", "patch", "title"], &self.title);
        required(&mut problems, &["input", "patch", "status"], &self.status);
        required(&mut problems, &["input", "patch", "priority"], &self.priority);
        required(&mut problems, &["input", "patch", "position"], &self.position);
        check_set(&mut problems, &["input", "patch", "assignees"], &self.assignees);
        check_set(&mut problems, &["input", "patch", "tags"], &self.tags);
        if let MaybeUndefined::Value(title) = &self.title {
            problems.length(&["input", "patch", "title"], title, 1, MAX_TITLE);
        }
        if let MaybeUndefined::Value(text) = &self.description {
            problems.length(&["input", "patch", "description"], &text.0, 0, MAX_DESCRIPTION);
        }
        check_hours(&mut problems, &["input", "patch", "estimatedHours"], self.estimated_hours.value().copied());
        check_hours(&mut problems, &["input", "patch", "actualHours"], self.actual_hours.value().copied());
        problems.finish()
    }

    /// Writes what the patch says into the row. The status follows in the service, for it moves other fields along;
    /// assignees and tags are other tables', and the position is found among others.
    pub fn apply(&self, row: &mut item::Model) {
        let Self {
            title,
            description,
            status: _,
            priority,
            due_at,
            estimated_hours,
            actual_hours,
            team_id,
            parent_id,
            assignees: _,
            tags: _,
            position: _,
        } = self.clone();
        // The key of a title that stays is not made anew: what folds may have changed since with Unicode.
        if let MaybeUndefined::Value(title) = title
            && title.trim() != row.title
        {
            row.title_key = fold(&title);
            row.title = title.trim().to_owned();
        }
        description.map_value(|text| text.0).update_to(&mut row.description);
        if let MaybeUndefined::Value(priority) = priority {
            row.priority = priority;
        }
        due_at.map_value(|due| due.0).update_to(&mut row.due_at);
        estimated_hours.map_value(rounded).update_to(&mut row.estimated_hours);
        actual_hours.map_value(rounded).update_to(&mut row.actual_hours);
        team_id.update_to(&mut row.team_id);
        parent_id.update_to(&mut row.parent_id);
    }

    /// The status asked for.
    pub fn status(&self) -> Option<ItemStatus> {
        self.status.value().copied()
    }
}

/// Which item to change, and how.
#[derive(InputObject, Clone)]
pub struct ItemUpdateInput {
    /// The item.
    pub id: ItemId,
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
    /// What to change.
    pub patch: ItemPatch,
}

/// Which item to archive. One that is archived stays as it is.
#[derive(InputObject, Clone)]
pub struct ItemArchiveInput {
    /// The item.
    pub id: ItemId,
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
}

/// Which item to bring back. One that is not archived stays as it is.
#[derive(InputObject, Clone)]
pub struct ItemUnarchiveInput {
    /// The item.
    pub id: ItemId,
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
}

/// Which item to delete, with all below it. One that is in the trash stays there, unless `permanently`.
#[derive(InputObject, Clone)]
pub struct ItemDeleteInput {
    /// The item.
    pub id: ItemId,
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
    /// Skip the trash, or empty it of this item; needs ITEM_PURGE. The payload's `item` is then null.
    #[graphql(default)]
    pub permanently: bool,
}

/// Which item to watch, or to watch no longer.
#[derive(InputObject, Clone)]
pub struct ItemWatchInput {
    /// The item.
    pub id: ItemId,
    /// Whether the caller watches it from now on.
    pub watching: bool,
}

/// Which item to bring back from the trash, its parent before it. One that is not there stays as it is.
#[derive(InputObject, Clone)]
pub struct ItemRestoreInput {
    /// The item.
    pub id: ItemId,
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
}
