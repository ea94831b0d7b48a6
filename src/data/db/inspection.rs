//! What the operator wants to know of the database itself: its version, its settings, its clock.

use chrono::Duration;
use sea_orm::{ConnectionTrait as _, DatabaseBackend, DbErr, FromQueryResult, Statement, prelude::DateTimeUtc};

use super::{Db, fail};
use crate::base::error::{Error, Result};

/// What a database says of itself.
#[derive(Clone, Debug)]
pub enum Inspection {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// What SQLite says of itself, and of the file.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Sqlite {
    pub version: String,
    /// `wal`, since the server sets it.
    pub journal: String,
    /// Size of the database without its journal.
    pub bytes: i64,
}

/// What a PostgreSQL server says of itself. Settings are those that this connection has.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Postgres {
    pub version: String,
    /// `150004` for 15.4.
    pub version_number: i32,
    pub max_connections: i32,
    /// Of these, connections that only administrators get.
    pub reserved: i32,
    /// Connections that are open now, to any of the server's databases.
    pub connections: i64,
    pub fsync: String,
    pub full_page_writes: String,
    pub synchronous_commit: String,
    pub time_zone: String,
    pub encoding: String,
    /// A standby takes no writes.
    pub is_standby: bool,
    pub read_only: String,
}

const SQLITE: &str = "SELECT sqlite_version() AS version, (SELECT journal_mode FROM pragma_journal_mode) AS journal, \
                      (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size) AS bytes";

/// Whoever is no administrator sees no other's rows in `pg_stat_activity`; counts are open to all.
const POSTGRES: &str = "SELECT current_setting('server_version') AS version, \
     current_setting('server_version_num')::int AS version_number, \
     current_setting('max_connections')::int AS max_connections, \
     current_setting('superuser_reserved_connections')::int AS reserved, \
     (SELECT coalesce(sum(numbackends), 0)::bigint FROM pg_stat_database) AS connections, \
     current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes, \
     current_setting('synchronous_commit') AS synchronous_commit, current_setting('TimeZone') AS time_zone, \
     current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS is_standby, \
     current_setting('default_transaction_read_only') AS read_only";

const POSTGRES_TIME: &str = "SELECT clock_timestamp() AS now";

impl Db {
    /// Asks the database for its version and settings; needs no schema of ours.
    pub async fn inspect(&self) -> Result<Inspection> {
        Ok(match self.backend() {
            DatabaseBackend::Postgres => Inspection::Postgres(Box::new(self.one(POSTGRES).await?)),
            _ => Inspection::Sqlite(self.one(SQLITE).await?),
        })
    }

    /// How far the database's clock is ahead of this machine's, to about half of the answer's time; `None` on SQLite,
    /// which has no other clock.
    pub async fn clock_skew(&self) -> Result<Option<Duration>> {
        #[derive(FromQueryResult)]
        struct Time {
            now: DateTimeUtc,
        }
        if self.backend() != DatabaseBackend::Postgres {
            return Ok(None);
        }
        let before = self.clock().now();
        let Time { now } = self.one(POSTGRES_TIME).await?;
        let half = (self.clock().now() - before) / 2;
        Ok(Some(now - (before + half)))
    }

    async fn one<T: FromQueryResult>(&self, sql: &str) -> Result<T> {
        let row = self.reader().query_one_raw(Statement::from_string(self.backend(), sql)).await.map_err(fail)?;
        let row = row.ok_or_else(|| Error::internal("the database answered nothing about itself"))?;
        T::from_query_result(&row, "").map_err(|error: DbErr| Error::internal(error))
    }
}
