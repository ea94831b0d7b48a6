//! What instances share, where `REDIS_URL` is set.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    #[serde(with = "humantime_serde")]
    timeout: Duration,
}

impl Default for Raw {
    fn default() -> Self {
        Self { timeout: Duration::from_millis(250) }
    }
}

/// Where Redis is.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://…` or `rediss://…`.
    pub url: String,
    /// How long a request waits for Redis at most; then Redis counts as away.
    pub timeout: Duration,
}

impl Raw {
    /// `None` without a URL: this instance is the only one.
    pub(super) fn check(self, url: Option<String>) -> Result<Option<RedisConfig>, ConfigError> {
        if self.timeout.is_zero() {
            return Err(ConfigError::of("redis.timeout", "longer than nothing"));
        }
        let Some(url) = url else { return Ok(None) };
        if !(url.starts_with("redis://") || url.starts_with("rediss://")) {
            return Err(ConfigError::of("redis_url", "expected redis://… or rediss://…"));
        }
        Ok(Some(RedisConfig { url, timeout: self.timeout }))
    }
}
