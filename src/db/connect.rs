//! Pools: one for PostgreSQL; for SQLite one writer and several readers, since it has one writer at a time anyway.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use sea_orm::{
    ConnectOptions, Database, DatabaseBackend, DatabaseConnection, DbErr, Select,
    sqlx::{
        self, Connection as _, Executor as _,
        sqlite::{SqliteConnection, SqliteJournalMode, SqliteSynchronous},
    },
};

use super::{gives_way, remembered::Remembered, sql_state, store::Store};
use crate::{clock::Clock, config::DatabaseConfig, entity::Global, ledger::Bus};

/// Called with each statement's SQL; tests count and read them.
pub type Observer = Arc<dyn Fn(&str) + Send + Sync>;

/// The database, with the server's clock. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    reader: DatabaseConnection,
    writer: DatabaseConnection,
    clock: Clock,
    identities: Remembered,
    bus: Bus,
    pub(super) store: Store,
}

/// Why the database can't be used. Shown to the operator at the start.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the database {url} can't be reached: {cause}")]
    Unreachable { url: String, cause: String },
    #[error("the data folder {path} can't be written: {cause}")]
    DataDir { path: String, cause: std::io::Error },
    #[error("DATABASE_URL {url}: expected postgres://… or sqlite://…")]
    UnknownKind { url: String },
}

impl Db {
    /// Opens the pools; makes SQLite's folder. The schema is left as it is.
    pub async fn connect(
        config: &DatabaseConfig,
        clock: Clock,
        observer: Option<Observer>,
    ) -> Result<Self, ConnectError> {
        let url = config.url.as_str();
        let (mut reader, mut writer) = if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let pool = open(postgres_options(config), config).await?;
            (pool.clone(), pool)
        } else if let Some(path) = url.strip_prefix("sqlite://") {
            make_folder_of(path)?;
            let writer = open(sqlite_options(config, false), config).await?;
            let reader = open(sqlite_options(config, true), config).await?;
            (reader, writer)
        } else {
            return Err(ConnectError::UnknownKind { url: redact(url) });
        };
        if let Some(observer) = observer {
            let for_writer = observer.clone();
            reader.set_metric_callback(move |info| observer(&info.statement.sql));
            writer.set_metric_callback(move |info| for_writer(&info.statement.sql));
        }
        let identities = Remembered::new(config.identity_cache);
        Ok(Self(Arc::new(Inner { reader, writer, clock, identities, bus: Bus::default(), store: Store::default() })))
    }

    pub(super) fn reader(&self) -> &DatabaseConnection {
        &self.0.reader
    }

    pub(super) fn writer(&self) -> &DatabaseConnection {
        &self.0.writer
    }

    pub(super) fn identities(&self) -> &Remembered {
        &self.0.identities
    }

    /// Told of every commit.
    pub fn bus(&self) -> &Bus {
        &self.0.bus
    }

    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub fn backend(&self) -> DatabaseBackend {
        self.0.reader.get_database_backend()
    }

    /// A query over a table that no organization owns.
    pub(super) fn find<E: Global>(&self) -> Select<E> {
        #[allow(clippy::disallowed_methods, reason = "the one door to tables without a tenant")]
        E::find()
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.0.reader.ping().await
    }

    /// Waits for connections in use, then closes.
    pub async fn close(&self) {
        for pool in [&self.0.reader, &self.0.writer] {
            if let Err(error) = pool.close_by_ref().await {
                tracing::warn!(%error, "closing the database");
            }
        }
    }
}

/// Opens a pool. Of several processes that make SQLite's file at once, the one that sets its journal is alone, and SQLite
/// does not wait for that by itself: the others try again, as long as a connection may take.
async fn open(options: ConnectOptions, config: &DatabaseConfig) -> Result<DatabaseConnection, ConnectError> {
    let until = Instant::now() + config.connect_timeout;
    loop {
        match Database::connect(options.clone()).await {
            Err(error) if gives_way(sql_state(&error).as_deref()) && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => {
                return opened.map_err(|cause| {
                    let shown = redact(&config.url);
                    // A URL that can't be parsed is quoted in the cause.
                    let cause = cause.to_string().replace(&config.url, &shown);
                    ConnectError::Unreachable { url: shown, cause }
                });
            }
        }
    }
}

fn common(config: &DatabaseConfig, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(config.url.as_str());
    options
        .max_connections(connections)
        .connect_timeout(config.connect_timeout)
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .sqlx_logging(false);
    options
}

fn postgres_options(config: &DatabaseConfig) -> ConnectOptions {
    let mut options = common(config, config.max_connections);
    options.idle_timeout(Duration::from_secs(600));
    options.map_sqlx_postgres_before_acquire(|connection, _| {
        let is_free = !connection.is_in_transaction();
        Box::pin(async move { Ok(is_free) })
    });
    options
}

/// Whether a SQLite connection that comes back is in no transaction, by the driver's count and in truth. SQLite rolls back
/// by itself when the disk is full or fails; the driver's own ROLLBACK then fails, its count stays 1, and every later
/// "transaction" would be a savepoint of one that is never committed.
async fn is_free(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // Waits for the rollback of a dropped transaction, too, which is queued. BEGIN alone takes no lock.
    let is_idle = connection.execute("BEGIN; ROLLBACK").await.is_ok();
    let is_free = is_idle && !connection.is_in_transaction();
    if !is_free {
        tracing::warn!("a connection came back inside a transaction that SQLite had rolled back; it is replaced");
    }
    Ok(is_free)
}

fn sqlite_options(config: &DatabaseConfig, read_only: bool) -> ConnectOptions {
    let mut options = common(config, if read_only { config.max_connections } else { 1 });
    options.map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .foreign_keys(true)
            .pragma("query_only", if read_only { "1" } else { "0" })
            .pragma("temp_store", "memory")
            .statement_cache_capacity(200)
    });
    if !read_only {
        options.map_sqlx_sqlite_pool_opts(|pool| pool.after_release(|connection, _| Box::pin(is_free(connection))));
    }
    // What is begun next is the outermost transaction, always.
    options.map_sqlx_sqlite_before_acquire(|connection, _| {
        let is_free = !connection.is_in_transaction();
        Box::pin(async move { Ok(is_free) })
    });
    options
}

fn make_folder_of(path: &str) -> Result<(), ConnectError> {
    let file = path.split('?').next().unwrap_or(path);
    let Some(folder) = Path::new(file).parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(|cause| ConnectError::DataDir { path: folder.display().to_string(), cause })
}

/// The URL without its password.
fn redact(url: &str) -> String {
    let before = |text: &str, ends: &[char]| text.split(ends).next().unwrap_or_default().to_owned();
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, host))) if rest.contains('@') => {
            // Parameters may name a password, too.
            format!("{scheme}://{}:…@{}", before(rest, &[':', '@', '/', '?']), before(host, &['?', '&']))
        }
        _ => before(url, &['?']),
    }
}
