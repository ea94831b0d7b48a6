//! How long it is known who asked how much.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Hours are summed up to days when they are this old at most; what is kept at all is kept longer.
const SHORTEST: Duration = Duration::from_secs(3 * 24 * 60 * 60);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsageConfig {
    /// How long figures of usage are kept, at least; a day more at most.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
}

impl Default for UsageConfig {
    fn default() -> Self {
        Self { retention: Duration::from_secs(400 * 24 * 60 * 60) }
    }
}

impl UsageConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.retention < SHORTEST {
            return Err(ConfigError::of("usage.retention", "at least 3d"));
        }
        Ok(())
    }
}
