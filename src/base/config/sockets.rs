//! WebSockets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConfigError, parse};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SocketsConfig {
    /// How long a client may take to send `connection_init`.
    #[serde(with = "humantime_serde")]
    pub init_timeout: Duration,
    /// Between the pings that keep a connection open and find out whether anybody is there.
    #[serde(with = "humantime_serde")]
    pub ping: Duration,
    /// A socket is closed when nothing came from it for so long.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// Operations that may run on one socket at a time.
    #[serde(deserialize_with = "parse::number")]
    pub operations: usize,
    /// Bytes of one message at most.
    #[serde(deserialize_with = "parse::number")]
    pub message_bytes: usize,
    /// Bytes that may wait to be sent on one socket; operations wait with what is more. One answer may be larger.
    #[serde(deserialize_with = "parse::number")]
    pub queue_bytes: usize,
}

impl Default for SocketsConfig {
    fn default() -> Self {
        Self {
            init_timeout: Duration::from_secs(10),
            ping: Duration::from_secs(25),
            idle: Duration::from_secs(60),
            operations: 50,
            message_bytes: 64 * 1024,
            queue_bytes: 1 << 20,
        }
    }
}

impl SocketsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.init_timeout.is_zero() {
            return Err(ConfigError::of("sockets.init_timeout", "longer than nothing"));
        }
        if self.ping.is_zero() {
            return Err(ConfigError::of("sockets.ping", "longer than nothing"));
        }
        if self.idle <= self.ping {
            return Err(ConfigError::of("sockets.idle", "longer than TODO_SOCKETS_PING"));
        }
        if self.operations == 0 {
            return Err(ConfigError::of("sockets.operations", "at least 1"));
        }
        if self.message_bytes < 1024 {
            return Err(ConfigError::of("sockets.message_bytes", "at least 1024"));
        }
        if !(4096..=1 << 28).contains(&self.queue_bytes) {
            return Err(ConfigError::of("sockets.queue_bytes", "between 4096 and 268435456"));
        }
        Ok(())
    }
}
