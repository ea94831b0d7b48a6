//! Live ledgers: what subscribers are told, and when it stops.
//!
//! One task reads the ledger of an organization, for all of an instance's subscribers to it, whenever the bus says that it
//! has grown, and hands out batches in order. Another looks after everything once a second: it asks for the heads of all
//! followed ledgers (so a lost message, or an absent Redis, delays events by a second at most) and whether the sessions
//! behind the streams still stand.
//!
//! A subscriber that takes batches too slowly misses some, is told so, and resumes by its cursor: what is waiting for it is
//! bounded, and nobody else waits.

mod batch;
mod bridge;
mod channel;
mod lease;
mod reader;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use self::{
    batch::Scale,
    channel::{Channel, Receiver},
    lease::Leases,
};
pub use self::{
    batch::{BATCH_BYTES, Batch, weight},
    lease::Lease,
};
use crate::{
    base::{
        clock::Instant,
        config::SubscriptionsConfig,
        id::{OrganizationId, SessionId},
    },
    data::{db::Db, ledger::Source},
    platform::{metrics::Metrics, redis::Redis},
};

/// What lets several rights changes at once cost one look.
const SETTLE: Duration = Duration::from_millis(50);

/// All that is live in this instance. Clones share it.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    db: Db,
    metrics: Metrics,
    config: SubscriptionsConfig,
    /// What all batches weigh.
    scale: Scale,
    channels: Mutex<HashMap<OrganizationId, Arc<Channel>>>,
    leases: Leases,
    /// The server is going down.
    stopping: CancellationToken,
    sockets: TaskTracker,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Live(…)")
    }
}

impl Live {
    /// Starts looking after what will be live. It ends with the last clone.
    pub fn start(db: Db, redis: Option<Redis>, config: &SubscriptionsConfig, metrics: Metrics) -> Self {
        let inner = Arc::new(Inner {
            db,
            metrics,
            config: config.clone(),
            scale: Scale::default(),
            channels: Mutex::default(),
            leases: Leases::default(),
            stopping: CancellationToken::new(),
            sockets: TaskTracker::new(),
        });
        if let Some(redis) = redis {
            bridge::start(redis, &inner.db);
        }
        tokio::spawn(look_after(Arc::downgrade(&inner), config.poll));
        Self(inner)
    }

    /// Follows the ledger of an organization, of which everything up to `head` has been written: what comes after is in
    /// [`Subscription::next`], from [`Subscription::joined_at`] on.
    pub fn follow(&self, organization_id: OrganizationId, head: i64) -> Subscription {
        let mut channels = self.0.channels();
        let channel = channels.entry(organization_id).or_insert_with(|| {
            let channel = Arc::new(Channel::new(organization_id, head, &self.0.config, self.0.scale.clone()));
            let heads = self.0.db.bus().follow(organization_id, head);
            let (db, metrics) = (self.0.db.clone(), self.0.metrics.clone());
            tokio::spawn(reader::read(Arc::downgrade(&self.0), db, metrics, channel.clone(), heads));
            channel
        });
        let (receiver, joined_at) = channel.join();
        self.0.metrics.subscribed(1);
        Subscription { channel: channel.clone(), receiver, joined_at, metrics: self.0.metrics.clone() }
    }

    /// A right to go on that ends with the session, or at an instant. It is looked after once a second.
    pub fn lease(&self, session_id: Option<SessionId>, expires_at: Option<Instant>) -> Lease {
        self.0.leases.grant(session_id, expires_at)
    }

    /// Cancelled when the server goes down: streams and sockets end.
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// Counts a socket until the value is dropped.
    pub fn open_socket(&self) -> OpenSocket {
        self.0.metrics.connected(1);
        OpenSocket { metrics: self.0.metrics.clone(), _token: self.0.sockets.token() }
    }

    /// Ends streams and sockets; waits until the sockets have been closed.
    pub async fn stop(&self) {
        self.0.stopping.cancel();
        self.0.sockets.close();
        self.0.sockets.wait().await;
    }
}

/// A socket that is open.
pub struct OpenSocket {
    metrics: Metrics,
    _token: TaskTrackerToken,
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.metrics.connected(-1);
    }
}

/// What one subscriber hears of a ledger.
pub struct Subscription {
    channel: Arc<Channel>,
    receiver: Receiver,
    joined_at: i64,
    metrics: Metrics,
}

/// Why there is no next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// More came than may wait: batches, bytes, or bytes in all.
    TooSlow,
    /// Nothing will come any more: the organization is gone, or its events were purged before they were read.
    Gone,
}

impl Subscription {
    /// The sequence that the first batch follows on.
    pub const fn joined_at(&self) -> i64 {
        self.joined_at
    }

    /// The next batch, in order and without a gap. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<Arc<Batch>, Missed> {
        self.receiver.next().await
    }

    /// A batch without events at a position: the same one for all who ask at the same position.
    pub fn beat(&self, sequence: i64) -> Arc<Batch> {
        self.channel.beat(sequence)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.metrics.subscribed(-1);
    }
}

impl Inner {
    fn channels(&self) -> MutexGuard<'_, HashMap<OrganizationId, Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what nobody listens to; gives the rest.
    fn sweep(&self) -> Vec<OrganizationId> {
        let mut channels = self.channels();
        channels.retain(|organization_id, channel| {
            let is_wanted = channel.subscribers() > 0;
            if !is_wanted {
                self.db.bus().unfollow(*organization_id);
            }
            is_wanted
        });
        channels.keys().copied().collect()
    }

    /// Where more waits in all than may, the heaviest channels drop what waits there.
    fn relieve(&self) {
        while self.scale.bytes() > self.config.waiting_bytes {
            let channels = self.channels();
            let heaviest = channels.values().map(|channel| (channel.bytes(), channel)).max_by_key(|(bytes, _)| *bytes);
            match heaviest {
                Some((bytes, channel)) if bytes > 0 => channel.relieve(),
                // The rest is being answered with at this moment.
                _ => return,
            }
        }
    }

    /// Asks the database how far the followed ledgers have got.
    async fn poll(&self) -> crate::base::error::Result<()> {
        let followed = self.sweep();
        if followed.is_empty() {
            return Ok(());
        }
        self.metrics.polled();
        let heads: HashMap<_, _> = self.db.ledger_heads(followed.clone()).await?.into_iter().collect();
        for organization_id in followed {
            match heads.get(&organization_id) {
                Some(head) => self.db.bus().hear(organization_id, *head, Source::Poll),
                None => self.end(organization_id),
            }
        }
        Ok(())
    }

    /// The organization is gone, or what was not read yet is.
    fn end(&self, organization_id: OrganizationId) {
        if let Some(channel) = self.channels().remove(&organization_id) {
            self.db.bus().unfollow(organization_id);
            channel.close();
        }
    }
}

/// Once a `period`, and soon after rights have changed.
async fn look_after(inner: Weak<Inner>, period: Duration) {
    let Some((mut rights, stopping)) = inner.upgrade().map(|inner| (inner.db.bus().rights(), inner.stopping.clone()))
    else {
        return;
    };
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        let is_tick = tokio::select! {
            _ = ticks.tick() => true,
            _ = rights.changed() => {
                tokio::time::sleep(SETTLE).await;
                rights.mark_unchanged();
                false
            }
            () = stopping.cancelled() => return,
        };
        let Some(inner) = inner.upgrade() else { return };
        let looked = async {
            if is_tick {
                inner.poll().await?;
            }
            inner.leases.check(&inner.db).await
        };
        match looked.await {
            Ok(()) => failing = false,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(error = %error.describe(), "ledgers and sessions can't be looked at; trying on");
                }
            }
        }
    }
}
