//! How long it is known what happened.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Clients that keep a copy must have time to ask what has changed.
const SHORTEST: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// How long events are kept at most, whatever the plan; `None`: as long as the plan says.
    #[serde(with = "humantime_serde")]
    pub retention: Option<Duration>,
}

impl LedgerConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.retention.is_some_and(|retention| retention < SHORTEST) {
            return Err(ConfigError::of("ledger.retention", "at least 1d"));
        }
        Ok(())
    }
}
