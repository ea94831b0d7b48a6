//! A connection that is held from one statement to the next.
//!
//! The driver's pool asks a connection whether it lives each time it is given back, by a task of its own: a round trip, which
//! takes as much as many a statement. Here it is given back about once a minute ([`HELD_FOR`]), so that the pool closes what
//! is old or rests too long; and whenever a statement failed or was given up, so that the pool looks at it.

use std::time::{Duration, Instant};

use sea_orm::{
    ConnAcquireErr, DatabaseConnection, DbErr, ExecResult, QueryResult, RuntimeErr, Statement,
    sea_query::Values,
    sqlx::{
        self, AssertSqlSafe, Connection as _, Database, Executor as _, IntoArguments, Postgres, Sqlite,
        pool::PoolConnection, query::Query,
    },
};
use sea_query_sqlx::SqlxValues;

/// How long a connection is held before it goes back to the driver's pool for once.
const HELD_FOR: Duration = Duration::from_secs(60);

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
            sea_orm::DatabaseBackend::Postgres => {
                pool.get_postgres_connection_pool().acquire().await.map(Connection::Postgres)
            }
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
