//! How long what was deleted can be brought back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Whoever deleted something by mistake must have time to notice.
const SHORTEST: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrashConfig {
    /// How long items stay in the trash, at least; an hour more at most.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
}

impl Default for TrashConfig {
    fn default() -> Self {
        Self { retention: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

impl TrashConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.retention < SHORTEST {
            return Err(ConfigError::of("trash.retention", "at least 1d"));
        }
        Ok(())
    }
}
