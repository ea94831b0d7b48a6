//! Comments. Authors edit their own; COMMENT_MODERATE edits any. An item keeps count of its comments.

use std::collections::HashMap;

use sea_orm::{
    ExprTrait as _,
    prelude::{ColumnTrait, Expr},
};
use serde_json::json;

use super::input::{CommentCreateInput, CommentUpdateInput};
use crate::{
    base::{
        error::{Problem, ProblemCode, Rejected, Result},
        id::{CommentId, ItemId, TeamId},
        policy::Permission,
    },
    data::{
        db::{Committed, OrgScope, WriteTx, at_version, filter::among},
        entity::{ActorRef, EventType, comment, item},
        ledger::{Fields, NewEvent, changes},
    },
};

/// The fields that events show.
fn fields(row: &comment::Model) -> Fields {
    let comment::Model {
        organization_id: _,
        id: _,
        item_id: _,
        parent_id: _,
        body,
        author_kind: _,
        author_id: _,
        created_at: _,
        edited_at: _,
        version: _,
    } = row;
    vec![("body", body.as_str().into())]
}

/// Whether the caller may edit or delete a comment.
pub fn may_edit(scope: &OrgScope, row: &comment::Model) -> bool {
    let own = ActorRef { kind: row.author_kind, id: row.author_id } == scope.actor();
    (own && scope.allows(Permission::CommentWrite)) || scope.allows(Permission::CommentModerate)
}

fn check_edit(scope: &OrgScope, row: &comment::Model) -> Result<()> {
    if may_edit(scope, row) {
        return Ok(());
    }
    let message = "Only its author edits a comment, or who holds COMMENT_MODERATE.";
    Err(Problem::new(ProblemCode::Forbidden, &["input", "id"], message)
        .details(json!({ "requiredPermission": Permission::CommentModerate.name() }))
        .into())
}

/// Replies to one comment: what goes with it in one transaction.
const MAX_REPLIES: u64 = 1_000;

pub async fn create(scope: &OrgScope, input: &CommentCreateInput) -> Result<Committed<comment::Model>> {
    input.validate()?;
    let mut tx = scope.write(Permission::CommentWrite).await?;
    let row = create_in(&mut tx, input).await?;
    tx.commit(row).await
}

/// [`create`], as part of a write.
pub async fn create_in(tx: &mut WriteTx, input: &CommentCreateInput) -> Result<comment::Model> {
    input.validate()?;
    let scope = tx.scope().clone();
    scope.require(Permission::CommentWrite)?;
    let is_same = async |present: &comment::Model| {
        Ok((present.item_id, present.parent_id, present.body.as_str())
            == (input.item_id, input.parent_id, input.body.0.as_str()))
    };
    if let Some(present) = tx.made_before::<comment::Entity>(input.id, is_same).await? {
        return Ok(present);
    }
    let item: item::Model = tx.locked::<item::Entity>(input.item_id, &["input", "itemId"]).await?;
    if item.deleted_at.is_some() {
        let message = "The item is in the trash; restore it first.";
        return Err(Problem::new(ProblemCode::InvalidState, &["input", "itemId"], message).into());
    }
    if let Some(parent) = input.parent_id {
        let path = ["input", "parentId"];
        let parent = tx.find::<comment::Entity>().filter(comment::Column::Id.eq(parent)).one().await?;
        let parent =
            parent.filter(|parent| parent.item_id == item.id).ok_or_else(|| Problem::not_found(&path, "comment"))?;
        if parent.parent_id.is_some() {
            let message = "Threads have one level: answer the comment at the top.";
            return Err(Problem::new(ProblemCode::InvalidState, &path, message).into());
        }
        let replies = tx.find::<comment::Entity>().filter(comment::Column::ParentId.eq(parent.id));
        if replies.count().await? >= MAX_REPLIES {
            let message = format!("A comment takes at most {MAX_REPLIES} replies.");
            return Err(Problem::new(ProblemCode::InvalidState, &path, message)
                .details(json!({ "limit": MAX_REPLIES }))
                .into());
        }
    }
    let row = comment::Model {
        organization_id: scope.organization_id(),
        id: input.id.unwrap_or_else(|| scope.clock().new_id()),
        item_id: item.id,
        parent_id: input.parent_id,
        body: input.body.0.clone(),
        author_kind: scope.actor().kind,
        author_id: scope.actor().id,
        created_at: scope.clock().now(),
        edited_at: None,
        version: 1,
    };
    let event = |row: &comment::Model| {
        let created = changes(None, Some(&fields(row)));
        NewEvent::new(EventType::CommentCreated, row.id.any(), created).of_item(item.id, item.team_id)
    };
    let row = tx.create(row, event).await?;
    count(tx, item.id, 1).await?;
    Ok(row)
}

/// Keeps the item's count of comments.
async fn count(tx: &WriteTx, item_id: ItemId, by: i32) -> Result<()> {
    let raised = Expr::col(item::Column::CommentCount).add(by);
    tx.update_where::<item::Entity>(item::Column::Id.eq(item_id), vec![(item::Column::CommentCount, raised)]).await?;
    Ok(())
}

pub async fn update(
    scope: &OrgScope,
    input: &CommentUpdateInput,
) -> Result<Committed<comment::Model>, Rejected<comment::Model>> {
    input.patch.validate()?;
    let mut tx = scope.write(Permission::CommentWrite).await?;
    let before: comment::Model = tx.locked::<comment::Entity>(input.id, &["input", "id"]).await?;
    check_edit(scope, &before)?;
    let team_id = team_of_open(&tx, before.item_id).await?;
    let before = at_version(before, input.if_version)?;
    let mut after = before.clone();
    if let Some(body) = input.patch.body() {
        after.body = body.to_owned();
    }
    let event = |row: &comment::Model, changed| {
        NewEvent::new(EventType::CommentUpdated, row.id.any(), changed).of_item(row.item_id, team_id)
    };
    let after = tx.save(before, after, fields, event).await?;
    Ok(tx.commit(after).await?)
}

/// The team of a comment's item, which must be outside the trash.
async fn team_of_open(tx: &WriteTx, item_id: ItemId) -> Result<Option<TeamId>> {
    let item = tx.find::<item::Entity>().filter(item::Column::Id.eq(item_id)).one().await?;
    if item.as_ref().is_some_and(|item| item.deleted_at.is_some()) {
        let message = "The item is in the trash; restore it first.";
        return Err(Problem::new(ProblemCode::InvalidState, &["input", "id"], message).into());
    }
    Ok(item.and_then(|item| item.team_id))
}

/// Tells of the comments that go with items that are being deleted for good. The items are locked, so none is added.
pub async fn leave_with(tx: &mut WriteTx, items: &[item::Model]) -> Result<()> {
    let teams: HashMap<ItemId, Option<TeamId>> = items.iter().map(|item| (item.id, item.team_id)).collect();
    let of_items = among(tx.scope().db(), comment::Column::ItemId, teams.keys().copied());
    let comments = tx.find::<comment::Entity>().filter(of_items).order_by_asc(comment::Column::Id).for_update();
    for row in comments.all().await? {
        record_deletion(tx, &row, teams.get(&row.item_id).copied().flatten());
    }
    Ok(())
}

/// Deletes `limit` comments of items that are being deleted for good, replies first, and tells of it; whether there were
/// any.
pub async fn leave_some(tx: &mut WriteTx, items: &[item::Model], limit: u64) -> Result<bool> {
    let teams: HashMap<ItemId, Option<TeamId>> = items.iter().map(|item| (item.id, item.team_id)).collect();
    let of_items = || among(tx.scope().db(), comment::Column::ItemId, teams.keys().copied());
    let replies = tx.find::<comment::Entity>().filter(of_items()).filter(comment::Column::ParentId.is_not_null());
    let mut rows = replies.limit(limit).for_update().all().await?;
    if rows.is_empty() {
        rows = tx.find::<comment::Entity>().filter(of_items()).limit(limit).for_update().all().await?;
    }
    for row in &rows {
        record_deletion(tx, row, teams.get(&row.item_id).copied().flatten());
    }
    let these = among(tx.scope().db(), comment::Column::Id, rows.iter().map(|row| row.id));
    tx.delete_where::<comment::Entity>(these).await?;
    Ok(!rows.is_empty())
}

fn record_deletion(tx: &mut WriteTx, row: &comment::Model, team_id: Option<TeamId>) {
    let event = NewEvent::new(EventType::CommentDeleted, row.id.any(), changes(Some(&fields(row)), None));
    tx.record(event.of_item(row.item_id, team_id));
}

/// Deletes a comment with its replies. Deleting it again is harmless. INVALID_STATE while it has more replies than one
/// transaction deletes, which are from before there was a limit.
pub async fn delete(scope: &OrgScope, id: CommentId) -> Result<Committed<CommentId>> {
    let mut tx = scope.write(Permission::CommentWrite).await?;
    let found = tx.locked_or_gone::<comment::Entity>(id, &["input", "id"], EventType::CommentDeleted).await?;
    let Some(row) = found else { return tx.commit(id).await };
    check_edit(scope, &row)?;
    let replies = tx.find::<comment::Entity>().filter(comment::Column::ParentId.eq(id)).limit(MAX_REPLIES + 1);
    let replies = replies.all().await?;
    if replies.len() as u64 > MAX_REPLIES {
        let message = format!("It has more than {MAX_REPLIES} replies: delete some of them first.");
        return Err(Problem::new(ProblemCode::InvalidState, &["input", "id"], message).into());
    }
    let team_id = team_of_open(&tx, row.item_id).await?;
    let gone = i32::try_from(replies.len() + 1).unwrap_or(i32::MAX);
    count(&tx, row.item_id, -gone).await?;
    tx.delete_where::<comment::Entity>(comment::Column::ParentId.eq(id)).await?;
    tx.delete_where::<comment::Entity>(comment::Column::Id.eq(id)).await?;
    for comment in replies.iter().chain([&row]) {
        record_deletion(&mut tx, comment, team_id);
    }
    tx.commit(id).await
}
