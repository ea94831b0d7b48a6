//! Pools: one for PostgreSQL; for SQLite one writer and several readers, since it has one writer at a time anyway.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseBackend, DatabaseConnection, DbErr, Select, Statement,
    sqlx::{
        self, Connection as _, Executor as _,
        sqlite::{SqliteConnection, SqliteJournalMode, SqliteSynchronous},
    },
};

use super::{
    fairness::Consumer,
    held::SlotConnection,
    idempotency,
    identity_cache::IdentityCache,
    is_transient,
    keyed_locks::KeyedLocks,
    pool::{Connections, LateConnection, Pool, Slot},
    references::References,
    replica::Replica,
    sql_state,
    statement_log::StatementLog,
    store::Store,
    watch::{self, Openings, Watch},
};
use crate::{
    base::{clock::Clock, config::DatabaseConfig},
    data::{entity::Global, ledger::Bus},
};

/// Called with each statement; tests count and read them.
pub type Observer = Arc<dyn Fn(&Statement) + Send + Sync>;

/// The database as one consumer uses it, with the server's clock. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    inner: Arc<Inner>,
    reader: Connections,
    writer: Connections,
}

#[derive(Debug)]
struct Inner {
    clock: Clock,
    identities: IdentityCache,
    references: References,
    bus: Bus,
    store: Store,
    claims: KeyedLocks<idempotency::Place>,
    /// A database that follows this one, to read from.
    replica: Option<Replica>,
    /// See `LedgerCursor`.
    epoch: AtomicU32,
    /// One of each type, made by who first asks for it.
    shared: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
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
        let (reader, writer) = if is_postgres(url) {
            let pool = open_pool(config, Kind::Postgres, config.max_connections, observer.as_ref()).await?;
            (pool.clone(), pool)
        } else if let Some(path) = url.strip_prefix("sqlite://") {
            make_folder_of(path)?;
            let writer = open_pool(config, Kind::SqliteWriter, 1, observer.as_ref()).await?;
            let reader = open_pool(config, Kind::SqliteReader, config.max_connections, observer.as_ref()).await?;
            (reader, writer)
        } else {
            return Err(ConnectError::UnknownKind { url: redact(url) });
        };
        let identities = IdentityCache::new(config.identity_cache);
        let references = References::new(config.reference_cache_bytes);
        let replica = match &config.read_url {
            Some(url) => Some(Replica::new(open_replica(config, url, observer.as_ref()).await?)),
            None => None,
        };
        let (bus, store, claims) = (Bus::default(), Store::default(), KeyedLocks::default());
        let epoch = AtomicU32::new(0);
        let inner =
            Inner { clock, identities, references, bus, store, claims, replica, epoch, shared: Mutex::default() };
        Ok(Self { inner: Arc::new(inner), reader: Connections::new(reader), writer: Connections::new(writer) })
    }

    /// The same database, with the share of its connections that somebody has.
    #[must_use]
    pub fn used_by(&self, consumer: Consumer) -> Self {
        Self { inner: self.inner.clone(), reader: self.reader.of(consumer), writer: self.writer.of(consumer) }
    }

    /// The same database, read from another pool; on connections alone that were open when [`Pool::opened`] said so many.
    pub(super) fn reading_from(&self, pool: &Arc<Pool>, opened: u64) -> Self {
        let reader = self.reader.on(pool).opened_by(opened);
        Self { inner: self.inner.clone(), reader, writer: self.writer.clone() }
    }

    pub fn has_replica(&self) -> bool {
        self.inner.replica.is_some()
    }

    pub(super) fn replica(&self) -> Option<&Replica> {
        self.inner.replica.as_ref()
    }

    pub(super) fn reader(&self) -> &Connections {
        &self.reader
    }

    pub(super) fn writer(&self) -> &Connections {
        &self.writer
    }

    pub(super) fn identities(&self) -> &IdentityCache {
        &self.inner.identities
    }

    pub(super) fn references(&self) -> &References {
        &self.inner.references
    }

    pub(super) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Whose turn it is at each idempotency key, in this instance.
    pub(super) fn claims(&self) -> &KeyedLocks<idempotency::Place> {
        &self.inner.claims
    }

    /// Which life of the database this is; 0 until [`Db::read_epoch`].
    pub fn epoch(&self) -> u32 {
        self.inner.epoch.load(Ordering::Relaxed)
    }

    pub(super) fn remember_epoch(&self, epoch: u32) {
        self.inner.epoch.store(epoch, Ordering::Relaxed);
    }

    /// What the server's requests share of a type, such as writes that wait for each other; made at first use.
    pub fn shared<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut shared = self.inner.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let found = shared.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(make())).clone();
        found.downcast().unwrap_or_else(|_| unreachable!("kept by its type"))
    }

    /// Told of every commit.
    pub fn bus(&self) -> &Bus {
        &self.inner.bus
    }

    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    pub fn backend(&self) -> DatabaseBackend {
        self.reader.get_database_backend()
    }

    /// A query over a table that no organization owns.
    pub(super) fn find<E: Global>(&self) -> Select<E> {
        #[allow(clippy::disallowed_methods, reason = "the one way to tables without a tenant")]
        E::find()
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.reader.ping().await
    }

    /// Waits for connections in use, then closes.
    pub async fn close(&self) {
        self.reader.pool().close().await;
        self.writer.pool().close().await;
        if let Some(replica) = self.replica() {
            replica.pool().close().await;
        }
    }
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// What a connection is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Postgres,
    SqliteWriter,
    SqliteReader,
}

/// A pool whose first connection is open, so that a database which can't be reached is told at once.
async fn open_pool(
    config: &DatabaseConfig,
    kind: Kind,
    connections: u32,
    observer: Option<&Observer>,
) -> Result<Arc<Pool>, ConnectError> {
    let (mut slots, openings) = (Vec::new(), Openings::default());
    for number in 0..connections {
        // SQLite's are opened now, where `open` waits for whoever sets the journal: a statement would not.
        let is_lazy = number > 0 && kind == Kind::Postgres;
        let usual = open_line(config, kind, is_lazy, &openings, observer).await?;
        let background = (kind == Kind::SqliteReader).then(|| {
            let (config, openings, observer) = (config.clone(), openings.clone(), observer.cloned());
            LateConnection::new(move || {
                let (config, openings, observer) = (config.clone(), openings.clone(), observer.clone());
                async move { open_line(&config, kind, false, &openings, observer.as_ref()).await }.boxed()
            })
        });
        slots.push(Slot { usual, background });
    }
    let log = StatementLog::new(config.slow_statement, kind == Kind::Postgres);
    Ok(Pool::new(slots, config.acquire_timeout, log, openings))
}

/// A pool of connections to a replica, each opened when it is first needed: the server starts without the replica, too.
async fn open_replica(
    config: &DatabaseConfig,
    url: &str,
    observer: Option<&Observer>,
) -> Result<Arc<Pool>, ConnectError> {
    let config = DatabaseConfig { url: url.to_owned(), ..config.clone() };
    let (mut slots, openings) = (Vec::new(), Openings::default());
    for _ in 0..config.max_connections {
        slots.push(Slot {
            usual: open_line(&config, Kind::Postgres, true, &openings, observer).await?,
            background: None,
        });
    }
    let log = StatementLog::new(config.slow_statement, true);
    Ok(Pool::new(slots, config.acquire_timeout, log, openings))
}

/// Opens a connection, or leaves that to whoever uses it first.
async fn open_line(
    config: &DatabaseConfig,
    kind: Kind,
    is_lazy: bool,
    openings: &Openings,
    observer: Option<&Observer>,
) -> Result<SlotConnection, ConnectError> {
    let watch = Watch::new(config.statement_timeout, kind == Kind::SqliteReader, openings);
    let mut options = watched(options(config, kind), kind, &watch);
    options.connect_lazy(is_lazy);
    Ok(SlotConnection::new(open(options, config).await?, watch, observer.cloned()))
}

/// Opens a pool. Of several processes that make SQLite's file at once, the one that sets its journal is alone, and SQLite
/// does not wait for that by itself: the others try again, as long as a connection may take.
async fn open(options: ConnectOptions, config: &DatabaseConfig) -> Result<DatabaseConnection, ConnectError> {
    let until = Instant::now() + config.connect_timeout;
    loop {
        match Database::connect(options.clone()).await {
            Err(error) if is_transient(sql_state(&error).as_deref()) && Instant::now() < until => {
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

/// Options of one connection.
fn options(config: &DatabaseConfig, kind: Kind) -> ConnectOptions {
    let mut options = ConnectOptions::new(config.url.as_str());
    options
        .max_connections(1)
        .connect_timeout(config.connect_timeout)
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .sqlx_logging(false);
    let read_only = kind == Kind::SqliteReader;
    match kind {
        Kind::Postgres => {
            options.idle_timeout(Duration::from_secs(600));
        }
        Kind::SqliteWriter | Kind::SqliteReader => {
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
        }
    }
    options
}

/// With the hooks by which a pool's place watches its connection. One that was spoilt, or is in a transaction, is not used
/// again: what is begun next is the outermost transaction, always.
fn watched(mut options: ConnectOptions, kind: Kind, watch: &Arc<Watch>) -> ConnectOptions {
    let (sqlite, postgres) = (watch.clone(), watch.clone());
    options
        .map_sqlx_sqlite_pool_opts(move |pool| {
            let (opened, before, after) = (sqlite.clone(), sqlite.clone(), sqlite.clone());
            pool.after_connect(move |connection, _| Box::pin(watch::opened_sqlite(connection, opened.clone())))
                .before_acquire(move |connection, _| {
                    let is_good = before.is_good() && !connection.is_in_transaction();
                    Box::pin(async move { Ok(is_good) })
                })
                .after_release(move |connection, _| {
                    let is_good = after.is_good();
                    Box::pin(async move { Ok(is_good && (kind == Kind::SqliteReader || is_free(connection).await?)) })
                })
        })
        .map_sqlx_postgres_pool_opts(move |pool| {
            let (opened, before, after) = (postgres.clone(), postgres.clone(), postgres.clone());
            pool.after_connect(move |connection, _| Box::pin(watch::opened_postgres(connection, opened.clone())))
                .before_acquire(move |connection, _| {
                    let is_good = before.is_good() && !connection.is_in_transaction();
                    Box::pin(async move { Ok(is_good) })
                })
                .after_release(move |_, _| {
                    let is_good = after.is_good();
                    Box::pin(async move { Ok(is_good) })
                })
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
