//! Tags of an organization.

use sea_orm::{ActiveValue::Set, prelude::*};
use serde::{Deserialize, Serialize};

use super::input::{TagCreateInput, TagMergeInput, TagUpdateInput};
use crate::{
    base::{
        clock::Clock,
        enums::Feature,
        error::{Problem, ProblemCode, Rejected, Result},
        id::{OrganizationId, TagId},
        policy::Permission,
    },
    data::{
        db::{Committed, OrgScope, WriteTx, filter::fold},
        entity::{EventType, tag},
        ledger::{Fields, NewEvent, changes},
    },
    domains::items,
};

/// The fields that events show.
fn fields(row: &tag::Model) -> Fields {
    let tag::Model {
        organization_id: _,
        id: _,
        name,
        name_key: _,
        color,
        created_at: _,
        updated_at: _,
        version: _,
        removed_at: _,
    } = row;
    vec![("name", name.as_str().into()), ("color", color.as_str().into())]
}

fn name_taken(path: &[&str]) -> Problem {
    Problem::new(ProblemCode::Taken, path, "A tag has this name.")
}

/// The row that a create makes.
pub fn new_row(input: &TagCreateInput, organization_id: OrganizationId, clock: &Clock) -> tag::Model {
    let (name, now) = (input.name.trim(), clock.now());
    tag::Model {
        organization_id,
        id: input.id.unwrap_or_else(|| clock.new_id()),
        name: name.to_owned(),
        name_key: fold(name),
        color: input.color.0.to_uppercase(),
        created_at: now,
        updated_at: now,
        version: 1,
        removed_at: None,
    }
}

/// The event that tells of a new tag.
pub fn created(row: &tag::Model) -> NewEvent {
    NewEvent::new(EventType::TagCreated, row.id.any(), changes(None, Some(&fields(row))))
}

pub async fn create(scope: &OrgScope, input: &TagCreateInput) -> Result<Committed<tag::Model>> {
    input.validate()?;
    let mut tx = scope.write(Permission::ItemWrite).await?;
    let row = create_in(&mut tx, input).await?;
    tx.commit(row).await
}

/// A tag, as part of a larger write; `input` is valid.
pub async fn create_in(tx: &mut WriteTx, input: &TagCreateInput) -> Result<tag::Model> {
    tx.require_feature(Feature::Tags);
    let row = new_row(input, tx.organization_id(), tx.scope().clock());
    let is_same = async |present: &tag::Model| Ok(fields(present) == fields(&row));
    if let Some(present) = tx.made_before::<tag::Entity>(input.id, is_same).await? {
        return Ok(present);
    }
    if tx.find::<tag::Entity>().filter(tag::Column::NameKey.eq(row.name_key.as_str())).one().await?.is_some() {
        return Err(name_taken(&["input", "name"]).into());
    }
    tx.create(row, created).await
}

pub async fn update(scope: &OrgScope, input: &TagUpdateInput) -> Result<Committed<tag::Model>, Rejected<tag::Model>> {
    input.patch.validate()?;
    let mut tx = scope.write(Permission::TagManage).await?;
    tx.require_feature(Feature::Tags);
    let before = tx.open::<tag::Entity>(input.id, input.if_version).await?;
    let mut after = before.clone();
    input.patch.apply(&mut after);
    if after.name_key != before.name_key {
        let same = tx.find::<tag::Entity>().filter(tag::Column::NameKey.eq(after.name_key.as_str()));
        if same.one().await?.is_some() {
            return Err(name_taken(&["input", "patch", "name"]).into());
        }
    }
    let event = |row: &tag::Model, changed| NewEvent::new(EventType::TagUpdated, row.id.any(), changed);
    let after = tx.save(before, after, fields, event).await?;
    Ok(tx.commit(after).await?)
}

/// Moves every item of one tag to another, then deletes the first.
pub async fn merge(scope: &OrgScope, input: &TagMergeInput) -> Result<Committed<tag::Model>> {
    let mut tx = scope.write(Permission::TagManage).await?;
    tx.require_feature(Feature::Tags);
    if input.from_id == input.into_id {
        return Err(
            Problem::new(ProblemCode::Invalid, &["input", "intoId"], "A tag can't be merged into itself.").into()
        );
    }
    let into: tag::Model = tx.locked::<tag::Entity>(input.into_id, &["input", "intoId"]).await?;
    let from: tag::Model = tx.locked::<tag::Entity>(input.from_id, &["input", "fromId"]).await?;
    remove(&mut tx, &from, Some(into.id)).await?;
    tx.commit(into).await
}

/// Deletes a tag; its items stay, without it. Deleting it again is harmless.
pub async fn delete(scope: &OrgScope, id: TagId) -> Result<Committed<TagId>> {
    let mut tx = scope.write(Permission::TagManage).await?;
    let found = tx.locked_or_gone::<tag::Entity>(id, &["input", "id"], EventType::TagDeleted).await?;
    let Some(row) = found else { return tx.commit(id).await };
    remove(&mut tx, &row, None).await?;
    tx.commit(id).await
}

/// The kind of job that takes a removed tag off the items that are left.
pub const REMOVAL: &str = "tag.removal";

/// What the job reads.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Removal {
    tag_id: TagId,
    /// The tag that takes its place on items.
    replacement: Option<TagId>,
}

/// Removes a tag, gone for everybody at the commit: off the first items at once, off the others by a job.
async fn remove(tx: &mut WriteTx, row: &tag::Model, replacement: Option<TagId>) -> Result<()> {
    let removal = Removal { tag_id: row.id, replacement };
    if !remove_more(tx, removal).await? {
        tx.update(tag::ActiveModel {
            id: Set(row.id),
            // The name is free for another.
            name_key: Set(row.id.to_string()),
            removed_at: Set(Some(tx.scope().clock().now())),
            ..Default::default()
        })
        .await?;
        tx.enqueue(REMOVAL, row.id.uuid(), removal).await?;
    }
    tx.record(NewEvent::new(EventType::TagDeleted, row.id.any(), changes(Some(&fields(row)), None)));
    Ok(())
}

/// Takes a removed tag off the next items, and deletes it when it was the last; whether it was.
pub async fn remove_more(tx: &mut WriteTx, removal: Removal) -> Result<bool> {
    let is_last = items::sweep::replace_tag(tx, removal.tag_id, removal.replacement).await?;
    if is_last {
        tx.delete_where::<tag::Entity>(tag::Column::Id.eq(removal.tag_id)).await?;
    }
    Ok(is_last)
}
