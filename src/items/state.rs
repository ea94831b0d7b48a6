//! An item with its links, before and after a change: what its events show, and how a change is saved.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::{
    ActiveModelTrait as _,
    ActiveValue::Set,
    ExprTrait as _, IntoActiveModel,
    prelude::{ColumnTrait, Expr},
};

use crate::{
    clock::Instant,
    db::{WriteTx, filter::among},
    entity::{enums::ItemStatus, item, item_assignee, item_tag},
    error::Result,
    graphql::scalars::format_instant,
    id::{ItemId, TagId, UserId},
    ledger::{Change, EventType, Fields, NewEvent, changes},
};

#[derive(Clone, Debug, PartialEq)]
pub struct ItemState {
    pub row: item::Model,
    pub assignees: BTreeSet<UserId>,
    pub tags: BTreeSet<TagId>,
}

impl ItemState {
    /// Rows with their links: two statements for all.
    pub async fn load(tx: &WriteTx, rows: Vec<item::Model>) -> Result<Vec<Self>> {
        let ids: Vec<ItemId> = rows.iter().map(|row| row.id).collect();
        let mut assignees: HashMap<ItemId, BTreeSet<UserId>> = HashMap::new();
        let mut tags: HashMap<ItemId, BTreeSet<TagId>> = HashMap::new();
        if !ids.is_empty() {
            use {item_assignee::Column as Assignee, item_tag::Column as Tag};
            let of_items = tx.find::<item_assignee::Entity>().filter(among(
                tx.scope().db(),
                Assignee::ItemId,
                ids.iter().copied(),
            ));
            for (item, user) in of_items.columns(Assignee::ItemId, Assignee::UserId).await? {
                assignees.entry(item).or_default().insert(user);
            }
            let of_items = tx.find::<item_tag::Entity>().filter(among(tx.scope().db(), Tag::ItemId, ids));
            for (item, tag) in of_items.columns(Tag::ItemId, Tag::TagId).await? {
                tags.entry(item).or_default().insert(tag);
            }
        }
        let state = |row: item::Model| Self {
            assignees: assignees.remove(&row.id).unwrap_or_default(),
            tags: tags.remove(&row.id).unwrap_or_default(),
            row,
        };
        Ok(rows.into_iter().map(state).collect())
    }

    /// The fields that events show.
    pub fn fields(&self) -> Fields {
        let row = &self.row;
        let instant = |at: Option<Instant>| at.map(format_instant).into();
        vec![
            ("title", row.title.as_str().into()),
            ("description", row.description.as_deref().into()),
            ("status", serde_json::json!(row.status)),
            ("priority", serde_json::json!(row.priority)),
            ("dueAt", instant(row.due_at)),
            ("estimatedHours", row.estimated_hours.into()),
            ("actualHours", row.actual_hours.into()),
            (Change::TEAM, serde_json::json!(row.team_id)),
            ("parentId", serde_json::json!(row.parent_id)),
            ("assigneeIds", list(&self.assignees)),
            ("tagIds", list(&self.tags)),
            ("startedAt", instant(row.started_at)),
            ("completedAt", instant(row.completed_at)),
            ("archivedAt", instant(row.archived_at)),
            ("deletedAt", instant(row.deleted_at)),
        ]
    }

    /// Records what changed since `before`; false when nothing did.
    pub fn record(&self, tx: &mut WriteTx, r#type: EventType, before: Option<&Self>) -> bool {
        let changed = changes(before.map(Self::fields).as_ref(), Some(&self.fields()));
        if changed.is_empty() {
            return false;
        }
        tx.record(NewEvent::new(r#type, self.row.id.any(), changed).of_item(self.row.id, self.row.team_id));
        true
    }

    /// Saves the difference to `before`, raises the version, and records the event; changes nothing when nothing
    /// differs. The parents' counts move along.
    pub async fn save(mut self, tx: &mut WriteTx, r#type: EventType, before: &Self, now: Instant) -> Result<Self> {
        if !self.record(tx, r#type, Some(before)) {
            return Ok(self);
        }
        self.row.version += 1;
        self.row.updated_at = now;
        self.row = tx.update(self.row.into_active_model().reset_all()).await?;
        relink(tx, before, &self).await?;
        let mut counts = Counts::default();
        counts.leave(&before.row);
        counts.enter(&self.row);
        counts.apply(tx).await?;
        Ok(self)
    }
}

/// Nothing rather than an empty list, so that a creation doesn't list what it doesn't have.
fn list<T: serde::Serialize>(ids: &BTreeSet<T>) -> serde_json::Value {
    if ids.is_empty() { serde_json::Value::Null } else { serde_json::json!(ids) }
}

async fn relink(tx: &WriteTx, before: &ItemState, after: &ItemState) -> Result<()> {
    let id = after.row.id;
    let gone: Vec<UserId> = before.assignees.difference(&after.assignees).copied().collect();
    if !gone.is_empty() {
        use item_assignee::Column;
        tx.delete_where::<item_assignee::Entity>(Column::ItemId.eq(id).and(Column::UserId.is_in(gone))).await?;
    }
    tx.insert_many(assignee_links(id, after.assignees.difference(&before.assignees))).await?;
    let gone: Vec<TagId> = before.tags.difference(&after.tags).copied().collect();
    if !gone.is_empty() {
        use item_tag::Column;
        tx.delete_where::<item_tag::Entity>(Column::ItemId.eq(id).and(Column::TagId.is_in(gone))).await?;
    }
    tx.insert_many(tag_links(id, after.tags.difference(&before.tags))).await
}

pub fn assignee_links<'a>(
    item_id: ItemId,
    users: impl IntoIterator<Item = &'a UserId>,
) -> Vec<item_assignee::ActiveModel> {
    let link =
        |user: &UserId| item_assignee::ActiveModel { item_id: Set(item_id), user_id: Set(*user), ..Default::default() };
    users.into_iter().map(link).collect()
}

pub fn tag_links<'a>(item_id: ItemId, tags: impl IntoIterator<Item = &'a TagId>) -> Vec<item_tag::ActiveModel> {
    let link = |tag: &TagId| item_tag::ActiveModel { item_id: Set(item_id), tag_id: Set(*tag), ..Default::default() };
    tags.into_iter().map(link).collect()
}

/// Movements of parents' subtask counts, kept with the rows so that lists need not count.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<ItemId, (i32, i32)>);

impl Counts {
    /// The row counts for its parent from now on.
    pub fn enter(&mut self, row: &item::Model) {
        self.add(row, 1);
    }

    /// The row, as it was, no longer counts.
    pub fn leave(&mut self, row: &item::Model) {
        self.add(row, -1);
    }

    fn add(&mut self, row: &item::Model, by: i32) {
        let Some(parent) = row.parent_id.filter(|_| row.deleted_at.is_none()) else { return };
        let status = if row.status == ItemStatus::Archived { row.status_before_archive } else { Some(row.status) };
        let entry = self.0.entry(parent).or_default();
        entry.0 += by;
        if status == Some(ItemStatus::Done) {
            entry.1 += by;
        }
    }

    pub async fn apply(self, tx: &WriteTx) -> Result<()> {
        use item::Column;
        for (parent, (total, done)) in self.0 {
            if (total, done) != (0, 0) {
                let columns = vec![
                    (Column::SubtaskCount, Expr::col(Column::SubtaskCount).add(total)),
                    (Column::SubtaskDoneCount, Expr::col(Column::SubtaskDoneCount).add(done)),
                ];
                tx.update_where::<item::Entity>(Column::Id.eq(parent), columns).await?;
            }
        }
        Ok(())
    }
}

/// Moves a row to another status; the instants that depend on it follow.
pub fn set_status(row: &mut item::Model, status: ItemStatus, now: Instant) {
    if row.status == status {
        return;
    }
    if status == ItemStatus::Archived {
        row.status_before_archive = Some(row.status);
        row.archived_at = Some(now);
        row.status = status;
        return;
    }
    row.status_before_archive = None;
    row.archived_at = None;
    row.status = status;
    match status {
        ItemStatus::Done => {
            row.started_at.get_or_insert(now);
            row.completed_at.get_or_insert(now);
        }
        ItemStatus::Todo => {
            row.started_at = None;
            row.completed_at = None;
        }
        _ => {
            row.started_at.get_or_insert(now);
            row.completed_at = None;
        }
    }
}
