//! The rules of relations. What blocks what is a graph without circles: whoever adds to it locks the organization's tree
//! first, so that two who close a circle from both sides wait for each other.

use std::collections::HashMap;

use sea_orm::{ColumnTrait as _, Condition, ExprTrait as _};
use serde_json::json;

use super::input::ItemRelationCreateInput;
use crate::{
    base::{
        enums::ItemRelationKind,
        error::{Problem, ProblemCode, Result},
        id::{ItemId, ItemRelationId, TeamId},
        policy::Permission,
    },
    data::{
        db::{Committed, OrgScope, WriteTx, filter::among},
        entity::{EventType, item, item_relation},
        ledger::{Fields, NewEvent, changes},
    },
};

/// Relations of an item at most, in both directions together.
pub const MAX_RELATIONS: u64 = 100;
/// Items that wait for one, over any number of others, at most: what the search for a circle looks at.
const MAX_WAITING: u64 = 10_000;

/// The fields that events show.
fn fields(row: &item_relation::Model) -> Fields {
    let item_relation::Model { organization_id: _, id: _, item_id, related_item_id, kind, created_at: _ } = row;
    vec![("itemId", json!(item_id)), ("kind", json!(kind)), ("relatedItemId", json!(related_item_id))]
}

pub async fn create(scope: &OrgScope, input: &ItemRelationCreateInput) -> Result<Committed<item_relation::Model>> {
    let mut tx = scope.write(Permission::ItemWrite).await?;
    let is_same = async |present: &item_relation::Model| Ok(is_what(present, input));
    if let Some(present) = tx.made_before::<item_relation::Entity>(input.id, is_same).await? {
        return tx.commit(present).await;
    }
    if input.item_id == input.related_item_id {
        let message = "An item has no relation to itself.";
        return Err(Problem::new(ProblemCode::Invalid, &["input", "relatedItemId"], message).into());
    }
    tx.lock_tree().await?;
    let item = open(&tx, input.item_id, &["input", "itemId"]).await?;
    open(&tx, input.related_item_id, &["input", "relatedItemId"]).await?;
    check_present(&tx, input).await?;
    if input.kind == ItemRelationKind::Blocks {
        let waiting = tx.items_that_wait(input.related_item_id, MAX_WAITING + 1).await?;
        if waiting.contains(&input.item_id) {
            let message = "The other item blocks this one already, itself or through others.";
            return Err(Problem::new(ProblemCode::Cycle, &["input", "relatedItemId"], message).into());
        }
        if waiting.len() as u64 > MAX_WAITING {
            let message = format!("More than {MAX_WAITING} items wait for the other item.");
            return Err(Problem::new(ProblemCode::TooMany, &["input", "relatedItemId"], message)
                .details(json!({ "maximum": MAX_WAITING }))
                .into());
        }
    }
    let row = item_relation::Model {
        organization_id: scope.organization_id(),
        id: input.id.unwrap_or_else(|| scope.clock().new_id()),
        item_id: input.item_id,
        related_item_id: input.related_item_id,
        kind: input.kind,
        created_at: scope.clock().now(),
    };
    let row = tx.create(row, |row| event(EventType::ItemRelationCreated, row, item.team_id)).await?;
    tx.commit(row).await
}

fn is_what(present: &item_relation::Model, input: &ItemRelationCreateInput) -> bool {
    (present.item_id, present.kind, present.related_item_id) == (input.item_id, input.kind, input.related_item_id)
}

fn event(r#type: EventType, row: &item_relation::Model, team_id: Option<TeamId>) -> NewEvent {
    let fields = fields(row);
    let changed = match r#type {
        EventType::ItemRelationDeleted => changes(Some(&fields), None),
        _ => changes(None, Some(&fields)),
    };
    NewEvent::new(r#type, row.id.any(), changed).of_item(row.item_id, team_id)
}

/// An item outside the trash.
async fn open(tx: &WriteTx, id: ItemId, path: &[&str]) -> Result<item::Model> {
    let item = tx.find::<item::Entity>().filter(item::Column::Id.eq(id)).one().await?;
    let item = item.ok_or_else(|| Problem::not_found(path, "item"))?;
    if item.deleted_at.is_some() {
        let message = "The item is in the trash; restore it first.";
        return Err(Problem::new(ProblemCode::InvalidState, path, message).into());
    }
    Ok(item)
}

/// Neither is there such a relation already, nor has one of the two items as many as it may have.
async fn check_present(tx: &WriteTx, input: &ItemRelationCreateInput) -> Result<()> {
    use item_relation::Column;
    for (id, name) in [(input.item_id, "itemId"), (input.related_item_id, "relatedItemId")] {
        let either = Column::ItemId.eq(id).or(Column::RelatedItemId.eq(id));
        let rows = tx.find::<item_relation::Entity>().filter(either).limit(MAX_RELATIONS).all().await?;
        if let Some(present) = rows.iter().find(|row| is_pair(row, input)) {
            return Err(taken(present, input).into());
        }
        if rows.len() as u64 >= MAX_RELATIONS {
            let message = format!("An item has at most {MAX_RELATIONS} relations.");
            return Err(Problem::new(ProblemCode::TooMany, &["input", name], message)
                .details(json!({ "maximum": MAX_RELATIONS }))
                .into());
        }
    }
    Ok(())
}

/// Whether a relation is of this kind and between these two, in whichever direction. Blocking the other way round is a
/// circle, which is found with all others.
fn is_pair(row: &item_relation::Model, input: &ItemRelationCreateInput) -> bool {
    let is_reverse = (row.item_id, row.related_item_id) == (input.related_item_id, input.item_id);
    is_what(row, input) || (is_reverse && row.kind == input.kind && row.kind != ItemRelationKind::Blocks)
}

fn taken(present: &item_relation::Model, input: &ItemRelationCreateInput) -> Problem {
    let path = ["input", "relatedItemId"];
    if present.kind == ItemRelationKind::Duplicates && present.item_id != input.item_id {
        return Problem::new(ProblemCode::Cycle, &path, "The other item duplicates this one already.");
    }
    Problem::new(ProblemCode::Taken, &path, "The two are related so already.")
}

/// Deleting again is harmless.
pub async fn delete(scope: &OrgScope, id: ItemRelationId) -> Result<Committed<ItemRelationId>> {
    let mut tx = scope.write(Permission::ItemWrite).await?;
    let path = ["input", "id"];
    let found = tx.locked_or_gone::<item_relation::Entity>(id, &path, EventType::ItemRelationDeleted).await?;
    let Some(row) = found else { return tx.commit(id).await };
    let item = tx.find::<item::Entity>().filter(item::Column::Id.eq(row.item_id)).one().await?;
    tx.delete_where::<item_relation::Entity>(item_relation::Column::Id.eq(id)).await?;
    tx.record(event(EventType::ItemRelationDeleted, &row, item.and_then(|item| item.team_id)));
    tx.commit(id).await
}

/// How many relations items have.
pub async fn count(tx: &WriteTx, items: &[item::Model]) -> Result<u64> {
    tx.find::<item_relation::Entity>().filter(of_items(tx, items)).count().await
}

fn of_items(tx: &WriteTx, items: &[item::Model]) -> Condition {
    use item_relation::Column;
    let names = |column| among(tx.scope().db(), column, items.iter().map(|item| item.id));
    Condition::any().add(names(Column::ItemId)).add(names(Column::RelatedItemId))
}

/// Deletes `limit` relations of items that are being deleted for good, and tells of it; whether there were any. The events
/// are of the item that is being deleted.
pub async fn leave_some(tx: &mut WriteTx, items: &[item::Model], limit: u64) -> Result<bool> {
    let teams: HashMap<ItemId, Option<TeamId>> = items.iter().map(|item| (item.id, item.team_id)).collect();
    let rows = tx.find::<item_relation::Entity>().filter(of_items(tx, items));
    let rows = rows.order_by_asc(item_relation::Column::Id).limit(limit).for_update().all().await?;
    if rows.is_empty() {
        return Ok(false);
    }
    for row in &rows {
        let team_id = [row.item_id, row.related_item_id].iter().find_map(|id| teams.get(id)).copied().flatten();
        tx.record(event(EventType::ItemRelationDeleted, row, team_id));
    }
    let these = among(tx.scope().db(), item_relation::Column::Id, rows.iter().map(|row| row.id));
    tx.delete_where::<item_relation::Entity>(these).await?;
    Ok(true)
}
