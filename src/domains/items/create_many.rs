//! Many new items in one transaction, each with its own outcome: imports, and whoever else makes many at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    create::{Planned, Times, insert, is_made},
    input::{ItemCreateInput, MAX_ANCESTORS},
    references::Found,
    service::too_deep,
    state::{Counts, ItemState},
};
use crate::{
    base::{
        error::{Error, Problem, ProblemCode, Result},
        id::ItemId,
        policy::Permission,
    },
    data::{
        db::{WriteTx, filter::among, id_taken},
        entity::item,
    },
};

/// Creates of one transaction at most: others of the organization wait meanwhile.
pub const MAX_CREATES: usize = 200;

/// One of many creates.
#[derive(Clone)]
pub struct Create {
    pub input: ItemCreateInput,
    /// Of an item that comes from elsewhere.
    pub times: Times,
}

/// Creates items, as part of a write that makes no other events: [`MAX_CREATES`] at most. The number of statements does
/// not grow with theirs.
///
/// Each has its own outcome, in the order given; the problems' paths are those of a single create. One that has the id of
/// another before it, or a parent that fails, fails alone. A parent stands before its children, or is there already. An
/// `Err` of the whole (the plan's limit, the database) means that nothing may be committed.
pub async fn create_all_in(tx: &mut WriteTx, creates: &[Create]) -> Result<Vec<Result<item::Model>>> {
    let scope = tx.scope().clone();
    scope.require(Permission::ItemWrite)?;
    if creates.len() > MAX_CREATES {
        let message = format!("At most {MAX_CREATES} at once.");
        return Err(Problem::new(ProblemCode::TooMany, &["input"], message).into());
    }
    let present = present(tx, creates).await?;
    let parents = Parents::of(tx, creates).await?;

    // By place: what is known of each, or what it would make.
    let mut outcomes: Vec<Option<Result<item::Model>>> = Vec::with_capacity(creates.len());
    let mut planned: BTreeMap<usize, Planned> = BTreeMap::new();
    let mut levels: BTreeMap<ItemId, usize> = BTreeMap::new();
    for (place, Create { input, times }) in creates.iter().enumerate() {
        let outcome = match present_as(tx, &present, input).await? {
            Some(outcome) => Some(outcome),
            None => {
                let level = match input.parent_id {
                    Some(parent) => {
                        levels.get(&parent).map_or_else(|| parents.level_below(parent), |level| Ok(level + 1))
                    }
                    None => Ok(0),
                };
                let of_level = |level| input.validate().and_then(|()| Planned::of(&scope, input, level, *times));
                match level.and_then(|level| Ok((level, of_level(level)?))) {
                    Ok((level, plan)) => {
                        levels.insert(plan.states[0].row.id, level);
                        planned.insert(place, plan);
                        None
                    }
                    Err(error) => Some(Err(error)),
                }
            }
        };
        outcomes.push(outcome);
    }

    let found = Found::of(tx, planned.values().map(|plan| &plan.references)).await?;
    let (mut taken, mut made) = (found.ids.clone(), BTreeSet::new());
    let mut good: Vec<(usize, Planned)> = Vec::with_capacity(planned.len());
    let mut counts = Counts::default();
    for (place, plan) in planned {
        let row = &plan.states[0].row;
        // A parent of this write that has failed meanwhile is none.
        let lacks_parent = row.parent_id.is_some_and(|parent| levels.contains_key(&parent) && !made.contains(&parent));
        let twice = plan.references.ids.iter().find(|(id, _)| taken.contains(id));
        let checked = match (lacks_parent, twice) {
            (true, _) => Err(Problem::not_found(&["input", "parentId"], "item").into()),
            (_, Some((_, path))) => Err(id_taken(path.clone()).into()),
            _ => plan.references.check(&found),
        };
        if let Err(error) = checked {
            outcomes[place] = Some(Err(error));
            continue;
        }
        taken.extend(plan.references.ids.keys().copied());
        made.extend(plan.states.iter().map(|state| state.row.id));
        counts.enter(row);
        good.push((place, plan));
    }
    // Parents that are made here carry their counts; those that were there are raised.
    for (_, plan) in &mut good {
        for state in &mut plan.states {
            let (total, done) = counts.take(state.row.id);
            state.row.subtask_count += total;
            state.row.subtask_done_count += done;
        }
    }
    counts.apply(tx).await?;
    let (places, good): (Vec<usize>, Vec<Planned>) = good.into_iter().unzip();
    if !good.is_empty() {
        for (place, row) in places.into_iter().zip(insert(tx, good).await?) {
            outcomes[place] = Some(Ok(row));
        }
    }
    let lost = || Err(Error::internal("a create without an outcome"));
    Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(lost)).collect())
}

/// Items that are there already under ids of the creates, with their links.
async fn present(tx: &WriteTx, creates: &[Create]) -> Result<BTreeMap<ItemId, ItemState>> {
    let ids: Vec<ItemId> = creates.iter().filter_map(|create| create.input.id).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let these = among(tx.scope().db(), item::Column::Id, ids);
    let rows = tx.find::<item::Entity>().filter(these).all().await?;
    let states = ItemState::load(tx, rows).await?;
    Ok(states.into_iter().map(|state| (state.row.id, state)).collect())
}

/// What a create answers that finds its id in use: the item, if it is what the create makes.
async fn present_as(
    tx: &WriteTx,
    present: &BTreeMap<ItemId, ItemState>,
    input: &ItemCreateInput,
) -> Result<Option<Result<item::Model>>> {
    let Some(state) = input.id.and_then(|id| present.get(&id)) else { return Ok(None) };
    if is_made(tx, state, input).await? {
        return Ok(Some(Ok(state.row.clone())));
    }
    Ok(Some(Err(id_taken(vec!["input".to_owned(), "id".to_owned()]).into())))
}

/// Items that creates name as parents and that are there, with all above them: locked until the transaction ends, so that
/// nobody moves or deletes them meanwhile.
struct Parents(BTreeMap<ItemId, item::Model>);

impl Parents {
    /// A statement a level: all parents, then all of theirs.
    async fn of(tx: &WriteTx, creates: &[Create]) -> Result<Self> {
        let mut rows: BTreeMap<ItemId, item::Model> = BTreeMap::new();
        let mut next: BTreeSet<ItemId> = creates.iter().filter_map(|create| create.input.parent_id).collect();
        for _ in 0..=MAX_ANCESTORS {
            if next.is_empty() {
                break;
            }
            let these = among(tx.scope().db(), item::Column::Id, next);
            let found =
                tx.find::<item::Entity>().filter(these).order_by_asc(item::Column::Id).for_update().all().await?;
            rows.extend(found.iter().map(|row| (row.id, row.clone())));
            next = found.iter().filter_map(|row| row.parent_id).filter(|id| !rows.contains_key(id)).collect();
        }
        Ok(Self(rows))
    }

    /// How many ancestors an item has that hangs under `parent`.
    fn level_below(&self, parent: ItemId) -> Result<usize> {
        let path = ["input", "parentId"];
        let row = self.0.get(&parent).ok_or_else(|| Problem::not_found(&path, "item"))?;
        if row.deleted_at.is_some() {
            let message = "The parent is in the trash; restore it first.";
            return Err(Problem::new(ProblemCode::InvalidState, &path, message).into());
        }
        let (mut level, mut next) = (0, Some(parent));
        while let Some(row) = next.and_then(|id| self.0.get(&id)) {
            level += 1;
            if level > MAX_ANCESTORS {
                return Err(too_deep(&path).into());
            }
            next = row.parent_id;
        }
        Ok(level)
    }
}
