//! One subscriber's way through a ledger: history after a cursor, then live; in order, without a gap, nothing twice.

use std::{sync::Arc, time::Duration};

use sea_orm::ColumnTrait as _;
use tokio::time::{Instant, timeout_at};

use super::{
    query::{may_see_type, visible},
    subscription::Opened,
    types::{Event, EventBatch},
};
use crate::{
    base::error::{Code, Error, Refusal},
    data::{db::OrgScope, entity::event},
    graphql::filter::Filtering,
    platform::live::{BATCH_BYTES, Batch, Missed, Subscription, weight},
};

/// Events of one batch of history at most.
const PAGE: u64 = 100;

/// Where one subscriber is.
pub struct Feed {
    opened: Opened,
    live: Subscription,
    /// Everything up to here was handed on, or is not for this subscriber.
    position: i64,
    is_live: bool,
    heartbeat: Duration,
    quiet_until: Instant,
}

/// What comes next.
pub enum FeedBatch {
    /// Of history, cut down to what the subscriber asked for and may see.
    History(EventBatch),
    /// For all subscribers; [`Feed::is_for`] tells which of its events are for this one.
    Live(Arc<Batch>),
}

impl Feed {
    pub fn new(opened: Opened, live: Subscription, heartbeat: Duration) -> Self {
        let position = opened.after;
        Self { opened, live, position, is_live: false, heartbeat, quiet_until: Instant::now() }
    }

    /// The next turn; an empty live batch when nothing was sent for as long as the heartbeat. SLOW_CONSUMER for whoever
    /// took batches too slowly, CURSOR_EXPIRED when history has meanwhile been purged, UNAVAILABLE when the ledger is no
    /// longer followed.
    pub async fn next(&mut self, scope: &OrgScope) -> Result<FeedBatch, Error> {
        if !self.is_live {
            // In a box: what waits for live events, for long, should not have room for it.
            return Box::pin(self.history(scope)).await.map(FeedBatch::History);
        }
        match timeout_at(self.quiet_until, self.live.next()).await {
            Ok(Ok(batch)) => Ok(FeedBatch::Live(batch)),
            Ok(Err(Missed::TooSlow)) => {
                let message = "Events came faster than they were read; subscribe again with the last cursor.";
                Err(Refusal::new(Code::SlowConsumer, message).into())
            }
            Ok(Err(Missed::Gone)) => {
                let message = "The stream was interrupted; subscribe again with the last cursor.";
                Err(Refusal::new(Code::Unavailable, message).into())
            }
            Err(_) => Ok(FeedBatch::Live(self.live.beat(self.position))),
        }
    }

    /// The next page of what was written before the subscriber joined. The last one, which may be empty, says that it is
    /// live from here on.
    async fn history(&mut self, scope: &OrgScope) -> Result<EventBatch, Error> {
        // All that was written when it was opened, whether or not the reader has got there.
        let upto = self.live.joined_at().max(self.opened.head);
        let mut events = Vec::new();
        if self.position < upto {
            let mut page = scope
                .find::<event::Entity>()
                .filter(event::Column::Sequence.gt(self.position))
                .filter(event::Column::Sequence.lte(upto))
                .filter(visible(scope));
            if let Some(filter) = &self.opened.filter {
                page = page.filter(filter.condition(&mut Filtering::new(scope, self.opened.now))?);
            }
            events = page.order_by_asc(event::Column::Sequence).limit(PAGE).all().await?;
            // Afterwards: a purge meanwhile must not look like a gap.
            scope.refuse_expired(self.position, upto).await?;
        }
        let is_full = u64::try_from(events.len()).is_ok_and(|found| found == PAGE);
        let has_more = cut(&mut events) || is_full;
        self.position = match events.last() {
            Some(last) if has_more => last.sequence,
            _ => self.position.max(upto),
        };
        self.is_live = !has_more;
        self.sent();
        Ok(self.batch(scope, events))
    }

    /// Whether a batch begins where this subscriber is: others there get the same.
    pub fn is_at_beginning_of(&self, batch: &Batch) -> bool {
        self.position <= batch.after
    }

    /// Whether an event is for this subscriber: not seen yet, asked for, and one that they may see.
    pub fn is_for(&self, scope: &OrgScope, event: &event::Model) -> bool {
        let Opened { filter, now, .. } = &self.opened;
        event.sequence > self.position
            && may_see_type(scope, event.r#type)
            && filter.as_ref().is_none_or(|filter| filter.matches(event, scope.actor(), *now))
    }

    /// What of a live batch is for this subscriber.
    pub fn select(&self, scope: &OrgScope, batch: &Batch) -> EventBatch {
        let events = batch.events.iter().filter(|event| self.is_for(scope, event)).cloned().collect();
        let cursor = scope.cursor(self.position.max(batch.last));
        EventBatch { events: wrap(events), cursor: cursor.into(), is_live: true }
    }

    /// The batch has been dealt with.
    pub fn pass(&mut self, batch: &Batch) {
        self.position = self.position.max(batch.last);
    }

    /// Of a live batch, events up to here have been dealt with.
    pub fn pass_to(&mut self, sequence: i64) {
        self.position = self.position.max(sequence);
    }

    /// Of a page of history, events up to here alone have been dealt with: the next one begins there.
    pub fn return_to(&mut self, sequence: i64) {
        self.position = sequence;
        self.is_live = false;
    }

    /// Something is being sent: the heartbeat begins anew.
    pub fn sent(&mut self) {
        self.quiet_until = Instant::now() + self.heartbeat;
    }

    /// Whether history is behind it.
    pub const fn is_live(&self) -> bool {
        self.is_live
    }

    /// Everything up to here has been dealt with.
    pub const fn position(&self) -> i64 {
        self.position
    }

    fn batch(&self, scope: &OrgScope, events: Vec<event::Model>) -> EventBatch {
        let cursor = scope.cursor(self.position);
        EventBatch { events: wrap(events), cursor: cursor.into(), is_live: self.is_live }
    }
}

/// Leaves as many as one batch may weigh, and one at least. Whether some went.
fn cut(events: &mut Vec<event::Model>) -> bool {
    let mut bytes = 0;
    let kept = events.iter().take_while(|event| {
        bytes += weight(event);
        bytes <= BATCH_BYTES
    });
    let (kept, all) = (kept.count().max(1), events.len());
    events.truncate(kept);
    kept < all
}

fn wrap(events: Vec<event::Model>) -> Vec<Event> {
    events.into_iter().map(Event).collect()
}
