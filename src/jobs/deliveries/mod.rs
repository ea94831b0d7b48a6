//! What is sent to webhooks, by whichever instances do that (`serve --role`).
//!
//! A worker takes queues (`db::deliveries`): webhooks with something due that nobody else sends for. Each queue is worked by
//! itself ([`queue`]), so that a slow receiver holds up nobody; the outcomes of all of them are written together
//! ([`batch_writer`]); what is sent is what the API shows ([`content`]). Sending happens outside every transaction, so an
//! event arrives at least once: whoever dies between an answer and its record sends again, under the same id.

mod batch_writer;
mod content;
mod queue;
mod shares;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use self::{batch_writer::BatchWriter, content::Renderer, shares::QueueShares};
use crate::{
    api::endpoint::Api,
    base::{error::Result, id::OrganizationId},
    data::db::deliveries::FailingSince,
    platform::state::State,
};

/// How long a worker goes on with a queue before it releases it, so that others get their turn.
const HOLD: Duration = Duration::from_secs(10);
/// For how long a queue is leased: an attempt that begins within [`HOLD`] has ended by then, whatever the receiver does
/// (`outgoing::Limits::total`, 15 s), and has been written down.
const LEASE: Duration = Duration::from_secs(30);
/// Queues that one statement takes: the rest is for others who look at the same time.
const QUEUES_AT_ONCE: usize = 4;
/// Queues that one statement shows to choose from.
const CHOICE: u64 = 64;
/// How often it looks without being told: for what others have queued, what is due again, what a dead worker held.
const POLL: Duration = Duration::from_secs(1);

/// Sends to webhooks. Clones share it.
#[derive(Clone)]
pub struct Worker(Arc<Inner>);

struct Inner {
    state: State,
    renderer: Renderer,
    /// Starts with the first outcome: a server that sends nothing has no task for it.
    batch_writer: OnceLock<BatchWriter>,
    schedule: Vec<Duration>,
    shares: QueueShares,
}

impl Worker {
    pub fn new(api: &Api) -> Result<Self> {
        let state = api.state.clone();
        let renderer = Renderer::new(api.clone())?;
        let (schedule, shares) = (state.config.webhooks.schedule(), QueueShares::new(&state.config.webhooks));
        Ok(Self(Arc::new(Inner { renderer, batch_writer: OnceLock::new(), schedule, shares, state })))
    }

    fn batch_writer(&self) -> &BatchWriter {
        self.0.batch_writer.get_or_init(|| BatchWriter::start(self.0.state.db.clone()))
    }

    /// Works until `stop` is cancelled and what is in flight has ended.
    pub async fn run(self, stop: CancellationToken) {
        let mut due = self.0.state.db.bus().deliveries();
        let mut queues = JoinSet::new();
        loop {
            due.mark_unchanged();
            let has_more = self.take_queues(&mut queues, &stop).await;
            if has_more {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                _ = due.changed() => {}
                // One that has let go may be taken again, by whoever comes first.
                Some(_) = queues.join_next() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        while queues.join_next().await.is_some() {}
    }

    /// Works until nothing is due any more that nobody else holds; for tests and commands.
    pub async fn drain(&self) {
        let (mut queues, stop) = (JoinSet::new(), CancellationToken::new());
        loop {
            while self.take_queues(&mut queues, &stop).await {}
            if queues.join_next().await.is_none() {
                return;
            }
        }
    }

    /// Takes some queues; whether there may be more for the taking.
    async fn take_queues(&self, queues: &mut JoinSet<()>, stop: &CancellationToken) -> bool {
        let (room, full) = self.0.shares.room();
        let limit = room.min(QUEUES_AT_ONCE);
        if limit == 0 || stop.is_cancelled() {
            return false;
        }
        // Before the lease begins.
        let until = Instant::now() + HOLD;
        match self.claim(limit, full).await {
            Ok(taken) => {
                let has_more = taken.len() == limit;
                for (taken, failing_since) in taken {
                    let held = self.0.shares.hold(taken.organization_id);
                    let work = queue::work(self.clone(), taken, failing_since.is_some(), until, stop.clone());
                    let (organization, webhook) = (taken.organization_id, taken.webhook_id);
                    let work = work.instrument(tracing::info_span!("deliveries", %organization, %webhook));
                    queues.spawn(async move {
                        work.await;
                        drop(held);
                    });
                }
                has_more
            }
            Err(error) => {
                tracing::warn!(error = %error.describe(), "looking for deliveries failed");
                false
            }
        }
    }

    /// Up to `limit` queues, none of the organizations `full`. When there is nothing, that is one statement, which writes
    /// nothing.
    async fn claim(&self, limit: usize, full: Vec<OrganizationId>) -> Result<FailingSince> {
        let db = &self.0.state.db;
        let free = db.free_queues(full, QUEUES_AT_ONCE as u64, CHOICE).await?;
        db.claim_queues(&self.0.shares.choose(free, limit), LEASE).await
    }
}
