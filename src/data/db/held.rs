//! A connection that is held from one statement to the next.
//!
//! The driver's pool asks a connection whether it lives each time it is given back, by a task of its own: a round trip, which
//! takes as much as many a statement. Here it is given back about once a minute ([`HELD_FOR`]), so that the pool closes what
//! is old or rests too long; and whenever a statement failed or was given up, so that the pool looks at it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{
    ConnAcquireErr, DatabaseBackend, DatabaseConnection, DbErr, ExecResult, QueryResult, RuntimeErr, Statement,
    sea_query::Values,
    sqlx::{
        self, AssertSqlSafe, Connection as _, Database, Executor as _, IntoArguments, Postgres, Sqlite,
        pool::PoolConnection, query::Query,
    },
};
use sea_query_sqlx::SqlxValues;
use tokio::runtime::Handle;

use super::{connect::Observer, watch::Watch};

/// How long a connection is held before it goes back to the driver's pool for once.
const HELD_FOR: Duration = Duration::from_secs(60);

/// Where a pool has one connection, as soon as it is needed.
pub(super) struct SlotConnection {
    /// A pool of the driver's, of one connection.
    pool: DatabaseConnection,
    /// The connection between two statements, or in the pool.
    held: Mutex<Option<Held>>,
    watch: Arc<Watch>,
    observer: Option<Observer>,
}

impl SlotConnection {
    pub(super) fn new(pool: DatabaseConnection, watch: Arc<Watch>, observer: Option<Observer>) -> Self {
        Self { pool, held: Mutex::new(None), watch, observer }
    }

    pub(super) fn backend(&self) -> DatabaseBackend {
        self.pool.get_database_backend()
    }

    /// The driver's pool, with the connection in it.
    pub(super) fn pooled(&self) -> &DatabaseConnection {
        self.give_back(|_| true);
        &self.pool
    }

    /// Whether the connection may be used again: no statement was given up on it.
    pub(super) fn is_good(&self) -> bool {
        self.watch.is_good()
    }

    /// The connection is not used again.
    pub(super) fn give_up(&self) {
        self.watch.give_up();
    }

    /// Which of the pool's openings the connection's was.
    pub(super) fn opening(&self) -> u64 {
        self.watch.number()
    }

    /// Awaits a statement; dropped before that is done, it gives it up.
    pub(super) async fn run<T>(&self, statement: impl Future<Output = T>) -> T {
        self.watch.run(statement).await
    }

    pub(super) fn is_open(&self) -> bool {
        match self.backend() {
            DatabaseBackend::Postgres => self.pool.get_postgres_connection_pool().size() > 0,
            _ => self.pool.get_sqlite_connection_pool().size() > 0,
        }
    }

    fn is_closed(&self) -> bool {
        match self.backend() {
            DatabaseBackend::Postgres => self.pool.get_postgres_connection_pool().is_closed(),
            _ => self.pool.get_sqlite_connection_pool().is_closed(),
        }
    }

    pub(super) fn has_rested(&self) -> bool {
        let in_pool = match self.backend() {
            DatabaseBackend::Postgres => self.pool.get_postgres_connection_pool().num_idle() > 0,
            _ => self.pool.get_sqlite_connection_pool().num_idle() > 0,
        };
        in_pool || self.held().is_some()
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection: the one that is held, if it may be used again, or the pool's.
    pub(super) async fn take(&self) -> Result<Held, DbErr> {
        let held = self.held().take();
        match held.filter(|_| self.watch.is_good()) {
            Some(held) => Ok(held),
            None => Held::of(&self.pool).await,
        }
    }

    /// Holds a connection that is in no transaction, until it is due in the pool. One that is in a transaction must not come
    /// here, nor be dropped, unless it was given up: on PostgreSQL nobody would see it, for the driver did not begin it.
    pub(super) fn keep(&self, connection: Held) {
        let mut held = self.held();
        if !connection.is_due() && !self.is_closed() {
            *held = Some(connection);
        }
    }

    /// Gives what is held back to the pool.
    pub(super) fn give_back(&self, is_due: impl FnOnce(&Held) -> bool) {
        drop(self.held().take_if(|held| is_due(held)));
    }

    /// Waits for the connection, if it is in use, then closes it.
    pub(super) async fn close(&self) -> Result<(), DbErr> {
        // The pool is closed from its first poll on, and nothing is held from then on.
        let (closed, ()) = tokio::join!(self.pool.close_by_ref(), async { self.give_back(|_| true) });
        closed
    }

    pub(super) fn observe(&self, statement: &Statement) {
        if let Some(observer) = &self.observer {
            observer(statement);
        }
    }
}

impl Drop for SlotConnection {
    /// The driver gives a connection back by a task: without a runtime it is closed at once.
    fn drop(&mut self) {
        if let Some(held) = self.held().take().filter(|_| Handle::try_current().is_err()) {
            held.close();
        }
    }
}

impl fmt::Debug for SlotConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotConnection").field("pool", &self.pool).field("watch", &self.watch).finish_non_exhaustive()
    }
}

/// A connection, taken out of the driver's pool. Dropped, it goes back there.
#[derive(Debug)]
pub(super) struct Held {
    connection: Connection,
    since: Instant,
}

#[derive(Debug)]
enum Connection {
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>),
}

impl Held {
    /// Takes the connection out of a pool of one, which opens it if there is none.
    pub(super) async fn of(pool: &DatabaseConnection) -> Result<Self, DbErr> {
        let connection = match pool.get_database_backend() {
            DatabaseBackend::Postgres => pool.get_postgres_connection_pool().acquire().await.map(Connection::Postgres),
            _ => pool.get_sqlite_connection_pool().acquire().await.map(Connection::Sqlite),
        };
        Ok(Self { connection: connection.map_err(not_acquired)?, since: Instant::now() })
    }

    /// Whether it is time to give it back.
    pub(super) fn is_due(&self) -> bool {
        self.since.elapsed() >= HELD_FOR
    }

    /// Closes it, without a runtime.
    pub(super) fn close(self) {
        match self.connection {
            Connection::Postgres(connection) => drop(connection.detach()),
            Connection::Sqlite(connection) => drop(connection.detach()),
        }
    }

    pub(super) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        match &mut self.connection {
            Connection::Postgres(connection) => bound(statement).execute(&mut **connection).await.map(Into::into),
            Connection::Sqlite(connection) => bound(statement).execute(&mut **connection).await.map(Into::into),
        }
        .map_err(not_executed)
    }

    /// Text without values; several statements, too.
    pub(super) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql = AssertSqlSafe(sql);
        match &mut self.connection {
            Connection::Postgres(connection) => connection.execute(sql).await.map(Into::into),
            Connection::Sqlite(connection) => connection.execute(sql).await.map(Into::into),
        }
        .map_err(not_executed)
    }

    pub(super) async fn query_one(&mut self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match &mut self.connection {
            Connection::Postgres(connection) => {
                bound(statement).fetch_optional(&mut **connection).await.map(|row| row.map(Into::into))
            }
            Connection::Sqlite(connection) => {
                bound(statement).fetch_optional(&mut **connection).await.map(|row| row.map(Into::into))
            }
        }
        .map_err(not_queried)
    }

    pub(super) async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match &mut self.connection {
            Connection::Postgres(connection) => bound(statement).fetch_all(&mut **connection).await.map(results),
            Connection::Sqlite(connection) => bound(statement).fetch_all(&mut **connection).await.map(results),
        }
        .map_err(not_queried)
    }

    pub(super) async fn ping(&mut self) -> Result<(), DbErr> {
        match &mut self.connection {
            Connection::Postgres(connection) => connection.ping().await,
            Connection::Sqlite(connection) => connection.ping().await,
        }
        .map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))
    }
}

fn bound<D: Database>(statement: Statement) -> Query<'static, D, SqlxValues>
where
    SqlxValues: IntoArguments<D>,
{
    let values = statement.values.unwrap_or(Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}

fn results<R: Into<QueryResult>>(rows: Vec<R>) -> Vec<QueryResult> {
    rows.into_iter().map(Into::into).collect()
}

// What sea-orm makes of the driver's errors: `fail` reads it.

fn not_acquired(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        error => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
    }
}

fn not_executed(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn not_queried(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{clock::Clock, config::DatabaseConfig},
        data::db::{Db, pool::Lease},
    };
    use sea_orm::ConnectionTrait as _;

    async fn database() -> (Db, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let second = Duration::from_secs(1);
        let config = DatabaseConfig {
            url: format!("sqlite://{}/db.sqlite", folder.path().display()),
            read_url: None,
            max_connections: 1,
            connect_timeout: 5 * second,
            acquire_timeout: 5 * second,
            statement_timeout: 30 * second,
            slow_statement: Duration::ZERO,
            identity_cache: Duration::ZERO,
            reference_cache_bytes: 0,
            migration_wait: second,
        };
        (Db::connect(&config, Clock::system(), None).await.expect("a database"), folder)
    }

    async fn writer(db: &Db) -> Lease {
        db.writer().lease().await.expect("the connection")
    }

    #[tokio::test]
    async fn a_connection_is_held_as_long_as_its_statements_succeed() {
        let (db, _folder) = database().await;
        let is_held = async || writer(&db).await.line().held().is_some();
        let opening = async || writer(&db).await.line().opening();
        db.writer().execute_unprepared("CREATE TABLE t (n INTEGER NOT NULL)").await.expect("a table");
        assert!(is_held().await);
        db.writer().execute_unprepared("nonsense").await.expect_err("no statement");
        assert!(!is_held().await, "the driver's pool looks at it");
        db.writer().execute_unprepared("INSERT INTO t VALUES (1)").await.expect("an insert");
        assert!(is_held().await && opening().await == 1, "the same connection");

        let tx = db.begin().await.expect("a transaction");
        tx.execute_unprepared("INSERT INTO t VALUES (2)").await.expect("an insert");
        assert_eq!(db.writer().pool().in_use("writer").in_use, 1, "the transaction has it");
        drop(tx);
        let rows = async || {
            let all = Statement::from_string(DatabaseBackend::Sqlite, "SELECT n FROM t");
            db.writer().query_all_raw(all).await.expect("rows").len()
        };
        assert_eq!((rows().await, opening().await), (1, 1), "rolled back, on a connection that goes on");
        let tx = db.begin().await.expect("a transaction");
        tx.execute_unprepared("INSERT INTO t VALUES (3)").await.expect("an insert");
        tx.commit().await.expect("a commit");
        assert!(is_held().await && rows().await == 2);

        let tx = db.begin().await.expect("a transaction");
        tx.execute_unprepared("INSERT INTO t VALUES (4)").await.expect("an insert");
        tx.execute_unprepared("nonsense").await.expect_err("no statement");
        drop(tx);
        assert_eq!((rows().await, opening().await), (2, 1), "rolled back after a failure");

        let endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
        let tx = db.begin().await.expect("a transaction");
        tx.execute_unprepared("INSERT INTO t VALUES (5)").await.expect("an insert");
        let given_up = tokio::time::timeout(Duration::from_millis(50), tx.execute_unprepared(endless)).await;
        assert!(given_up.is_err());
        drop(tx);
        assert_eq!((rows().await, opening().await), (2, 2), "closed, as nobody knows how far it is");
        db.close().await;
        db.writer().execute_unprepared("SELECT 1").await.expect_err("it is closed");
    }

    #[tokio::test]
    async fn a_connection_goes_back_when_it_is_due() {
        let (db, _folder) = database().await;
        db.writer().execute_unprepared("SELECT 1").await.expect("an answer");
        let lease = writer(&db).await;
        let mut held = lease.take().await.expect("the connection");
        assert!(!held.is_due());
        held.since = Instant::now().checked_sub(HELD_FOR).expect("an uptime of a minute");
        assert!(held.is_due());
        lease.keep(held);
        assert!(lease.line().held().is_none());
        drop(lease);
        db.writer().execute_unprepared("SELECT 1").await.expect("an answer");
        writer(&db).await.line().give_back(|_| true);
        db.writer().execute_unprepared("SELECT 1").await.expect("an answer");
        assert_eq!(writer(&db).await.line().opening(), 1, "the same connection, through the pool");
    }

    #[test]
    fn without_a_runtime_it_is_closed() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (db, _folder) = runtime.block_on(database());
        runtime.block_on(db.writer().execute_unprepared("SELECT 1")).expect("an answer");
        let tx = runtime.block_on(db.begin()).expect("a transaction");
        drop(tx);
        drop(db);
        drop(runtime);
    }
}
