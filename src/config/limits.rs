//! What one request may ask for. `docs/API.md` explains each to clients.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::parse;

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
    /// Cost of an operation; prices in `docs/API.md`.
    #[serde(deserialize_with = "parse::number")]
    pub cost: u64,
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
            cost: 1_000,
            body_bytes: 1 << 20,
            body_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
        }
    }
}
