//! The one reader of an organization's ledger, and the channel by which its subscribers hear it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{broadcast, watch};

use super::batch::Batch;
use crate::{db::Db, entity::event, id::OrganizationId, ledger::Heard, metrics::Metrics};

/// Events of one batch at most.
const BATCH: u64 = 100;
/// Between tries while the database is away: from, to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

pub(super) struct Channel {
    organization_id: OrganizationId,
    state: Mutex<State>,
    /// The last heartbeat's batch.
    beat: Mutex<Option<Arc<Batch>>>,
}

struct State {
    /// None once nothing will come any more.
    sender: Option<broadcast::Sender<Arc<Batch>>>,
    /// The last sequence handed out.
    position: i64,
}

impl Channel {
    pub fn new(organization_id: OrganizationId, position: i64, queue: usize) -> Self {
        let sender = Some(broadcast::Sender::new(queue));
        Self { organization_id, state: Mutex::new(State { sender, position }), beat: Mutex::default() }
    }

    /// From now on, and from which position.
    pub fn join(&self) -> (broadcast::Receiver<Arc<Batch>>, i64) {
        let state = self.state();
        let receiver = state.sender.as_ref().map_or_else(|| broadcast::Sender::new(1).subscribe(), |s| s.subscribe());
        (receiver, state.position)
    }

    pub fn subscribers(&self) -> usize {
        self.state().sender.as_ref().map_or(0, broadcast::Sender::receiver_count)
    }

    /// Nothing will come any more.
    pub fn close(&self) {
        self.state().sender = None;
    }

    pub fn beat(&self, sequence: i64) -> Arc<Batch> {
        let mut beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        match &*beat {
            Some(batch) if batch.last == sequence => batch.clone(),
            _ => beat.insert(Arc::new(Batch::new(sequence, Vec::new()))).clone(),
        }
    }

    fn position(&self) -> i64 {
        self.state().position
    }

    fn hand_out(&self, batch: Batch) {
        let mut state = self.state();
        state.position = batch.last;
        if let Some(sender) = &state.sender {
            // Nobody listening is no failure.
            let _ = sender.send(Arc::new(batch));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cut before each event that changes rights: what came before it is seen with the rights of before.
fn apart(events: Vec<event::Model>) -> Vec<Vec<event::Model>> {
    let mut batches: Vec<Vec<event::Model>> = Vec::new();
    for event in events {
        match batches.last_mut() {
            Some(batch) if !event.r#type.changes_rights() => batch.push(event),
            _ => batches.push(vec![event]),
        }
    }
    batches
}

/// Reads on whenever the bus has news, until the ledger is no longer followed.
pub(super) async fn read(db: Db, metrics: Metrics, channel: Arc<Channel>, mut heads: watch::Receiver<Heard>) {
    let mut pause = PAUSE.0;
    let mut failing = false;
    // Once in any case: a commit may have come between the look at the head and the following of it.
    let mut is_first = true;
    loop {
        let wanted = heads.borrow_and_update().sequence;
        while is_first || channel.position() < wanted {
            let position = channel.position();
            match db.events_after(channel.organization_id, position, BATCH).await {
                Ok(events) if events.first().is_some_and(|event| event.sequence == position + 1) => {
                    (pause, failing, is_first) = (PAUSE.0, false, false);
                    if events.iter().any(|event| event.r#type.changes_rights()) {
                        // Another instance may have written it: what was read before it counts no more.
                        db.forget_identities();
                    }
                    if let Some(last) = events.last() {
                        metrics.handed_out(db.clock().now() - last.occurred_at);
                    }
                    let mut after = position;
                    for events in apart(events) {
                        let batch = Batch::new(after, events);
                        after = batch.last;
                        channel.hand_out(batch);
                    }
                }
                Ok(events) if events.is_empty() && position >= wanted => is_first = false,
                // Purged before it was read, or the organization is gone.
                Ok(_) => return channel.close(),
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(error = %error.describe(), "a ledger can't be read; trying on");
                    }
                    tokio::time::sleep(pause).await;
                    pause = PAUSE.1.min(pause * 2);
                    if heads.has_changed().is_err() {
                        return;
                    }
                }
            }
        }
        if heads.changed().await.is_err() {
            return;
        }
        metrics.woken(heads.borrow().from.name());
    }
}
