//! What the server does by itself, over and over, until it stops.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    base::error::Result,
    data::{db, ledger::retention},
    domains::{inbound_hooks, items, webhooks},
    platform::{
        auth::token,
        metering::{self, rollup},
        state::State,
    },
};

/// How often what has been kept for long enough is purged.
const PURGE_EVERY: Duration = Duration::from_secs(60 * 60);

/// How often this machine's clock is compared to those of the database and Redis.
const COMPARE_CLOCKS_EVERY: Duration = Duration::from_secs(60);

/// Clocks that differ by more are said in the log.
const SKEW: TimeDelta = TimeDelta::seconds(2);

/// Starts the jobs, each of which also runs once now. They end soon after `stop` is cancelled; `state.background` waits
/// for what is under way.
pub fn start(state: &State, stop: &CancellationToken) {
    every(state, stop, token::REFRESH, "reading the signing keys", |state| async move { state.keys.refresh().await });
    every(state, stop, db::RETRY_EVERY, "trying the database", |state| async move {
        state.db.watch_store().await;
        Ok(())
    });
    every(state, stop, COMPARE_CLOCKS_EVERY, "comparing clocks", |state| async move { compare_clocks(&state).await });
    every(state, stop, rollup::EVERY, "rolling up usage", |state| async move {
        rollup::run(&state.db, state.config.usage.retention).await;
        Ok(())
    });
    every(state, stop, retention::EVERY, "deleting old events", |state| async move {
        retention::run(&state.db, state.config.ledger.retention).await
    });
    every(state, stop, PURGE_EVERY, "purging deliveries", |state| async move {
        webhooks::service::purge(&state.db, state.config.webhooks.retention).await
    });
    every(state, stop, PURGE_EVERY, "purging receipts", |state| async move {
        inbound_hooks::service::purge(&state.db, state.config.callbacks.retention).await
    });
    every(state, stop, PURGE_EVERY, "placing items", |state| async move { state.db.place_items().await.map(drop) });
    every(state, stop, PURGE_EVERY, "purging the trash", |state| async move {
        items::retention::purge(&state.db, state.config.trash.retention).await
    });
    every(state, stop, PURGE_EVERY, "purging e-mails", |state| async move {
        state.mailer.purge(state.config.mail.retention).await.map(drop)
    });
    every(state, stop, PURGE_EVERY, "purging expired rows", |state| async move {
        purge(&state).await;
        Ok(())
    });
    state.background.spawn(flush_usage(state.clone(), stop.clone()));
}

/// Deletes the rows of all tables that are purged by age alone; says how many of which. A table that fails keeps none of the
/// others from being purged.
pub async fn purge(state: &State) -> Vec<(&'static str, u64)> {
    let mut purged = Vec::new();
    for expired in db::retention::expired(state.clock(), &state.config.auth) {
        match state.db.purge(&expired).await {
            Ok(rows) => purged.push((expired.table, rows)),
            Err(error) => {
                tracing::warn!(table = expired.table, error = %error.describe(), "purging expired rows failed");
            }
        }
    }
    purged
}

/// Measures how far other clocks are from this machine's: leases, limits and the order of events go by several of them.
pub async fn compare_clocks(state: &State) -> Result<()> {
    let redis = match &state.redis {
        Some(redis) => redis.clock_skew(state.clock()).await,
        None => None,
    };
    let database = state.db.clock_skew().await?;
    if let Some(ahead) = database {
        // Less than that is what clocks that follow one time, and the measuring itself, differ by.
        state.clock().note_database(if ahead.abs() > SKEW { ahead } else { TimeDelta::zero() });
    }
    for (source, ahead) in [("database", database), ("redis", redis)] {
        let Some(ahead) = ahead else { continue };
        state.metrics.clock_skew(source, ahead);
        if ahead.abs() > SKEW {
            let millis = ahead.num_milliseconds();
            tracing::warn!(source, millis, "a clock is ahead of this machine's by so much; have them follow one time");
        }
    }
    Ok(())
}

/// Runs a job at an interval. A failure is logged, and the next turn tries again.
fn every<F>(
    state: &State,
    stop: &CancellationToken,
    interval: Duration,
    name: &'static str,
    job: impl Fn(State) -> F + Send + 'static,
) where
    F: Future<Output = Result<()>> + Send,
{
    let (owned, stop) = (state.clone(), stop.clone());
    state.background.spawn(async move {
        let mut ticks = ticking(interval);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = job(owned.clone()).await {
                tracing::warn!(error = %error.describe(), "{name} failed");
            }
        }
    });
}

/// The last flush is the server's, once no request is under way any more.
async fn flush_usage(state: State, stop: CancellationToken) {
    let mut ticks = ticking(metering::FLUSH_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
            () = state.usage.batch_is_full() => {}
        }
        // It has said in the log what went wrong, and keeps what it could not write.
        let _ = state.usage.flush().await;
    }
}

/// Ticks at once, then each `period`; late ones are not caught up with.
fn ticking(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
