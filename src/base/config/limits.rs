//! What one request may ask for. `docs/API.md` explains each to clients.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConfigError, parse};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Fields below each other.
    #[serde(deserialize_with = "parse::number")]
    pub depth: usize,
    /// Aliased fields of an operation, fragments expanded.
    #[serde(deserialize_with = "parse::number")]
    pub aliases: usize,
    /// Fields at the root of an operation.
    #[serde(deserialize_with = "parse::number")]
    pub root_fields: usize,
    /// Directives on one field.
    #[serde(deserialize_with = "parse::number")]
    pub directives: usize,
    /// Directives of a document.
    #[serde(deserialize_with = "parse::number")]
    pub document_directives: usize,
    /// Lexical tokens of a document.
    #[serde(deserialize_with = "parse::number")]
    pub tokens: usize,
    /// Values in the variables of a request: each scalar, list and object.
    #[serde(deserialize_with = "parse::number")]
    pub values: usize,
    /// Bytes of an answer.
    #[serde(deserialize_with = "parse::number")]
    pub answer_bytes: usize,
    /// Cost of an operation; prices in `docs/API.md`.
    #[serde(deserialize_with = "parse::number")]
    pub cost: u64,
    /// Points a minute for each caller, instead of what the plans say; 0 turns off every limit by the minute.
    #[serde(deserialize_with = "parse::optional")]
    pub cost_per_minute: Option<u32>,
    /// Points a minute for each address without credentials; 0: no limit.
    #[serde(deserialize_with = "parse::number")]
    pub anonymous_cost_per_minute: u32,
    /// Bytes of a request's body.
    #[serde(deserialize_with = "parse::number")]
    pub body_bytes: usize,
    /// How long the body may take to arrive.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// How long an operation may run.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            depth: 15,
            aliases: 30,
            root_fields: 20,
            directives: 10,
            document_directives: 50,
            tokens: 5_000,
            values: 20_000,
            answer_bytes: 8 << 20,
            cost: 1_000,
            cost_per_minute: None,
            anonymous_cost_per_minute: 5_000,
            body_bytes: 1 << 20,
            body_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
        }
    }
}

/// The API shows limits as `Int`.
const MAXIMUM_PER_MINUTE: u32 = i32::MAX.unsigned_abs();

impl LimitsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let at_most = |name, value| match value {
            0..=MAXIMUM_PER_MINUTE => Ok(()),
            _ => Err(ConfigError::of(name, format!("{MAXIMUM_PER_MINUTE} at most"))),
        };
        at_most("limits.cost_per_minute", self.cost_per_minute.unwrap_or_default())?;
        at_most("limits.anonymous_cost_per_minute", self.anonymous_cost_per_minute)
    }
}
