//! A pool of connections of which everybody has a fair share ([`FairQueue`]), and whose statements end with whoever waits for
//! them.
//!
//! The driver lets a statement run on when its future is dropped: at a TIMEOUT, or because the client has gone. Here each
//! place of the pool has a [`Watch`] that its connection knows. A statement that is given up is interrupted on SQLite, by
//! the progress handler; on PostgreSQL its connection is closed, and the server, which looks at the connection while it
//! works, stops. Such a connection is never used again. A statement that takes longer than the limit is ended, too.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectionTrait, DatabaseBackend, DatabaseConnection, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, sqlx,
};
use sea_orm_migration::async_trait;
use tokio::sync::OnceCell;

use super::{
    connect::ConnectError,
    fairness::{Busy, Consumer, FairQueue, Permit},
    inspection::PoolUse,
    is_lost,
    statement_log::{StatementLog, Text},
};
use crate::base::priority;

/// What [`DbErr::Custom`] says when a share of the connections was not had in time.
pub(super) const BUSY: &str = "the share of the database's connections is used up";

/// What [`DbErr::Custom`] says when a statement ran on a connection that was opened too late: see
/// [`Connections::opened_by`].
pub(super) const NEWER: &str = "the connection is newer than what is known of its server";

/// Connections, each at a place of its own.
#[derive(Debug)]
pub(super) struct Pool {
    slots: Vec<Slot>,
    free: Mutex<Vec<usize>>,
    queue: FairQueue,
    log: StatementLog,
    openings: Openings,
}

/// How often a connection of one pool was opened, or may have to be.
pub(super) type Openings = Arc<AtomicU64>;

/// Where one connection is used at a time.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) usual: SlotConnection,
    /// For threads that give way ([`priority`]): SQLite works on a thread of the connection's own, which is like the one
    /// that opens it, so it can't be the usual one. One of the two is used at a time.
    pub(super) background: Option<LateConnection>,
}

/// A connection that whoever first needs it opens.
pub(super) struct LateConnection {
    opened: OnceCell<SlotConnection>,
    open: Open,
}

type Open = Box<dyn Fn() -> BoxFuture<'static, Result<SlotConnection, ConnectError>> + Send + Sync>;

impl LateConnection {
    pub(super) fn new(
        open: impl Fn() -> BoxFuture<'static, Result<SlotConnection, ConnectError>> + Send + Sync + 'static,
    ) -> Self {
        Self { opened: OnceCell::new(), open: Box::new(open) }
    }

    async fn opened(&self) -> Result<&SlotConnection, DbErr> {
        let failed = |error: ConnectError| DbErr::Conn(RuntimeErr::Internal(error.to_string()));
        self.opened.get_or_try_init(|| async { (self.open)().await.map_err(failed) }).await
    }
}

impl fmt::Debug for LateConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LateConnection").field(&self.opened).finish()
    }
}

/// A connection, as soon as it is needed.
#[derive(Debug)]
pub(super) struct SlotConnection {
    /// A pool of the driver's, of one connection.
    pub(super) connection: DatabaseConnection,
    pub(super) watch: Arc<Watch>,
}

/// What a connection knows of whoever uses it.
#[derive(Debug)]
pub(super) struct Watch {
    since: Instant,
    limit: Duration,
    /// Nobody waits any more for the statement that it runs.
    given_up: AtomicBool,
    /// When the statement that it runs has taken too long, in milliseconds after `since`; 0 without one.
    deadline: AtomicU64,
    /// Whether its statements are worked on by a thread of this process, for whoever waits.
    is_metered: bool,
    /// Counts its statements.
    statement: AtomicU64,
    /// What the present one has used of a processor, in nanoseconds, as far as the progress handler has seen it.
    used: AtomicU64,
    openings: Openings,
    /// Which of the pool's openings its connection's was.
    number: AtomicU64,
}

impl Watch {
    /// `limit`: how long a statement may take. `is_metered`: whether a thread of this process works on it meanwhile.
    pub(super) fn new(limit: Duration, is_metered: bool, openings: &Openings) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        let (given_up, deadline, statement, used, number) = (AtomicBool::new(false), zero(), zero(), zero(), zero());
        let (since, openings) = (Instant::now(), openings.clone());
        Arc::new(Self { since, limit, given_up, deadline, is_metered, statement, used, openings, number })
    }

    fn millis_after(&self, limit: Duration) -> u64 {
        u64::try_from((self.since.elapsed() + limit).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the statement that runs must end. Asked by the progress handler of SQLite, often.
    pub(super) fn must_stop(&self) -> bool {
        let deadline = self.deadline.load(Ordering::Relaxed);
        self.given_up.load(Ordering::Relaxed) || (deadline > 0 && self.millis_after(Duration::ZERO) >= deadline)
    }

    /// Notes how far the statement's thread has come since it was first seen at this statement: `first` is its number, and
    /// the thread's time then. Asked by the progress handler, on that thread.
    fn note_progress(&self, first: &mut (u64, Duration)) {
        if !self.is_metered {
            return;
        }
        let (statement, now) = (self.statement.load(Ordering::Relaxed), priority::time_of_thread());
        if first.0 == statement {
            let used = u64::try_from(now.saturating_sub(first.1).as_nanos()).unwrap_or(u64::MAX);
            self.used.store(used, Ordering::Relaxed);
        } else {
            *first = (statement, now);
        }
    }

    /// Whether its connection may be used again: no statement was given up on it.
    pub(super) fn is_good(&self) -> bool {
        !self.given_up.load(Ordering::Acquire)
    }

    /// Its connection is not used again.
    fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// A connection that has just been opened begins anew.
    fn renew(&self) {
        self.number.store(self.openings.fetch_add(1, Ordering::AcqRel) + 1, Ordering::Release);
        self.given_up.store(false, Ordering::Release);
        self.deadline.store(0, Ordering::Relaxed);
    }

    /// Awaits a statement; dropped before that is done, it gives it up.
    async fn run<T>(&self, statement: impl Future<Output = T>) -> T {
        struct GivesUp<'w>(&'w Watch, bool);
        impl Drop for GivesUp<'_> {
            fn drop(&mut self) {
                self.0.deadline.store(0, Ordering::Relaxed);
                self.0.given_up.fetch_or(!self.1, Ordering::AcqRel);
            }
        }
        let statement = pin!(statement);
        self.deadline.store(self.millis_after(self.limit), Ordering::Relaxed);
        // Dropped before the statement is: by the time its connection is given back, it is known to be spoilt.
        let mut running = GivesUp(self, false);
        self.used.store(0, Ordering::Relaxed);
        self.statement.fetch_add(1, Ordering::Relaxed);
        let done = statement.await;
        running.1 = true;
        priority::done_elsewhere(Duration::from_nanos(self.used.load(Ordering::Relaxed)));
        done
    }
}

/// After a SQLite connection was opened: lets the watch interrupt its statements.
pub(super) async fn opened_sqlite(connection: &mut sqlx::SqliteConnection, watch: Arc<Watch>) -> sqlx::Result<()> {
    /// Steps of SQLite's machine between two looks at the watch: ten microseconds, or some rows with long texts.
    const STEPS: i32 = 500;
    watch.renew();
    let mut first = (0, Duration::ZERO);
    connection.lock_handle().await?.set_progress_handler(STEPS, move || {
        watch.note_progress(&mut first);
        !watch.must_stop()
    });
    Ok(())
}

/// After a PostgreSQL connection was opened: the server ends statements that take too long, transactions that nobody goes
/// on with, and work whose client has gone.
pub(super) async fn opened_postgres(connection: &mut sqlx::PgConnection, watch: Arc<Watch>) -> sqlx::Result<()> {
    watch.renew();
    let limits = format!(
        "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}",
        watch.limit.as_millis(),
        IDLE_IN_TRANSACTION.as_millis()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(limits)).execute(&mut *connection).await?;
    // Not on every system that PostgreSQL runs on.
    let check = format!("SET client_connection_check_interval = {}", LOOK_AT_CLIENT.as_millis());
    if let Err(error) = sqlx::raw_sql(sqlx::AssertSqlSafe(check)).execute(connection).await {
        tracing::debug!(%error, "PostgreSQL does not look whether its client is there");
    }
    Ok(())
}

/// How long a PostgreSQL transaction may wait for its next statement.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(15);

/// How often PostgreSQL looks while it works whether anybody is there.
const LOOK_AT_CLIENT: Duration = Duration::from_millis(500);

impl Pool {
    /// `wait`: how long a consumer waits for a connection.
    pub(super) fn new(slots: Vec<Slot>, wait: Duration, log: StatementLog, openings: Openings) -> Self {
        let free = Mutex::new((0..slots.len()).collect());
        Self { queue: FairQueue::new(slots.len(), wait), free, slots, log, openings }
    }

    /// How many connections were opened so far, counting those that have since been closed. What is found out of a server
    /// after this was read holds for every connection that was open then, as long as that is: the server has not been
    /// another meanwhile, nor gone back.
    pub(super) fn opened(&self) -> u64 {
        self.openings.load(Ordering::Acquire)
    }

    /// A connection was lost, and so, after a restart of the server, is each that rests: they are opened anew, instead of
    /// each costing somebody an answer.
    fn renew_resting(&self) {
        self.openings.fetch_add(1, Ordering::AcqRel);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in free.iter().filter_map(|slot| self.slots.get(*slot)) {
            slot.usual.watch.give_up();
        }
    }

    /// Waits for connections in use, then closes.
    pub(super) async fn close(&self) {
        for line in self.slots.iter().flat_map(Slot::lines) {
            if let Err(error) = line.connection.close_by_ref().await {
                tracing::warn!(%error, "closing the database");
            }
        }
    }

    /// How it is at the moment, under a name.
    pub(super) fn in_use(&self, name: &'static str) -> PoolUse {
        let queue = self.queue.in_use();
        PoolUse {
            name,
            limit: self.slots.len(),
            open: self.slots.iter().flat_map(Slot::lines).filter(|line| line.is_open()).count(),
            in_use: self.slots.len() - queue.free,
            waiting: queue.waiting,
            waits: queue.waits,
            waited: queue.waited,
        }
    }

    /// Takes a free place: where a connection rests, rather than where one is about to be or must be opened.
    fn take_slot(&self) -> Option<usize> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let rested = free.iter().position(|slot| self.slots.get(*slot).is_some_and(Slot::has_rested));
        match rested {
            Some(position) => Some(free.remove(position)),
            None => free.pop(),
        }
    }
}

impl Slot {
    /// Whether the connection that this thread uses is open, and nobody's.
    fn has_rested(&self) -> bool {
        match self.background.as_ref().filter(|_| priority::gives_way()) {
            Some(background) => background.opened.get().is_some_and(SlotConnection::has_rested),
            None => self.usual.has_rested(),
        }
    }

    fn lines(&self) -> impl Iterator<Item = &SlotConnection> {
        let background = self.background.as_ref().and_then(|background| background.opened.get());
        std::iter::once(&self.usual).chain(background)
    }
}

impl SlotConnection {
    fn is_open(&self) -> bool {
        match self.connection.get_database_backend() {
            DatabaseBackend::Postgres => self.connection.get_postgres_connection_pool().size() > 0,
            _ => self.connection.get_sqlite_connection_pool().size() > 0,
        }
    }

    fn has_rested(&self) -> bool {
        match self.connection.get_database_backend() {
            DatabaseBackend::Postgres => self.connection.get_postgres_connection_pool().num_idle() > 0,
            _ => self.connection.get_sqlite_connection_pool().num_idle() > 0,
        }
    }
}

/// The pool as one consumer uses it: every statement has a connection as long as it runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    pool: Arc<Pool>,
    consumer: Consumer,
    /// The newest connection that will do: see [`Connections::opened_by`].
    newest: u64,
}

impl Connections {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, consumer: Consumer::Server, newest: u64::MAX }
    }

    /// The same pool for somebody else.
    pub(super) fn of(&self, consumer: Consumer) -> Self {
        Self { consumer, ..self.clone() }
    }

    /// The same share of another pool.
    pub(super) fn on(&self, pool: &Arc<Pool>) -> Self {
        Self { pool: pool.clone(), consumer: self.consumer, newest: u64::MAX }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The same, on connections alone that were open when [`Pool::opened`] said so many.
    pub(super) fn opened_by(&self, opened: u64) -> Self {
        Self { newest: opened, ..self.clone() }
    }

    /// Whether the server answers.
    pub(super) async fn ping(&self) -> Result<(), DbErr> {
        let lease = self.lease().await?;
        self.noted(&lease, lease.run(lease.text("ping"), lease.connection().ping()).await)
    }

    /// What came of a statement that is none of a transaction.
    fn noted<T>(&self, lease: &Lease, done: Result<T, DbErr>) -> Result<T, DbErr> {
        if done.as_ref().is_err_and(is_lost) {
            self.pool.renew_resting();
        }
        if done.is_ok() && lease.line().watch.number() > self.newest {
            return Err(DbErr::Custom(NEWER.to_owned()));
        }
        done
    }

    /// A connection, waited for in line.
    pub(super) async fn lease(&self) -> Result<Lease, DbErr> {
        let permit = self.pool.queue.take(self.consumer).await.map_err(|Busy| DbErr::Custom(BUSY.to_owned()))?;
        let slot = self.pool.take_slot().ok_or_else(|| DbErr::Custom("a share without a connection".to_owned()))?;
        let lease = Lease { pool: self.pool.clone(), slot, gives_way: priority::gives_way(), _permit: permit };
        if let Some(background) = lease.background() {
            background.opened().await?;
        }
        Ok(lease)
    }
}

/// One connection, until it is dropped. Within it one statement, or one transaction, runs at a time.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    slot: usize,
    /// Whether it is the connection for threads that give way.
    gives_way: bool,
    /// Given back after the place.
    _permit: Permit,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
    }
}

impl Lease {
    #[allow(clippy::indexing_slicing, reason = "places are made once, and numbered")]
    fn slot(&self) -> &Slot {
        &self.pool.slots[self.slot]
    }

    /// The connection for threads that give way, where it is that.
    fn background(&self) -> Option<&LateConnection> {
        self.slot().background.as_ref().filter(|_| self.gives_way)
    }

    fn line(&self) -> &SlotConnection {
        self.background().and_then(|background| background.opened.get()).unwrap_or(&self.slot().usual)
    }

    pub(super) fn connection(&self) -> &DatabaseConnection {
        &self.line().connection
    }

    /// Awaits a statement on this connection; dropped before that is done, it ends the statement and the connection.
    /// `text`: what [`Lease::text`] has kept of it.
    pub(super) async fn run<T>(
        &self,
        text: Text,
        statement: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        self.pool.log.follow(text, self.line().watch.run(statement)).await
    }

    /// Awaits BEGIN or COMMIT, which are not given up.
    pub(super) async fn run_out<T>(
        &self,
        text: Text,
        statement: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        self.pool.log.follow(text, statement).await
    }

    /// Of a statement that is about to run.
    pub(super) fn text(&self, sql: &str) -> Text {
        self.pool.log.text(sql)
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Connections {
    fn get_database_backend(&self) -> DatabaseBackend {
        self.pool.slots.first().map_or(DatabaseBackend::Sqlite, |slot| slot.usual.connection.get_database_backend())
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let lease = self.lease().await?;
        self.noted(&lease, lease.run(lease.text(&statement.sql), lease.connection().execute_raw(statement)).await)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let lease = self.lease().await?;
        self.noted(&lease, lease.run(lease.text(sql), lease.connection().execute_unprepared(sql)).await)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let lease = self.lease().await?;
        self.noted(&lease, lease.run(lease.text(&statement.sql), lease.connection().query_one_raw(statement)).await)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let lease = self.lease().await?;
        self.noted(&lease, lease.run(lease.text(&statement.sql), lease.connection().query_all_raw(statement)).await)
    }
}
