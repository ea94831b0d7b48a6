//! What the server does by itself, over and over, until it stops.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{auth::token, error::Result, state::State};

/// Starts the jobs. They end soon after `stop` is cancelled; `state.background` waits for the one under way.
pub fn start(state: &State, stop: &CancellationToken) {
    let keys = state.keys.clone();
    every(state, stop, token::REFRESH, "reading the signing keys", move || {
        let keys = keys.clone();
        async move { keys.refresh().await }
    });
}

/// Runs a job at an interval. A failure is logged, and the next turn tries again.
fn every<F>(
    state: &State,
    stop: &CancellationToken,
    interval: Duration,
    name: &'static str,
    job: impl Fn() -> F + Send + 'static,
) where
    F: Future<Output = Result<()>> + Send,
{
    let stop = stop.clone();
    state.background.spawn(async move {
        while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            if let Err(error) = job().await {
                tracing::warn!(error = %error.describe(), "{name} failed");
            }
        }
    });
}
