//! Where the data is.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ConfigError, parse};

/// Revocations are promised to hold within two seconds.
const MAXIMUM_IDENTITY_CACHE: Duration = Duration::from_secs(1);

/// Longer than any start that somebody waits for.
const MAXIMUM_MIGRATION_WAIT: Duration = Duration::from_hours(24);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    #[serde(deserialize_with = "parse::optional")]
    max_connections: Option<u32>,
    #[serde(with = "humantime_serde")]
    connect_timeout: Duration,
    #[serde(with = "humantime_serde")]
    acquire_timeout: Duration,
    #[serde(with = "humantime_serde")]
    statement_timeout: Duration,
    #[serde(with = "humantime_serde")]
    slow_statement: Duration,
    #[serde(with = "humantime_serde")]
    identity_cache: Duration,
    reference_cache_bytes: u64,
    #[serde(with = "humantime_serde")]
    migration_wait: Duration,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            max_connections: None,
            connect_timeout: Duration::from_secs(5),
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            slow_statement: Duration::from_secs(1),
            identity_cache: MAXIMUM_IDENTITY_CACHE,
            reference_cache_bytes: 8 << 20,
            migration_wait: Duration::from_mins(5),
        }
    }
}

/// The database and its pool.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// `postgres://…` or `sqlite://path`.
    pub url: String,
    /// `postgres://…` of a replica that queries may read from.
    pub read_url: Option<String>,
    /// Connections at most, of this instance (on SQLite: readers; there is one writer).
    pub max_connections: u32,
    pub connect_timeout: Duration,
    /// How long a request waits for a free connection.
    pub acquire_timeout: Duration,
    /// How long one statement may run. What an operation runs ends with it, whatever this says.
    pub statement_timeout: Duration,
    /// A statement that takes as long is logged as a warning; zero: none is.
    pub slow_statement: Duration,
    /// How long a caller's identity may be used without being read again, 1 second at most: how late this instance
    /// notices what another one revoked. Zero: read with every request.
    pub identity_cache: Duration,
    /// Bytes that cached tags, teams and people may take, which pages name again and again; 0: none are cached.
    pub reference_cache_bytes: u64,
    /// How long a migration waits for another process's, and each of its steps for a lock.
    pub migration_wait: Duration,
}

impl std::fmt::Debug for DatabaseConfig {
    /// Without the URL: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseConfig").field("max_connections", &self.max_connections).finish_non_exhaustive()
    }
}

/// SQLite's readers work on this machine's own processors: more than a few for each only take turns.
fn default_connections(url: &str) -> u32 {
    if !url.starts_with("sqlite://") {
        return 20;
    }
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(3 * processors).unwrap_or(u32::MAX).clamp(6, 20)
}

impl Raw {
    pub(super) fn check(
        self,
        url: Option<String>,
        read_url: Option<String>,
        data_dir: &Path,
    ) -> Result<DatabaseConfig, ConfigError> {
        if self.max_connections == Some(0) {
            return Err(ConfigError::of("database.max_connections", "at least 1"));
        }
        if self.identity_cache > MAXIMUM_IDENTITY_CACHE {
            return Err(ConfigError::of("database.identity_cache", "1s at most"));
        }
        if self.migration_wait.is_zero() || self.migration_wait > MAXIMUM_MIGRATION_WAIT {
            return Err(ConfigError::of("database.migration_wait", "more than 0s, 24h at most"));
        }
        if self.statement_timeout < Duration::from_secs(1) {
            return Err(ConfigError::of("database.statement_timeout", "1s at least"));
        }
        let url = url.unwrap_or_else(|| format!("sqlite://{}", data_dir.join("todo.sqlite").display()));
        if !["postgres://", "postgresql://", "sqlite://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(ConfigError::of("database_url", "expected postgres://… or sqlite://…"));
        }
        let is_postgres = |url: &str| url.starts_with("postgres://") || url.starts_with("postgresql://");
        if read_url.as_deref().is_some_and(|read_url| !is_postgres(read_url) || !is_postgres(&url)) {
            let expected = "expected postgres://… of a replica of DATABASE_URL, which is PostgreSQL, too";
            return Err(ConfigError::of("database_read_url", expected));
        }
        let max_connections = self.max_connections.unwrap_or_else(|| default_connections(&url));
        Ok(DatabaseConfig {
            url,
            read_url,
            max_connections,
            connect_timeout: self.connect_timeout,
            acquire_timeout: self.acquire_timeout,
            statement_timeout: self.statement_timeout,
            slow_statement: self.slow_statement,
            identity_cache: self.identity_cache,
            reference_cache_bytes: self.reference_cache_bytes,
            migration_wait: self.migration_wait,
        })
    }
}
