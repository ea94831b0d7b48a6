//! What comes in through inbound hooks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// A receipt is what a replayed callback is known by, where the sender signs no time.
const SHORTEST: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallbacksConfig {
    /// How long receipts are kept, and the same callback counts as a duplicate.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
}

impl Default for CallbacksConfig {
    fn default() -> Self {
        Self { retention: 30 * SHORTEST }
    }
}

impl CallbacksConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.retention < SHORTEST {
            return Err(ConfigError::of("callbacks.retention", "at least 1d"));
        }
        Ok(())
    }
}
