//! Items with what belongs to them and their events, a batch in a transaction.

use std::ops::Range;

use chrono::Duration;
use fastrand::Rng;
use todo_sample::{self as sample, Stage};

use super::{Filling, SPAN, world::World};
use crate::{
    base::{
        enums::{ActorKind, ItemStatus, QuotaResource},
        error::{Error, Result},
        id::{AnyId, ItemId, TeamId},
        policy::Permission,
        rank,
    },
    cli,
    data::{
        db::{OrgScope, filter::fold},
        entity::{EventType, comment, item, item_assignee, item_tag},
        ledger::{Change, NewEvent},
    },
    domains::items::create::insert_rows,
};

impl Filling<'_> {
    /// Rows and events of some items. The clock goes along, so that ids, instants and sequences have one order.
    pub(super) fn draw(&self, world: &World, rng: &mut Rng, scope: &OrgScope, indexes: Range<usize>) -> Batch {
        let clock = scope.clock();
        let organization_id = world.organization_id;
        // In milliseconds. Of an item's share of time the comments take the middle, and a change at the end closes it.
        let pace = SPAN.num_milliseconds() / (self.size.items as i64).max(1);
        let mut batch = Batch::default();
        for index in indexes {
            let begin = self.now - SPAN + Duration::milliseconds(pace * index as i64);
            let created_at = begin + Duration::milliseconds(rng.i64(0..=pace / 4));
            clock.set(created_at);
            let id: ItemId = clock.new_id();
            let team_id = (!world.teams.is_empty()).then(|| sample::one(rng, &world.teams));
            let title = sample::title(rng);
            batch.events.push(item_event(EventType::ItemCreated, id, team_id, id.any(), shown("title", &title)));

            let topic = &sample::TOPICS[rng.usize(..sample::TOPICS.len())];
            for number in 0..self.args.comments {
                let after = pace / 2 * (number as i64 + 1) / (self.args.comments as i64 + 1);
                clock.set(created_at + Duration::milliseconds(after));
                let body = sample::comment(rng, topic, Stage::Working);
                let row = comment::Model {
                    organization_id,
                    id: clock.new_id(),
                    item_id: id,
                    parent_id: None,
                    body: body.to_owned(),
                    author_kind: ActorKind::User,
                    author_id: sample::one(rng, &world.writers).uuid(),
                    created_at: clock.now(),
                    edited_at: None,
                    version: 1,
                };
                batch.events.push(item_event(
                    EventType::CommentCreated,
                    id,
                    team_id,
                    row.id.any(),
                    shown("body", body),
                ));
                batch.comments.push(row);
            }

            let status = STATUSES[index % STATUSES.len()];
            let is_archived = status == ItemStatus::Archived;
            let changed_at = begin + Duration::milliseconds(pace / 5 * 4);
            clock.set(changed_at);
            if is_archived {
                let change = change("status", "DONE".into(), "ARCHIVED".into());
                batch.events.push(item_event(EventType::ItemArchived, id, team_id, id.any(), vec![change]));
            }
            let parent_id = (index % SUBTASK_EVERY == 0).then(|| batch.adopt(rng, status)).flatten();
            batch.items.push(item::Model {
                organization_id,
                id,
                number: 0,
                title_key: fold(&title),
                title,
                description: (rng.u8(..4) > 0).then(|| sample::description(rng, topic)),
                status,
                status_before_archive: is_archived.then_some(ItemStatus::Done),
                priority: cli::priority(rng),
                due_at: (rng.u8(..10) < 7).then(|| created_at + Duration::hours(rng.i64(24..24 * 120))),
                estimated_hours: (rng.u8(..10) < 6).then(|| sample::one(rng, sample::ESTIMATES)),
                actual_hours: None,
                team_id,
                parent_id,
                subtask_count: 0,
                subtask_done_count: 0,
                comment_count: i32::try_from(self.args.comments).unwrap_or(i32::MAX),
                created_by_kind: ActorKind::User,
                created_by_id: sample::one(rng, &world.writers).uuid(),
                created_at,
                updated_at: if is_archived { changed_at } else { created_at },
                started_at: (status > ItemStatus::Todo).then_some(created_at),
                completed_at: (status >= ItemStatus::Done).then_some(created_at),
                archived_at: is_archived.then_some(changed_at),
                deleted_at: None,
                deletion_id: None,
                rank: String::new(),
                version: if is_archived { 2 } else { 1 },
            });
            let people = rng.choose_multiple(&world.people, self.args.assignees_per_item);
            batch.assignees.extend(people.into_iter().map(|user_id| item_assignee::Model {
                organization_id,
                item_id: id,
                user_id: *user_id,
                item_created_at: created_at,
            }));
            let tags = rng.choose_multiple(&world.tags, self.args.tags_per_item);
            batch.tags.extend(tags.into_iter().map(|tag_id| item_tag::Model {
                organization_id,
                item_id: id,
                tag_id: *tag_id,
                item_created_at: created_at,
            }));
        }
        batch
    }
}

/// Statuses, over and over: the same share of each in every batch also gives every batch the same statements.
const STATUSES: &[ItemStatus] = &[
    ItemStatus::Todo,
    ItemStatus::Done,
    ItemStatus::InProgress,
    ItemStatus::Todo,
    ItemStatus::Done,
    ItemStatus::Archived,
    ItemStatus::InReview,
    ItemStatus::Done,
    ItemStatus::Todo,
    ItemStatus::InProgress,
];

/// Every so many items one is a subtask. Shares no factor with the statuses' number, so that subtasks have all of them.
const SUBTASK_EVERY: usize = 9;

/// Rows and events of one transaction.
#[derive(Default)]
pub(super) struct Batch {
    items: Vec<item::Model>,
    assignees: Vec<item_assignee::Model>,
    tags: Vec<item_tag::Model>,
    comments: Vec<comment::Model>,
    events: Vec<NewEvent>,
}

impl Batch {
    /// A parent for an item of such a status among those of the batch, which counts it from now on.
    fn adopt(&mut self, rng: &mut Rng, status: ItemStatus) -> Option<ItemId> {
        if self.items.is_empty() {
            return None;
        }
        let index = rng.usize(..self.items.len());
        let parent = self.items.get_mut(index).filter(|item| item.parent_id.is_none())?;
        parent.subtask_count += 1;
        // What is archived here was done before.
        parent.subtask_done_count += i32::from(status >= ItemStatus::Done);
        Some(parent.id)
    }

    pub(super) async fn write(self, scope: &OrgScope) -> Result<()> {
        let Self { mut items, assignees, tags, comments, events } = self;
        let count = |number: usize| i64::try_from(number).map_err(Error::internal);
        let mut tx = scope.write(Permission::ItemWrite).await?;
        tx.count(QuotaResource::Items, count(items.len())?);
        let (first, _) = tx.reserve(count(items.len())?, count(events.len())?).await?;
        for (number, item) in (first..).zip(&mut items) {
            item.number = number;
            item.rank = rank::of_number(number);
        }
        insert_rows(&tx, items, assignees, tags).await?;
        tx.insert_many(comments).await?;
        for event in events {
            tx.record(event);
        }
        tx.commit(()).await?;
        Ok(())
    }
}

fn change(field: &str, before: serde_json::Value, after: serde_json::Value) -> Change {
    Change { field: field.to_owned(), before, after }
}

/// A creation, as its event shows it: one field stands for all, which keeps large ledgers small.
pub(super) fn shown(field: &str, value: &str) -> Vec<Change> {
    vec![change(field, serde_json::Value::Null, value.into())]
}

fn item_event(
    r#type: EventType,
    item_id: ItemId,
    team_id: Option<TeamId>,
    subject: AnyId,
    changes: Vec<Change>,
) -> NewEvent {
    NewEvent::new(r#type, subject, changes).of_item(item_id, team_id)
}
