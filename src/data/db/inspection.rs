//! What the operator wants to know of the database itself: its version, its settings, its clock.

use std::time::Duration;

use chrono::TimeDelta;
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

/// How a pool of connections is at a moment.
#[derive(Clone, Copy, Debug)]
pub struct PoolUse {
    /// `shared` and `replica` on PostgreSQL, `reader` and `writer` on SQLite.
    pub name: &'static str,
    pub limit: usize,
    /// On SQLite a reader has a second one once something was read in the background.
    pub open: usize,
    pub in_use: usize,
    /// Statements and transactions that wait for a connection.
    pub waiting: usize,
    /// Since the start: how many had to wait, and how long they did together.
    pub waits: u64,
    pub waited: Duration,
}

/// What waits in the database, for whichever instance. Of each kind as many as [`COUNTED`] are counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    pub jobs_waiting: i64,
    pub jobs_running: i64,
    /// Given up.
    pub jobs_failed: i64,
    /// Deliveries that are due or will be tried again.
    pub deliveries_waiting: i64,
}

/// So that counting takes milliseconds, whatever has piled up.
const COUNTED: u32 = 100_000;

impl Db {
    pub fn pools(&self) -> Vec<PoolUse> {
        match self.backend() {
            DatabaseBackend::Postgres => {
                let replica = self.replica().map(|replica| replica.pool().in_use("replica"));
                std::iter::once(self.reader().pool().in_use("shared")).chain(replica).collect()
            }
            _ => vec![self.reader().pool().in_use("reader"), self.writer().pool().in_use("writer")],
        }
    }

    /// Counts what waits.
    pub async fn backlog(&self) -> Result<Backlog> {
        #[derive(FromQueryResult)]
        struct Job {
            is_failed: bool,
            is_held: bool,
            count: i64,
        }
        #[derive(FromQueryResult)]
        struct Count {
            count: i64,
        }
        let now = self.database_time_sql();
        let jobs = format!(
            "SELECT failed_at IS NOT NULL AS is_failed, leased_until > {now} AS is_held, count(*) AS count \
             FROM (SELECT failed_at, leased_until FROM job LIMIT {COUNTED}) AS counted GROUP BY 1, 2"
        );
        let statement = Statement::from_string(self.backend(), jobs);
        let rows = self.reader().query_all_raw(statement).await.map_err(fail)?;
        let mut backlog = Backlog::default();
        for row in rows {
            let Job { is_failed, is_held, count } = Job::from_query_result(&row, "").map_err(fail)?;
            *match (is_failed, is_held) {
                (true, _) => &mut backlog.jobs_failed,
                (false, true) => &mut backlog.jobs_running,
                (false, false) => &mut backlog.jobs_waiting,
            } += count;
        }
        let deliveries = format!(
            "SELECT count(*) AS count FROM (SELECT 1 FROM webhook_delivery WHERE next_attempt_at IS NOT NULL \
             LIMIT {COUNTED}) AS counted"
        );
        let Count { count } = self.one(&deliveries).await?;
        backlog.deliveries_waiting = count;
        Ok(backlog)
    }

    /// Asks the database for its version and settings; needs no schema of ours.
    pub async fn inspect(&self) -> Result<Inspection> {
        Ok(match self.backend() {
            DatabaseBackend::Postgres => Inspection::Postgres(Box::new(self.one(POSTGRES).await?)),
            _ => Inspection::Sqlite(self.one(SQLITE).await?),
        })
    }

    /// How far the database's clock is ahead of this machine's, to about half of the answer's time; `None` on SQLite,
    /// which has no other clock.
    pub async fn clock_skew(&self) -> Result<Option<TimeDelta>> {
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
