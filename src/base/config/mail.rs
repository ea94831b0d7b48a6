//! How mail leaves the server.

use std::time::Duration;

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};

use super::{ConfigError, parse};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailConfig {
    /// Whom mail comes from: an address, or `Name <address>`.
    pub from: String,
    /// How long an e-mail's file is kept.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// E-mails an hour to one mailbox, of what anybody can have sent to it, of resets, and of notices each; 0: as many as
    /// there are.
    #[serde(deserialize_with = "parse::number")]
    pub letters_per_mailbox: u64,
}

/// Whoever hands e-mails on must have time to.
const SHORTEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for MailConfig {
    fn default() -> Self {
        Self { from: "Todo Platform <no-reply@localhost>".to_owned(), retention: 30 * SHORTEST, letters_per_mailbox: 5 }
    }
}

impl MailConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.retention < SHORTEST {
            return Err(ConfigError::of("mail.retention", "at least 1d"));
        }
        self.mailbox().map(drop)
    }

    /// The sender, as mail's headers take it.
    pub fn mailbox(&self) -> Result<Mailbox, ConfigError> {
        let malformed = || ConfigError::of("mail.from", "expected `address` or `Name <address>`");
        if self.from.chars().any(char::is_control) {
            return Err(malformed());
        }
        self.from.trim().parse().map_err(|_| malformed())
    }
}
