use std::collections::BTreeSet;

use async_graphql::{Enum, InputObject, MaybeUndefined};

pub use super::filter::ItemFilter;
use crate::{
    accounts::input::required,
    db::{filter::fold, page::Key},
    entity::{
        enums::{ItemStatus, Priority},
        item,
    },
    error::{Problem, ProblemCode, Problems, Result},
    graphql::{
        patch::{IdSetPatch, check_set},
        scalars::{DateTime, Markdown},
    },
    id::{ClientMade, ItemId, TagId, TeamId, UserId},
    teams::input::MAX_DESCRIPTION,
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

/// Which shelf to read: working set, archive, trash, or the first two.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemScope {
    Active,
    Archived,
    Trashed,
    All,
}

#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderDirection {
    Asc,
    Desc,
}

#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NullsOrder {
    First,
    Last,
}

#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemOrderField {
    CreatedAt,
    UpdatedAt,
    DueAt,
    CompletedAt,
    Priority,
    Status,
    Title,
    Identifier,
}

/// Ties are broken by id, so every ordering is total and its cursors are stable.
#[derive(InputObject, Clone, Copy, Debug)]
pub struct ItemOrder {
    pub field: ItemOrderField,
    #[graphql(default_with = "OrderDirection::Asc")]
    pub direction: OrderDirection,
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
        };
        Key { column, descending: self.direction == OrderDirection::Desc, nulls_first: self.nulls == NullsOrder::First }
    }
}

/// The order of a list that doesn't say.
pub fn newest_first() -> Vec<ItemOrder> {
    vec![ItemOrder { field: ItemOrderField::CreatedAt, direction: OrderDirection::Desc, nulls: NullsOrder::Last }]
}

/// The order of subtasks that doesn't say.
pub fn oldest_first() -> Vec<ItemOrder> {
    vec![ItemOrder { field: ItemOrderField::CreatedAt, direction: OrderDirection::Asc, nulls: NullsOrder::Last }]
}

#[derive(InputObject, Clone)]
pub struct ItemCreateInput {
    /// Client-made id (`itm_` + UUIDv7). Repeating a create with the same id and content returns the first result.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<ItemId>,
    pub title: String,
    pub description: Option<Markdown>,
    #[graphql(default_with = "ItemStatus::Todo")]
    pub status: ItemStatus,
    #[graphql(default_with = "Priority::Medium")]
    pub priority: Priority,
    pub due_at: Option<DateTime>,
    pub estimated_hours: Option<f64>,
    pub team_id: Option<TeamId>,
    pub parent_id: Option<ItemId>,
    pub assignee_ids: Option<Vec<UserId>>,
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

/// Without the sign of a negative zero, which PostgreSQL keeps and SQLite doesn't.
pub fn plain(hours: f64) -> f64 {
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

/// Absent = keep, null = clear.
#[derive(InputObject, Clone, Default)]
pub struct ItemPatch {
    pub title: MaybeUndefined<String>,
    pub description: MaybeUndefined<Markdown>,
    pub status: MaybeUndefined<ItemStatus>,
    pub priority: MaybeUndefined<Priority>,
    pub due_at: MaybeUndefined<DateTime>,
    pub estimated_hours: MaybeUndefined<f64>,
    pub actual_hours: MaybeUndefined<f64>,
    pub team_id: MaybeUndefined<TeamId>,
    pub parent_id: MaybeUndefined<ItemId>,
    pub assignees: MaybeUndefined<IdSetPatch>,
    pub tags: MaybeUndefined<IdSetPatch>,
}

impl ItemPatch {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        required(&mut problems, &["input", "patch", "title"], &self.title);
        required(&mut problems, &["input", "patch", "status"], &self.status);
        required(&mut problems, &["input", "patch", "priority"], &self.priority);
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
    /// assignees and tags are other tables'.
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
        } = self.clone();
        if let MaybeUndefined::Value(title) = title {
            row.title_key = fold(&title);
            row.title = title.trim().to_owned();
        }
        description.map_value(|text| text.0).update_to(&mut row.description);
        if let MaybeUndefined::Value(priority) = priority {
            row.priority = priority;
        }
        due_at.map_value(|due| due.0).update_to(&mut row.due_at);
        estimated_hours.map_value(plain).update_to(&mut row.estimated_hours);
        actual_hours.map_value(plain).update_to(&mut row.actual_hours);
        team_id.update_to(&mut row.team_id);
        parent_id.update_to(&mut row.parent_id);
    }

    /// The status asked for.
    pub fn status(&self) -> Option<ItemStatus> {
        self.status.value().copied()
    }
}

#[derive(InputObject, Clone)]
pub struct ItemUpdateInput {
    pub id: ItemId,
    pub if_version: Option<i32>,
    pub patch: ItemPatch,
}

#[derive(InputObject, Clone)]
pub struct ItemArchiveInput {
    pub id: ItemId,
    pub if_version: Option<i32>,
}

#[derive(InputObject, Clone)]
pub struct ItemUnarchiveInput {
    pub id: ItemId,
    pub if_version: Option<i32>,
}

#[derive(InputObject, Clone)]
pub struct ItemDeleteInput {
    pub id: ItemId,
    pub if_version: Option<i32>,
    /// Skip the trash, or empty it of this item; needs ITEM_PURGE. The payload's `item` is then null.
    #[graphql(default)]
    pub permanently: bool,
}

#[derive(InputObject, Clone)]
pub struct ItemRestoreInput {
    pub id: ItemId,
    pub if_version: Option<i32>,
}
