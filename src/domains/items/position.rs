//! Manual order: an item is placed between two others of the organization, whatever lists they are in.
//!
//! Whoever places locks the organization's tree first, as those do who move subtasks: two who move to one place wait for
//! each other, and get places of their own.

use sea_orm::ColumnTrait as _;

use super::{
    input::ItemPosition,
    save_many::{ItemChange, save_all},
    state::ItemState,
};
use crate::{
    base::{
        error::{Error, Problem, ProblemCode, Result},
        id::ItemId,
        rank,
    },
    data::{
        db::WriteTx,
        entity::{EventType, item, ledger_head},
    },
};

/// Characters of a place at most: beyond that those around it get new ones. A thousand moves to one place make that
/// many.
pub const MAX_RANK: usize = 200;
/// Items on either side that get new places then.
const AROUND: u64 = 50;

/// The place that a position means for an item; the one that it has, where it stands there already. The tree is locked.
pub async fn place(tx: &mut WriteTx, id: ItemId, position: &ItemPosition) -> Result<String> {
    let place = find(tx, id, position).await?;
    if place.len() <= MAX_RANK {
        return Ok(place);
    }
    make_room(tx, &place).await?;
    find(tx, id, position).await
}

async fn find(tx: &WriteTx, id: ItemId, position: &ItemPosition) -> Result<String> {
    use item::Column;
    let (lower, upper) = match (position.after_id, position.before_id) {
        (Some(after), before) => {
            let lower = neighbour(tx, id, after, "afterId").await?;
            let mut upper = None;
            if let Some(before) = before {
                let before = upper.insert(neighbour(tx, id, before, "beforeId").await?);
                if *before <= lower {
                    let message = "The item of `afterId` is not before that of `beforeId`.";
                    return Err(Problem::new(ProblemCode::Invalid, &["input", "patch", "position"], message).into());
                }
            }
            let others = tx.find::<item::Entity>().filter(Column::Id.ne(id)).filter(Column::Rank.gt(lower.as_str()));
            let next = others.order_by_asc(Column::Rank).limit(1).one().await?.map(|row| row.rank);
            // One without a place is not found, and may be the nearer one.
            let upper = next.into_iter().chain(upper).min();
            (Some(lower), upper)
        }
        (None, Some(before)) => {
            let upper = neighbour(tx, id, before, "beforeId").await?;
            let others = tx.find::<item::Entity>().filter(Column::Id.ne(id)).filter(Column::Rank.lt(upper.as_str()));
            let previous = others.order_by_desc(Column::Rank).limit(1).one().await?;
            // One without a place is before all that have one.
            (previous.map(|row| row.rank).filter(|rank| !rank.is_empty()), Some(upper))
        }
        (None, None) => {
            let message = "Give `afterId`, `beforeId` or both.";
            return Err(Problem::new(ProblemCode::Required, &["input", "patch", "position"], message).into());
        }
    };
    let upper = match upper {
        Some(upper) => upper,
        // What is created later comes after it.
        None => rank::of_number(next_number(tx).await?),
    };
    let own = tx.find::<item::Entity>().filter(Column::Id.eq(id)).column::<String>(Column::Rank).await?.pop();
    let stands_there = |own: &String| lower.as_ref().is_none_or(|lower| lower < own) && *own < upper && !own.is_empty();
    if let Some(own) = own.filter(stands_there) {
        return Ok(own);
    }
    rank::between(lower.as_deref(), &upper).ok_or_else(|| Error::internal("no place between two others"))
}

/// The place of another item.
async fn neighbour(tx: &WriteTx, id: ItemId, other: ItemId, name: &str) -> Result<String> {
    let path = ["input", "patch", "position", name];
    if other == id {
        return Err(Problem::new(ProblemCode::Invalid, &path, "An item has no place beside itself.").into());
    }
    let row = tx.find::<item::Entity>().filter(item::Column::Id.eq(other)).one().await?;
    Ok(row.ok_or_else(|| Problem::not_found(&path, "item"))?.place())
}

async fn next_number(tx: &WriteTx) -> Result<i64> {
    let head = tx.find::<ledger_head::Entity>().one().await?;
    Ok(head.ok_or_else(|| Error::retry("the organization is gone"))?.next_number)
}

/// Gives the items around a place short places again, in the order that they have, with an event each.
async fn make_room(tx: &mut WriteTx, around: &str) -> Result<()> {
    use item::Column;
    let placed = || tx.find::<item::Entity>().filter(Column::Rank.ne(""));
    let mut rows = placed().filter(Column::Rank.lt(around)).order_by_desc(Column::Rank).limit(AROUND + 1).all().await?;
    // The outermost stay where they are.
    let lower = if rows.len() as u64 > AROUND { rows.pop().map(|row| row.rank) } else { None };
    rows.reverse();
    rows.extend(placed().filter(Column::Rank.gte(around)).order_by_asc(Column::Rank).limit(AROUND + 1).all().await?);
    let upper = match rows.last() {
        Some(last) if rows.len() as u64 > AROUND => {
            let upper = last.rank.clone();
            rows.pop();
            upper
        }
        _ => rank::of_number(next_number(tx).await?),
    };
    let ids: Vec<ItemId> = rows.iter().map(|row| row.id).collect();
    let these = crate::data::db::filter::among(tx.scope().db(), Column::Id, ids);
    let mut rows = tx.find::<item::Entity>().filter(these).order_by_asc(Column::Id).for_update().all().await?;
    rows.sort_by(|a, b| (&a.rank, a.id).cmp(&(&b.rank, b.id)));
    let places = rank::spread(lower.as_deref(), &upper, rows.len());
    let places = places.ok_or_else(|| Error::internal("no room between two places"))?;
    let mut all = Vec::with_capacity(rows.len());
    for (before, place) in ItemState::load(tx, rows).await?.into_iter().zip(places) {
        let mut after = before.clone();
        after.row.rank = place;
        all.push(ItemChange { r#type: EventType::ItemUpdated, before, after });
    }
    save_all(tx, all, |_| false).await?;
    Ok(())
}
