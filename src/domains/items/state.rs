//! An item with its links, before and after a change: what its events show, and how a change is saved.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::{
    ExprTrait as _,
    prelude::{ColumnTrait, Expr},
    sea_query::{CaseStatement, SimpleExpr},
};

use crate::{
    base::{
        clock::{Instant, format_instant},
        enums::ItemStatus,
        error::Result,
        id::{ItemId, TagId, UserId},
        rank,
    },
    data::{
        db::{WriteTx, changed, filter::among},
        entity::{EventType, item, item_assignee, item_tag},
        ledger::{Change, Fields, NewEvent},
    },
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
        let Self { row, assignees, tags } = self;
        let item::Model {
            organization_id: _,
            id: _,
            number,
            title,
            title_key: _,
            description,
            status,
            status_before_archive: _,
            priority,
            due_at,
            estimated_hours,
            actual_hours,
            team_id,
            parent_id,
            subtask_count: _,
            subtask_done_count: _,
            comment_count: _,
            created_by_kind: _,
            created_by_id: _,
            created_at: _,
            updated_at: _,
            started_at,
            completed_at,
            archived_at,
            deleted_at,
            deletion_id: _,
            rank: place,
            version: _,
        } = row;
        let instant = |at: &Option<Instant>| at.map(format_instant).into();
        // Of one that was never moved the number says where it is.
        let moved = Some(place).filter(|place| !place.is_empty() && **place != rank::of_number(*number)).cloned();
        vec![
            ("title", title.as_str().into()),
            ("description", description.as_deref().into()),
            ("status", serde_json::json!(status)),
            ("priority", serde_json::json!(priority)),
            ("dueAt", instant(due_at)),
            ("estimatedHours", (*estimated_hours).into()),
            ("actualHours", (*actual_hours).into()),
            (Change::TEAM, serde_json::json!(team_id)),
            ("parentId", serde_json::json!(parent_id)),
            ("assigneeIds", list(assignees)),
            ("tagIds", list(tags)),
            ("startedAt", instant(started_at)),
            ("completedAt", instant(completed_at)),
            ("archivedAt", instant(archived_at)),
            ("deletedAt", instant(deleted_at)),
            ("rank", moved.into()),
        ]
    }

    /// The event that tells of these changes.
    pub fn event(row: &item::Model, r#type: EventType, changed: Vec<Change>) -> NewEvent {
        NewEvent::new(r#type, row.id.any(), changed).of_item(row.id, row.team_id)
    }

    /// Saves the difference to `before`, raises the version, and records the event; changes nothing when nothing
    /// differs. The parents' counts move along.
    pub async fn save(mut self, tx: &mut WriteTx, r#type: EventType, before: &Self) -> Result<Self> {
        let Some(changed) = changed(before, &self, Self::fields)? else { return Ok(self) };
        self.row = tx.write_next(self.row, |row| Self::event(row, r#type, changed)).await?;
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
    tx.insert_many(assignee_links(&after.row, after.assignees.difference(&before.assignees))).await?;
    let gone: Vec<TagId> = before.tags.difference(&after.tags).copied().collect();
    if !gone.is_empty() {
        use item_tag::Column;
        tx.delete_where::<item_tag::Entity>(Column::ItemId.eq(id).and(Column::TagId.is_in(gone))).await?;
    }
    tx.insert_many(tag_links(&after.row, after.tags.difference(&before.tags))).await
}

pub fn assignee_links<'a>(
    item: &item::Model,
    users: impl IntoIterator<Item = &'a UserId>,
) -> Vec<item_assignee::Model> {
    let link = |user: &UserId| item_assignee::Model {
        organization_id: item.organization_id,
        item_id: item.id,
        user_id: *user,
        item_created_at: item.created_at,
    };
    users.into_iter().map(link).collect()
}

pub fn tag_links<'a>(item: &item::Model, tags: impl IntoIterator<Item = &'a TagId>) -> Vec<item_tag::Model> {
    let link = |tag: &TagId| item_tag::Model {
        organization_id: item.organization_id,
        item_id: item.id,
        tag_id: *tag,
        item_created_at: item.created_at,
    };
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

    /// What has been counted for one parent: total and done.
    pub fn of(&self, parent: ItemId) -> (i32, i32) {
        self.0.get(&parent).copied().unwrap_or_default()
    }

    /// What has been counted for one parent, total and done, which is then no longer counted here.
    pub fn take(&mut self, parent: ItemId) -> (i32, i32) {
        self.0.remove(&parent).unwrap_or_default()
    }

    /// One statement for up to [`PARENTS`] parents.
    pub async fn apply(self, tx: &WriteTx) -> Result<()> {
        use item::Column;
        let moved: Vec<_> = self.0.into_iter().filter(|(_, by)| *by != (0, 0)).collect();
        for parents in moved.chunks(PARENTS) {
            let raised = |column: Column, by: fn(&(i32, i32)) -> i32| {
                // One branch a parent: each has movements of its own.
                let own = |case: CaseStatement, (parent, moved): &(ItemId, (i32, i32))| {
                    case.case(Column::Id.eq(*parent), by(moved))
                };
                let by: SimpleExpr = match parents {
                    [(_, moved)] => by(moved).into(),
                    _ => parents.iter().fold(CaseStatement::new(), own).finally(0).into(),
                };
                (column, Expr::col(column).add(by))
            };
            let columns =
                vec![raised(Column::SubtaskCount, |moved| moved.0), raised(Column::SubtaskDoneCount, |moved| moved.1)];
            let these = among(tx.scope().db(), Column::Id, parents.iter().map(|(parent, _)| *parent));
            tx.update_where::<item::Entity>(these, columns).await?;
        }
        Ok(())
    }
}

/// Parents whose counts one statement moves.
const PARENTS: usize = 500;

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

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone as _, Utc};
    use uuid::Uuid;

    use super::*;
    use crate::base::{
        enums::{ActorKind, Priority},
        id::{ItemId, OrganizationId},
    };

    fn item(status: ItemStatus, now: Instant) -> item::Model {
        item::Model {
            organization_id: OrganizationId::from_uuid(Uuid::nil()),
            id: ItemId::from_uuid(Uuid::nil()),
            number: 1,
            title: "Ship it".to_owned(),
            title_key: "ship it".to_owned(),
            description: None,
            status,
            status_before_archive: None,
            priority: Priority::Medium,
            due_at: None,
            estimated_hours: None,
            actual_hours: None,
            team_id: None,
            parent_id: None,
            subtask_count: 0,
            subtask_done_count: 0,
            comment_count: 0,
            created_by_kind: ActorKind::User,
            created_by_id: Uuid::nil(),
            created_at: now,
            updated_at: now,
            started_at: None,
            completed_at: None,
            archived_at: None,
            deleted_at: None,
            deletion_id: None,
            rank: String::new(),
            version: 1,
        }
    }

    /// Each line: the status before and after, and whether the work has then begun, and is completed.
    #[test]
    fn begin_and_end_follow_the_status() {
        use ItemStatus::{Archived, Done, InProgress, InReview, Todo};
        let begin = Utc.with_ymd_and_hms(2026, 3, 2, 9, 0, 0).single().expect("an instant");
        for (before, after, has_begun, is_completed) in [
            (Todo, InProgress, true, false),
            (Todo, Done, true, true),
            (InProgress, InReview, true, false),
            (InReview, Done, true, true),
            (Done, InProgress, true, false),
            (Done, Todo, false, false),
            (InProgress, Todo, false, false),
        ] {
            let mut row = item(Todo, begin);
            set_status(&mut row, before, begin);
            let later = begin + TimeDelta::hours(1);
            set_status(&mut row, after, later);
            assert_eq!(
                (row.started_at.is_some(), row.completed_at.is_some()),
                (has_begun, is_completed),
                "{before:?} {after:?}"
            );
            assert_eq!((row.status, row.archived_at), (after, None));
        }
        // Work that goes on began when it began; into the archive and back nothing is lost.
        let mut row = item(Todo, begin);
        set_status(&mut row, InProgress, begin);
        set_status(&mut row, Done, begin + TimeDelta::hours(2));
        set_status(&mut row, Archived, begin + TimeDelta::hours(3));
        assert_eq!(row.status_before_archive, Some(Done));
        assert_eq!((row.started_at, row.completed_at), (Some(begin), Some(begin + TimeDelta::hours(2))));
        set_status(&mut row, Done, begin + TimeDelta::hours(4));
        assert_eq!((row.completed_at, row.archived_at), (Some(begin + TimeDelta::hours(2)), None));
    }
}
