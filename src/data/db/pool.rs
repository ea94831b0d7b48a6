//! A pool of connections of which everybody has a fair share ([`FairQueue`]), and whose statements end with whoever waits for
//! them.
//!
//! The driver lets a statement run on when its future is dropped: at a TIMEOUT, or because the client has gone. Here each
//! place of the pool has a [`Watch`](super::watch::Watch) that its connection knows. A statement that is given up is
//! interrupted on SQLite, by the progress handler; on PostgreSQL its connection is closed, and the server, which looks at the
//! connection while it works, stops. Such a connection is never used again. A statement that takes longer than the limit is
//! ended, too.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectionTrait, DatabaseBackend, DatabaseConnection, DbErr, ExecResult, QueryResult, RuntimeErr, Statement,
};
use sea_orm_migration::async_trait;
use tokio::sync::OnceCell;

use super::{
    connect::ConnectError,
    fairness::{Busy, Consumer, FairQueue, Permit},
    held::{Held, SlotConnection},
    inspection::PoolUse,
    is_lost,
    statement_log::{StatementLog, Text},
    watch::Openings,
};
use crate::base::priority;

/// What [`DbErr::Custom`] says when a share of the connections was not had in time.
pub(super) const BUSY: &str = "the share of the database's connections is used up";

/// What [`DbErr::Custom`] says when a statement ran on a connection that was opened too late: see
/// [`Connections::opened_by`].
pub(super) const NEWER: &str = "the connection is newer than what is known of its server";

/// How often connections are looked for that are held for too long.
const LOOK_FOR_DUE: Duration = Duration::from_secs(30);

/// Connections, each at a place of its own.
#[derive(Debug)]
pub(super) struct Pool {
    slots: Vec<Slot>,
    free: Mutex<Vec<usize>>,
    queue: FairQueue,
    log: StatementLog,
    openings: Openings,
}

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

impl Pool {
    /// `wait`: how long a consumer waits for a connection.
    pub(super) fn new(slots: Vec<Slot>, wait: Duration, log: StatementLog, openings: Openings) -> Arc<Self> {
        let free = Mutex::new((0..slots.len()).collect());
        let pool = Arc::new(Self { queue: FairQueue::new(slots.len(), wait), free, slots, log, openings });
        tokio::spawn(give_back_due(Arc::downgrade(&pool)));
        pool
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
            slot.usual.give_up();
        }
    }

    /// Waits for connections in use, then closes.
    pub(super) async fn close(&self) {
        for line in self.slots.iter().flat_map(Slot::lines) {
            if let Err(error) = line.close().await {
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

/// Gives connections that nobody uses back to the driver's pool when that is due: it closes those that rest too long.
async fn give_back_due(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(LOOK_FOR_DUE).await;
        let Some(pool) = pool.upgrade() else { return };
        for line in pool.slots.iter().flat_map(Slot::lines) {
            line.give_back(Held::is_due);
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
        let ping = lease.with(async |held: &mut Held| held.ping().await);
        self.noted(&lease, lease.run(lease.text("ping"), ping).await)
    }

    /// What came of a statement that is none of a transaction.
    fn noted<T>(&self, lease: &Lease, done: Result<T, DbErr>) -> Result<T, DbErr> {
        if done.as_ref().is_err_and(is_lost) {
            self.pool.renew_resting();
        }
        if done.is_ok() && lease.line().opening() > self.newest {
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

    pub(super) fn line(&self) -> &SlotConnection {
        self.background().and_then(|background| background.opened.get()).unwrap_or(&self.slot().usual)
    }

    /// The driver's pool, for what its own transactions do.
    pub(super) fn pooled(&self) -> &DatabaseConnection {
        self.line().pooled()
    }

    /// Takes the connection, for as long as the lease: [`Lease::keep`] holds it for the next one.
    pub(super) async fn take(&self) -> Result<Held, DbErr> {
        self.line().take().await
    }

    pub(super) fn keep(&self, connection: Held) {
        self.line().keep(connection);
    }

    /// The connection is not used again: closed, once it is given back.
    pub(super) fn give_up(&self) {
        self.line().give_up();
    }

    pub(super) fn is_good(&self) -> bool {
        self.line().is_good()
    }

    pub(super) fn observe(&self, statement: &Statement) {
        self.line().observe(statement);
    }

    /// Runs one statement. After a failure the driver's pool looks at the connection.
    async fn with<T>(&self, statement: impl AsyncFnOnce(&mut Held) -> Result<T, DbErr>) -> Result<T, DbErr> {
        let mut held = self.take().await?;
        let done = statement(&mut held).await?;
        self.keep(held);
        Ok(done)
    }

    /// Awaits a statement on this connection; dropped before that is done, it ends the statement and the connection.
    /// `text`: what [`Lease::text`] has kept of it.
    pub(super) async fn run<T>(
        &self,
        text: Text,
        statement: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        self.pool.log.follow(text, self.line().run(statement)).await
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
        self.pool.slots.first().map_or(DatabaseBackend::Sqlite, |slot| slot.usual.backend())
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let lease = self.lease().await?;
        lease.observe(&statement);
        let text = lease.text(&statement.sql);
        let run = lease.with(async |held: &mut Held| held.execute(statement).await);
        self.noted(&lease, lease.run(text, run).await)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let lease = self.lease().await?;
        let run = lease.with(async |held: &mut Held| held.execute_unprepared(sql).await);
        self.noted(&lease, lease.run(lease.text(sql), run).await)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let lease = self.lease().await?;
        lease.observe(&statement);
        let text = lease.text(&statement.sql);
        let run = lease.with(async |held: &mut Held| held.query_one(statement).await);
        self.noted(&lease, lease.run(text, run).await)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let lease = self.lease().await?;
        lease.observe(&statement);
        let text = lease.text(&statement.sql);
        let run = lease.with(async |held: &mut Held| held.query_all(statement).await);
        self.noted(&lease, lease.run(text, run).await)
    }
}
