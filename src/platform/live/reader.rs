//! The one reader of an organization's ledger.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Inner,
    batch::{BATCH_BYTES, Batch, weight},
    channel::Channel,
};
use crate::{
    data::{db::Db, entity::event, ledger::KnownHead},
    platform::metrics::Metrics,
};

/// Events of one batch at most.
const BATCH: u64 = 100;
/// Between tries while the database is away: from, to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Cut before each event that changes rights: what came before it is seen with the rights of before. Also before a batch
/// gets too heavy.
fn apart(events: Vec<event::Model>) -> Vec<Vec<event::Model>> {
    let mut batches: Vec<Vec<event::Model>> = Vec::new();
    let mut bytes = 0;
    for event in events {
        let more = weight(&event);
        match batches.last_mut() {
            Some(batch) if !event.r#type.changes_rights() && bytes + more <= BATCH_BYTES => {
                bytes += more;
                batch.push(event);
            }
            _ => {
                bytes = more;
                batches.push(vec![event]);
            }
        }
    }
    batches
}

/// Reads on whenever the bus has news, until the ledger is no longer followed.
pub(super) async fn read(
    live: Weak<Inner>,
    db: Db,
    metrics: Metrics,
    channel: Arc<Channel>,
    mut heads: watch::Receiver<KnownHead>,
) {
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
                        let batch = Batch::new(after, events, channel.scale());
                        after = batch.last;
                        channel.hand_out(batch);
                    }
                    if let Some(live) = live.upgrade() {
                        live.relieve();
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
