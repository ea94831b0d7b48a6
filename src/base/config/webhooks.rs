//! Webhooks: what outgoing requests may reach besides the public internet, when they are tried again, how long their log is
//! kept.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{ConfigError, parse};

/// Attempts of a delivery at most; see `webhooks::service::MAX_ATTEMPTS`, which leaves room for some by hand.
const MAX_SCHEDULE: usize = 15;
/// The longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Requests under way at most: each holds a socket.
const MAX_CONCURRENCY: usize = 10_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhooksConfig {
    /// Networks that may be reached although they are not public.
    #[serde(deserialize_with = "parse::list")]
    pub allowed_cidrs: Vec<IpNet>,
    /// Whether `http://` may be called; otherwise `https://` alone.
    #[serde(deserialize_with = "parse::switch")]
    pub allow_http: bool,
    /// The wait before each attempt, the first one's being none. After the last a delivery is given up.
    #[serde(serialize_with = "parse::texts", deserialize_with = "parse::list")]
    pub retry_schedule: Vec<humantime::Duration>,
    /// A webhook of which nothing was accepted for so long is disabled at its next failure.
    #[serde(with = "humantime_serde")]
    pub disable_after: Duration,
    /// How long deliveries that are done stay in the log.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// Webhooks that one instance sends for at a time, and requests that it has under way.
    pub concurrency: usize,
    /// Of these for one organization.
    pub organization_concurrency: usize,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        let seconds = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            allowed_cidrs: Vec::new(),
            allow_http: false,
            retry_schedule: seconds.map(|seconds| Duration::from_secs(seconds).into()).into(),
            disable_after: 5 * day,
            retention: 30 * day,
            concurrency: 512,
            organization_concurrency: 64,
        }
    }
}

impl WebhooksConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        // Every address of a family would turn the check off, metadata services of clouds included.
        if let Some(all) = self.allowed_cidrs.iter().find(|network| network.prefix_len() == 0) {
            let message = format!("`{all}` is every address: name the networks that are meant");
            return Err(ConfigError::of("webhooks.allowed_cidrs", message));
        }
        if !(1..=MAX_SCHEDULE).contains(&self.retry_schedule.len()) {
            let message = format!("1 to {MAX_SCHEDULE} waits, such as `0s,5s,5m`");
            return Err(ConfigError::of("webhooks.retry_schedule", message));
        }
        if self.retry_schedule.first().is_some_and(|first| !first.is_zero()) {
            let message = "begins with `0s`: the first attempt is made at once";
            return Err(ConfigError::of("webhooks.retry_schedule", message));
        }
        if let Some(long) = self.retry_schedule.iter().find(|wait| ***wait > MAX_WAIT) {
            return Err(ConfigError::of("webhooks.retry_schedule", format!("`{long}`: at most 7d")));
        }
        if self.retention < Duration::from_secs(60 * 60) {
            return Err(ConfigError::of("webhooks.retention", "at least 1h"));
        }
        if !(1..=MAX_CONCURRENCY).contains(&self.concurrency) {
            return Err(ConfigError::of("webhooks.concurrency", format!("1 to {MAX_CONCURRENCY}")));
        }
        if !(1..=self.concurrency).contains(&self.organization_concurrency) {
            let message = "at least 1, and at most TODO_WEBHOOKS_CONCURRENCY";
            return Err(ConfigError::of("webhooks.organization_concurrency", message));
        }
        Ok(())
    }

    /// The waits before each attempt.
    pub fn schedule(&self) -> Vec<Duration> {
        self.retry_schedule.iter().map(|wait| **wait).collect()
    }
}
