//! Durable jobs: work that a change leaves to be done in chunks, by whichever instances do that (`serve --role`).
//!
//! The change queues its job in its own transaction (`WriteTx::enqueue`), so both are there or neither. A worker takes a job
//! (`db::jobs`), and does chunk after chunk, each a transaction of its own with its events; a crash loses the chunk under way
//! and nothing else. After [`HOLD`] it gives the job back, so that others get their turn. A chunk that fails is tried again
//! later and later; after [`MAX_ATTEMPTS`] in a row the job is given up and stays for the operator (`admin jobs`).
//!
//! What the jobs are is in [`kinds`]; nothing here knows any of them.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::kinds::{Chunk, next_chunk};
use crate::{
    base::error::Result,
    data::db::{jobs::Job, retrying},
    platform::state::State,
};

/// How long a worker goes on with one job while others may wait.
const HOLD: Duration = Duration::from_secs(5);
/// Jobs that one instance works on at a time: each may keep a connection busy, and the rest are for requests.
const AT_ONCE: usize = 2;
/// How often a worker looks without being told: for what other instances left, what is due again, what a dead worker held.
const POLL: Duration = Duration::from_secs(1);
/// Failures in a row after which a job is given up: some six hours of trying.
pub const MAX_ATTEMPTS: i32 = 12;
/// Before the second attempt; doubled with each one, a fifth longer or shorter.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Between attempts at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Works on jobs.
#[derive(Clone)]
pub struct Runner(State);

impl Runner {
    pub fn new(state: State) -> Self {
        Self(state)
    }

    /// Works until `stop` is cancelled and the chunks under way have ended.
    pub async fn run(self, stop: CancellationToken) {
        let mut left = self.0.db.bus().jobs();
        let mut running = JoinSet::new();
        loop {
            left.mark_unchanged();
            while running.len() < AT_ONCE && !stop.is_cancelled() {
                let Some(job) = self.claim().await else { break };
                let span = span(&job);
                running.spawn(work(self.0.clone(), job, stop.clone()).instrument(span));
            }
            tokio::select! {
                () = stop.cancelled() => break,
                _ = left.changed() => {}
                Some(_) = running.join_next() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Works until no job is due that nobody else holds; for tests and commands.
    pub async fn drain(&self) {
        let stop = CancellationToken::new();
        while let Some(job) = self.claim().await {
            work(self.0.clone(), job, stop.clone()).await;
        }
    }

    /// Does one chunk of the next job and goes away without giving it back, as a worker that dies does; for tests.
    pub async fn do_one_chunk(&self) -> Result<Option<Job>> {
        let Some(job) = self.claim().await else { return Ok(None) };
        next_chunk(&self.0, &job).await?;
        Ok(Some(job))
    }

    /// Does another chunk of a job that may be lost by now; for tests.
    pub async fn go_on(&self, job: &Job) -> Result<Chunk> {
        next_chunk(&self.0, job).await
    }

    async fn claim(&self) -> Option<Job> {
        self.0.db.claim_job().await.unwrap_or_else(|error| {
            tracing::warn!(error = %error.describe(), "looking for jobs failed");
            None
        })
    }
}

/// What is logged of a job says which it was.
fn span(job: &Job) -> Span {
    let organization = job.organization_id.map(tracing::field::display);
    tracing::info_span!("job", job = %job.id, kind = job.kind, organization)
}

/// Works on a job until it is done, lost, failed, or others should have a turn.
async fn work(state: State, job: Job, stop: CancellationToken) {
    let until = Instant::now() + HOLD;
    loop {
        match retrying(|| next_chunk(&state, &job)).await {
            Ok(Chunk::Last) => {
                state.metrics.job_ended("done");
                return;
            }
            Ok(Chunk::Lost) => return,
            Ok(Chunk::More) if Instant::now() < until && !stop.is_cancelled() => {}
            Ok(Chunk::More) => {
                if let Err(error) = state.db.release_job(&job).await {
                    tracing::warn!(error = %error.describe(), "a job could not be given back; its lease runs out");
                }
                return;
            }
            Err(error) => {
                let attempts = job.attempts.saturating_add(1);
                let is_over = attempts >= MAX_ATTEMPTS;
                state.metrics.job_ended(if is_over { "failed" } else { "retrying" });
                let error = error.describe();
                if is_over {
                    tracing::error!(%error, job = %job.id, kind = job.kind, "a job was given up; see `admin jobs`");
                } else {
                    tracing::warn!(%error, job = %job.id, kind = job.kind, attempts, "a job failed; it is tried again");
                }
                let next = (!is_over).then(|| state.clock().now() + pause(attempts));
                if let Err(error) = state.db.fail_job(&job, &error, next).await {
                    tracing::warn!(error = %error.describe(), "a job's failure could not be noted; its lease runs out");
                }
                return;
            }
        }
    }
}

/// How long to wait after so many failures in a row.
fn pause(attempts: i32) -> TimeDelta {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).clamp(0, 16));
    let pause = doubled.min(LONGEST_PAUSE).mul_f64(0.8 + 0.4 * fastrand::f64());
    TimeDelta::from_std(pause).unwrap_or(TimeDelta::hours(1))
}
