use async_graphql::{Enum, InputObject, MaybeUndefined, OneofObject};

use crate::{
    base::{
        enums::{ItemStatus, Priority},
        error::{Problem, ProblemCode, Problems, Result},
        id::{ItemId, TeamId},
    },
    domains::items::input::{ItemCreateInput, ItemFilter, ItemPatch, ItemScope},
    graphql::{patch::IdSetPatch, scalars::DateTime},
};

/// Items of one bulk mutation at most, subtasks that are created or deleted along included.
pub const MAX_BULK: usize = 500;

/// What happens when one of many items can't be changed.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkMode {
    /// All or nothing.
    Atomic,
    /// Each on its own; failures are reported per item. What concerns all of them (the plan's limit, a tag that isn't
    /// there) fails for all.
    BestEffort,
}

/// Exactly one way to name the items, at most 500.
#[derive(OneofObject, Clone)]
pub enum ItemSelector {
    /// By their ids, each once.
    Ids(Vec<ItemId>),
    /// Those that match.
    Filter(Box<ItemBulkFilter>),
}

/// Items that match. An empty `where` is refused; `expectedCount` guards against surprises: CONFLICT when another number
/// matches.
#[derive(InputObject, Clone)]
pub struct ItemBulkFilter {
    /// What must hold.
    pub r#where: ItemFilter,
    /// Which items to look at: see `ItemScope`.
    #[graphql(default_with = "ItemScope::Active")]
    pub scope: ItemScope,
    /// How many match, 0 to 500.
    pub expected_count: i32,
}

impl ItemSelector {
    fn check(&self, problems: &mut Problems) {
        match self {
            Self::Ids(ids) => {
                let path = ["input", "select", "ids"];
                problems.count(&path, ids.len(), MAX_BULK);
                if ids.is_empty() {
                    problems.push(ProblemCode::Required, &path, "Name at least one item.");
                }
            }
            Self::Filter(filter) => {
                let is_possible = usize::try_from(filter.expected_count).is_ok_and(|count| count <= MAX_BULK);
                if !is_possible {
                    let path = ["input", "select", "filter", "expectedCount"];
                    let message = format!("Between 0 and {MAX_BULK}.");
                    problems.add(
                        Problem::new(ProblemCode::OutOfRange, &path, message)
                            .details(serde_json::json!({ "minimum": 0, "maximum": MAX_BULK })),
                    );
                }
            }
        }
    }
}

/// What makes sense for many items at once. Absent = keep, null = clear.
#[derive(InputObject, Clone, Default)]
pub struct ItemBulkPatch {
    /// How far they have got, as in `ItemPatch`. Can't be cleared.
    pub status: MaybeUndefined<ItemStatus>,
    /// How urgent they are. Can't be cleared.
    pub priority: MaybeUndefined<Priority>,
    /// When they are to be done; null: no such time.
    pub due_at: MaybeUndefined<DateTime>,
    /// Estimate of the work on each, in hours, 0 to 100,000, rounded to two decimals; null: none.
    pub estimated_hours: MaybeUndefined<f64>,
    /// Time that each took, in hours, 0 to 100,000, rounded to two decimals; null: unknown.
    pub actual_hours: MaybeUndefined<f64>,
    /// The team they belong to; null: none.
    pub team_id: MaybeUndefined<TeamId>,
    /// User ids of active members, 20 an item at most. Null is REQUIRED.
    pub assignees: MaybeUndefined<IdSetPatch>,
    /// Tags, 50 an item at most. Null is REQUIRED.
    pub tags: MaybeUndefined<IdSetPatch>,
}

impl ItemBulkPatch {
    /// As the patch of each.
    pub fn of_each(&self) -> ItemPatch {
        let Self { status, priority, due_at, estimated_hours, actual_hours, team_id, assignees, tags } = self.clone();
        ItemPatch {
            status,
            priority,
            due_at,
            estimated_hours,
            actual_hours,
            team_id,
            assignees,
            tags,
            ..ItemPatch::default()
        }
    }
}

/// New items, 500 at most with the subtasks given along.
#[derive(InputObject, Clone)]
pub struct ItemBulkCreateInput {
    /// The new items.
    pub items: Vec<ItemCreateInput>,
    /// What happens when one can't be created.
    #[graphql(default_with = "BulkMode::Atomic")]
    pub mode: BulkMode,
}

impl ItemBulkCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        let path = ["input", "items"];
        problems.count(&path, self.items.iter().map(ItemCreateInput::items).sum(), MAX_BULK);
        if self.items.is_empty() {
            problems.push(ProblemCode::Required, &path, "Give at least one item.");
        }
        problems.finish()
    }
}

/// Which items to change, and how.
#[derive(InputObject, Clone)]
pub struct ItemBulkUpdateInput {
    /// The items, outside the trash.
    pub select: ItemSelector,
    /// What to change.
    pub patch: ItemBulkPatch,
    /// What happens when one can't be changed.
    #[graphql(default_with = "BulkMode::Atomic")]
    pub mode: BulkMode,
}

impl ItemBulkUpdateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        self.select.check(&mut problems);
        problems.finish()?;
        self.patch.of_each().validate()
    }
}

/// Which items to move to the trash, with all below them: 500 altogether at most. Those that are there stay.
#[derive(InputObject, Clone)]
pub struct ItemBulkDeleteInput {
    /// The items.
    pub select: ItemSelector,
    /// What happens when one can't be deleted.
    #[graphql(default_with = "BulkMode::Atomic")]
    pub mode: BulkMode,
}

impl ItemBulkDeleteInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        self.select.check(&mut problems);
        problems.finish()
    }
}

/// Which items to bring back from the trash, with what went there along with them: 500 altogether at most. Those that are
/// not there stay as they are.
#[derive(InputObject, Clone)]
pub struct ItemBulkRestoreInput {
    /// The items.
    pub select: ItemSelector,
    /// What happens when one can't be restored.
    #[graphql(default_with = "BulkMode::Atomic")]
    pub mode: BulkMode,
}

impl ItemBulkRestoreInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        self.select.check(&mut problems);
        problems.finish()
    }
}
