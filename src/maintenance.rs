//! Work that the server does by itself, beside requests and at intervals. It ends with the token; the server waits for
//! what is under way.

use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    metering::{self, rollup},
    state::State,
};

/// Starts all of it. Each job also runs once at the start.
pub fn start(state: &State, stop: &CancellationToken) {
    state.background.spawn(flush_usage(state.clone(), stop.clone()));
    state.background.spawn(roll_up_usage(state.clone(), stop.clone()));
}

/// The last flush is the server's, once no request is under way any more.
async fn flush_usage(state: State, stop: CancellationToken) {
    let mut ticks = every(metering::FLUSH_EVERY);
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

async fn roll_up_usage(state: State, stop: CancellationToken) {
    let mut ticks = every(rollup::EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => rollup::run(&state.db, state.config.usage.retention).await,
        }
    }
}

/// Ticks at once, then each `period`; late ones are not caught up with.
fn every(period: std::time::Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
