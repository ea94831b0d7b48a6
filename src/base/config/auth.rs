//! Sessions and sign-in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConfigError, parse};

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Life of an access token, 15 minutes at most.
    #[serde(with = "humantime_serde")]
    pub access_ttl: Duration,
    /// A session ends when it was not refreshed for so long.
    #[serde(with = "humantime_serde")]
    pub session_idle: Duration,
    /// A session ends after this in any case.
    #[serde(with = "humantime_serde")]
    pub session_absolute: Duration,
    /// How long a refresh token may come a second time: two tabs, or a lost answer.
    #[serde(with = "humantime_serde")]
    pub refresh_overlap: Duration,
    /// Failed sign-ins an hour from one address; 0 turns the throttle off.
    #[serde(deserialize_with = "parse::number")]
    pub sign_ins_per_address: u64,
    /// Failed sign-ins in 15 minutes for one account from one address; 0 turns the throttle off.
    #[serde(deserialize_with = "parse::number")]
    pub sign_ins_per_account: u64,
    /// Registrations an hour from one address, whether they succeed or not; 0: as many as they like.
    #[serde(deserialize_with = "parse::number")]
    pub registrations_per_address: u64,
    /// How long an invitation may be accepted.
    #[serde(with = "humantime_serde")]
    pub invitation_ttl: Duration,
    /// How long the mailed token of a password reset works, a day at most.
    #[serde(with = "humantime_serde")]
    pub reset_ttl: Duration,
    /// How long the mailed token that proves an address works, a week at most.
    #[serde(with = "humantime_serde")]
    pub verification_ttl: Duration,
    /// How long a session that has ended is kept, and a refresh token after it was issued, once it has been traded.
    #[serde(with = "humantime_serde")]
    pub session_retention: Duration,
    /// How long an entry of a person's security log is kept.
    #[serde(with = "humantime_serde")]
    pub security_log_retention: Duration,
    /// How long a mailed token is kept after it has expired, used or not.
    #[serde(with = "humantime_serde")]
    pub token_retention: Duration,
    /// How long an invitation is kept after it has expired.
    #[serde(with = "humantime_serde")]
    pub invitation_retention: Duration,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            access_ttl: Duration::from_secs(15 * MINUTE),
            session_idle: Duration::from_secs(30 * DAY),
            session_absolute: Duration::from_secs(90 * DAY),
            refresh_overlap: Duration::from_secs(10),
            sign_ins_per_address: 50,
            sign_ins_per_account: 5,
            registrations_per_address: 20,
            invitation_ttl: Duration::from_secs(7 * DAY),
            reset_ttl: Duration::from_secs(60 * MINUTE),
            verification_ttl: Duration::from_secs(DAY),
            session_retention: Duration::from_secs(90 * DAY),
            security_log_retention: Duration::from_secs(400 * DAY),
            token_retention: Duration::from_secs(7 * DAY),
            invitation_retention: Duration::from_secs(30 * DAY),
        }
    }
}

impl AuthConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(1..=15 * MINUTE).contains(&self.access_ttl.as_secs()) {
            return Err(ConfigError::of("auth.access_ttl", "between 1s and 15m"));
        }
        if self.session_idle > self.session_absolute {
            return Err(ConfigError::of("auth.session_idle", "not longer than TODO_AUTH_SESSION_ABSOLUTE"));
        }
        if !(MINUTE..=DAY).contains(&self.reset_ttl.as_secs()) {
            return Err(ConfigError::of("auth.reset_ttl", "between 1m and 1d"));
        }
        if !(MINUTE..=7 * DAY).contains(&self.verification_ttl.as_secs()) {
            return Err(ConfigError::of("auth.verification_ttl", "between 1m and 7d"));
        }
        let retentions = [
            ("auth.session_retention", self.session_retention),
            ("auth.security_log_retention", self.security_log_retention),
            ("auth.token_retention", self.token_retention),
            ("auth.invitation_retention", self.invitation_retention),
        ];
        if let Some((name, _)) = retentions.iter().find(|(_, kept)| kept.as_secs() < DAY) {
            return Err(ConfigError::of(name, "at least 1d"));
        }
        Ok(())
    }
}
