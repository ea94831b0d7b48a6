//! Streams of events.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConfigError, parse};

/// Withdrawn rights are promised to end a stream within two seconds.
const MAXIMUM_POLL: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubscriptionsConfig {
    /// An empty batch goes out when nothing else did for so long.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// How often the database is asked how far the followed ledgers have got and which sessions have ended; 1 second at
    /// most.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
    /// Batches that may wait for one subscriber; with one more its operation ends with SLOW_CONSUMER.
    #[serde(deserialize_with = "parse::number")]
    pub queue: usize,
    /// Bytes that may wait for the subscribers of one organization; the slowest then end with SLOW_CONSUMER.
    #[serde(deserialize_with = "parse::number")]
    pub queue_bytes: usize,
    /// The same for the subscribers of all organizations together.
    #[serde(deserialize_with = "parse::number")]
    pub waiting_bytes: usize,
}

/// Room for several batches.
const MINIMUM_BYTES: usize = 1 << 20;

impl Default for SubscriptionsConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(30),
            poll: MAXIMUM_POLL,
            queue: 256,
            queue_bytes: 8 << 20,
            waiting_bytes: 64 << 20,
        }
    }
}

impl SubscriptionsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.heartbeat < Duration::from_millis(10) {
            return Err(ConfigError::of("subscriptions.heartbeat", "at least 10ms"));
        }
        if self.poll > MAXIMUM_POLL || self.poll < Duration::from_millis(10) {
            return Err(ConfigError::of("subscriptions.poll", "between 10ms and 1s"));
        }
        if !(1..=65_536).contains(&self.queue) {
            return Err(ConfigError::of("subscriptions.queue", "between 1 and 65536"));
        }
        for (name, bytes) in
            [("subscriptions.queue_bytes", self.queue_bytes), ("subscriptions.waiting_bytes", self.waiting_bytes)]
        {
            if bytes < MINIMUM_BYTES {
                return Err(ConfigError::of(name, format!("at least {MINIMUM_BYTES}")));
            }
        }
        Ok(())
    }
}
