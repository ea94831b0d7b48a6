//! What a pool's connection knows of whoever uses it, so that a statement ends with whoever waits for it, or when it takes
//! too long: see [`super::pool`].

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sea_orm::sqlx;

use crate::base::priority;

/// How often a connection of one pool was opened, or may have to be.
pub(super) type Openings = Arc<AtomicU64>;

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
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// A connection that has just been opened begins anew.
    fn renew(&self) {
        self.number.store(self.openings.fetch_add(1, Ordering::AcqRel) + 1, Ordering::Release);
        self.given_up.store(false, Ordering::Release);
        self.deadline.store(0, Ordering::Relaxed);
    }

    /// Awaits a statement; dropped before that is done, it gives it up.
    pub(super) async fn run<T>(&self, statement: impl Future<Output = T>) -> T {
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
/// on with, and work whose client has gone. And it compiles no statement: that takes 30 ms and more where the planner expects
/// many rows, and none of ours runs so long.
pub(super) async fn opened_postgres(connection: &mut sqlx::PgConnection, watch: Arc<Watch>) -> sqlx::Result<()> {
    watch.renew();
    let limits = format!(
        "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}; SET jit = off",
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
