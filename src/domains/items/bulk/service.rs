//! The rules of bulk mutations: which items, what becomes of each, and whether one that fails takes the others along. Each
//! takes a number of statements that does not grow with its items, and writes one event an item.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::input::{
    BulkMode, ItemBulkCreateInput, ItemBulkDeleteInput, ItemBulkFilter, ItemBulkRestoreInput, ItemBulkUpdateInput,
    ItemSelector, MAX_BULK,
};
use crate::{
    base::{
        error::{Error, Problem, ProblemCode, Rejected, Result},
        id::{AnyId, ItemId},
        policy::Permission,
    },
    data::{
        db::{Committed, OrgScope, WriteTx, filter::among},
        entity::{Findable, item},
    },
    domains::items::{
        create::Times,
        create_many::{Create, create_all_in},
        filter::in_scope,
        references::References,
        save_many::{ItemChange, save_all},
        service::{event_type, planned},
        state::ItemState,
        trees,
    },
    graphql::filter::Filtering,
};

/// What became of each item.
#[derive(Clone, Debug, Default)]
pub struct Bulk {
    pub outcomes: Vec<BulkOutcome>,
}

/// What became of one item: a row where it succeeded, problems where it failed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BulkOutcome {
    pub id: Option<ItemId>,
    pub problems: Vec<Problem>,
    #[serde(skip)]
    pub row: Option<item::Model>,
}

impl Bulk {
    /// As it is kept for a repeat under an idempotency key; the rows are read again.
    pub fn of_record(outcomes: Json) -> Result<Self> {
        Ok(Self { outcomes: serde_json::from_value(outcomes).map_err(Error::internal)? })
    }
}

impl Findable for Bulk {
    fn any_id(&self) -> Option<AnyId> {
        None
    }

    fn outcomes(&self) -> Result<Option<Json>> {
        serde_json::to_value(&self.outcomes).map(Some).map_err(Error::internal)
    }
}

type Written = Result<Committed<Bulk>, Rejected<Bulk>>;

pub async fn create(scope: &OrgScope, input: &ItemBulkCreateInput) -> Written {
    input.validate()?;
    let mut tx = scope.write(Permission::ItemWrite).await?;
    let creates: Vec<Create> =
        input.items.iter().map(|input| Create { input: input.clone(), times: Times::default() }).collect();
    let mut outcomes = Vec::with_capacity(creates.len());
    for (index, made) in create_all_in(&mut tx, &creates).await?.into_iter().enumerate() {
        outcomes.push(match made {
            Ok(row) => BulkOutcome { id: Some(row.id), row: Some(row), problems: Vec::new() },
            Err(error) => {
                let mut problems = problems_of(error)?;
                for problem in &mut problems {
                    // The paths are those of a single create, which begin with `input`.
                    problem.path.splice(..1, ["input".to_owned(), "items".to_owned(), index.to_string()]);
                }
                BulkOutcome { id: input.items[index].id, problems, row: None }
            }
        });
    }
    finish(tx, input.mode, outcomes).await
}

pub async fn update(scope: &OrgScope, input: &ItemBulkUpdateInput) -> Written {
    input.validate()?;
    let mut tx = scope.write(Permission::ItemWrite).await?;
    let mut selected = Selected::of(&tx, &input.select).await?;
    let patch = input.patch.of_each();
    let now = scope.clock().now();
    let present: Vec<item::Model> = selected.present.values().cloned().collect();
    let (mut all, mut wanted) = (Vec::with_capacity(present.len()), References::default());
    for before in ItemState::load(&tx, present).await? {
        if before.row.deleted_at.is_some() {
            selected.fails(before.row.id, vec![in_trash()]);
            continue;
        }
        match planned(&before, &patch, now) {
            Ok((after, references)) => {
                wanted.extend(references);
                all.push(ItemChange { r#type: event_type(&before, &after), before, after });
            }
            Err(error) => selected.fails(before.row.id, problems_of(error)?),
        }
    }
    // What the patch names is missing for all alike.
    wanted.look_up(&tx).await?;
    if selected.may_write(input.mode) {
        for state in save_all(&mut tx, all, |_| true).await? {
            selected.present.insert(state.row.id, state.row);
        }
    }
    finish(tx, input.mode, selected.outcomes()).await
}

pub async fn delete(scope: &OrgScope, input: &ItemBulkDeleteInput) -> Written {
    input.validate()?;
    let mut tx = scope.write(Permission::ItemDelete).await?;
    let mut selected = Selected::of(&tx, &input.select).await?;
    if selected.may_write(input.mode) {
        let rows = selected.present.values().cloned().collect();
        selected.take(trees::delete_all(&mut tx, rows).await?);
    }
    finish(tx, input.mode, selected.outcomes()).await
}

pub async fn restore(scope: &OrgScope, input: &ItemBulkRestoreInput) -> Written {
    input.validate()?;
    let mut tx = scope.write(Permission::ItemDelete).await?;
    let mut selected = Selected::of(&tx, &input.select).await?;
    let rows = selected.present.values().cloned().collect();
    let (plan, refused) = trees::plan_restore(&tx, rows).await?;
    for (id, problem) in refused {
        selected.fails(id, vec![problem]);
    }
    if selected.may_write(input.mode) {
        selected.take(trees::restore_all(&mut tx, plan).await?);
    }
    finish(tx, input.mode, selected.outcomes()).await
}

fn in_trash() -> Problem {
    Problem::new(ProblemCode::InvalidState, &["input", "select"], "The item is in the trash; restore it first.")
}

/// What the caller did wrong with one item; anything else concerns the whole.
fn problems_of(error: Error) -> Result<Vec<Problem>> {
    match error {
        Error::Invalid(problems) => Ok(problems),
        error => Err(error),
    }
}

/// Commits what was written, or, where all or none was asked for and one failed, nothing.
async fn finish(tx: WriteTx, mode: BulkMode, outcomes: Vec<BulkOutcome>) -> Written {
    let bulk = Bulk { outcomes };
    let failed = bulk.outcomes.iter().any(|outcome| !outcome.problems.is_empty());
    if mode == BulkMode::Atomic && failed {
        let numbered = bulk
            .outcomes
            .iter()
            .enumerate()
            .flat_map(|(index, outcome)| outcome.problems.iter().map(move |problem| with_index(problem, index)));
        let error = Error::Invalid(numbered.collect());
        return Err(Rejected { error, present: Some(bulk) });
    }
    Ok(tx.commit(bulk).await?)
}

/// A problem of one item among those of the whole: `details.index` says which it is of.
fn with_index(problem: &Problem, index: usize) -> Problem {
    let mut details = problem.details.clone().unwrap_or_else(|| json!({}));
    if let Json::Object(fields) = &mut details {
        fields.insert("index".to_owned(), json!(index));
    }
    problem.clone().details(details)
}

/// The items that were named, with those that are there, locked.
struct Selected {
    /// In input order.
    ids: Vec<ItemId>,
    present: HashMap<ItemId, item::Model>,
    problems: HashMap<ItemId, Vec<Problem>>,
    /// Places of ids that were named before.
    repeated: BTreeSet<usize>,
    by_ids: bool,
}

impl Selected {
    async fn of(tx: &WriteTx, selector: &ItemSelector) -> Result<Self> {
        let rows = match selector {
            ItemSelector::Ids(ids) => {
                let these = among(tx.scope().db(), item::Column::Id, ids.iter().copied());
                tx.find::<item::Entity>().filter(these).order_by_asc(item::Column::Id).for_update().all().await?
            }
            ItemSelector::Filter(filter) => matching(tx, filter).await?,
        };
        let (ids, by_ids) = match selector {
            ItemSelector::Ids(ids) => (ids.clone(), true),
            ItemSelector::Filter(_) => (rows.iter().map(|row| row.id).collect(), false),
        };
        let mut seen = BTreeSet::new();
        let repeated = ids.iter().enumerate().filter(|(_, id)| !seen.insert(**id)).map(|(place, _)| place).collect();
        let present = rows.into_iter().map(|row| (row.id, row)).collect();
        Ok(Self { ids, present, problems: HashMap::new(), repeated, by_ids })
    }

    fn fails(&mut self, id: ItemId, problems: Vec<Problem>) {
        self.problems.insert(id, problems);
    }

    /// The rows as they are now.
    fn take(&mut self, rows: Vec<item::Model>) {
        self.present.extend(rows.into_iter().map(|row| (row.id, row)));
    }

    fn may_write(&self, mode: BulkMode) -> bool {
        let all_there = self.ids.iter().all(|id| self.present.contains_key(id));
        mode == BulkMode::BestEffort || (all_there && self.problems.is_empty() && self.repeated.is_empty())
    }

    fn outcomes(mut self) -> Vec<BulkOutcome> {
        let mut outcomes = Vec::with_capacity(self.ids.len());
        for (place, id) in self.ids.iter().enumerate() {
            let number = place.to_string();
            let path: &[&str] =
                if self.by_ids { &["input", "select", "ids", &number] } else { &["input", "select", "filter"] };
            let mut outcome = BulkOutcome { id: Some(*id), ..BulkOutcome::default() };
            if self.repeated.contains(&place) {
                outcome.problems.push(Problem::new(ProblemCode::Invalid, path, "The item is named twice."));
            } else if let Some(problems) = self.problems.remove(id) {
                outcome.problems = problems;
                for problem in outcome.problems.iter_mut().filter(|problem| problem.path == ["input", "select"]) {
                    problem.path = path.iter().map(|segment| (*segment).to_owned()).collect();
                }
            } else {
                outcome.row = self.present.get(id).cloned();
                if outcome.row.is_none() {
                    outcome.problems.push(Problem::not_found(path, "item"));
                }
            }
            outcomes.push(outcome);
        }
        outcomes
    }
}

/// The items that match, locked, in the order of their ids.
async fn matching(tx: &WriteTx, filter: &ItemBulkFilter) -> Result<Vec<item::Model>> {
    let scope = tx.scope();
    let path = ["input", "select", "filter"];
    let mut filtering = Filtering::new(scope, scope.clock().now());
    let condition = filter.r#where.condition(&mut filtering)?;
    if filtering.is_empty() {
        let message = "An empty filter would match everything: say what must hold.";
        return Err(Problem::new(ProblemCode::Required, &[&path[..], &["where"]].concat(), message).into());
    }
    let found = tx.find::<item::Entity>().filter(in_scope(filter.scope)).filter(condition);
    let found = found.order_by_asc(item::Column::Id).limit(MAX_BULK as u64 + 1).for_update().all().await?;
    if usize::try_from(filter.expected_count) != Ok(found.len()) {
        let count = if found.len() > MAX_BULK { format!("More than {MAX_BULK}") } else { found.len().to_string() };
        let message = format!("{count} items match, not {}.", filter.expected_count);
        let problem = Problem::new(ProblemCode::Conflict, &[&path[..], &["expectedCount"]].concat(), message);
        return Err(problem.details(json!({ "found": found.len(), "isMore": found.len() > MAX_BULK })).into());
    }
    Ok(found)
}
