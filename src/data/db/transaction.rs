//! A transaction that writes. It is either committed whole, or nothing of it is there:
//!
//! - after a statement has failed, none follows and no commit: SQLite may have rolled back by itself (disk full, an
//!   interrupt), and what came next would be on its own; PostgreSQL answers the COMMIT of a failed transaction with
//!   ROLLBACK, and the driver calls that a success;
//! - BEGIN and COMMIT are waited for by a task of their own: a request that is given up between a statement and its answer
//!   would leave a PostgreSQL connection in a transaction that the driver knows nothing of, and a commit unannounced.

use std::{
    future::Future as _,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Waker},
    time::Duration,
};

use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr, ExecResult, QueryResult, Statement};
use sea_orm_migration::async_trait;
use tokio::{runtime::Handle, sync::Mutex, time::timeout};
use tracing::Instrument as _;

use super::{Db, fail, fail_commit, held::Held, pool::Lease};
use crate::base::error::{Error, Result};

/// How long a database may take to roll back, before its connection is closed.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);

/// An open transaction; dropped, it is rolled back.
pub struct Transaction {
    db: Db,
    /// None once it is over.
    open: Option<Open>,
    has_failed: AtomicBool,
}

/// What a transaction has as long as it is open.
struct Open {
    connection: Mutex<Held>,
    /// Given back once the transaction is over.
    lease: Lease,
}

impl Db {
    /// Begins a transaction that will write: `BEGIN IMMEDIATE` on SQLite, so that two writers wait instead of failing.
    /// Never one within another: no connection is given back inside a transaction.
    pub(crate) async fn begin(&self) -> Result<Transaction> {
        let (db, lease) = (self.clone(), self.writer().lease().await.map_err(fail)?);
        let begin = async move {
            let text = match db.backend() {
                DatabaseBackend::Sqlite => "BEGIN IMMEDIATE",
                _ => "BEGIN",
            };
            let begun = async {
                let mut held = lease.take().await?;
                held.execute_unprepared(text).await?;
                Ok(held)
            };
            let held = lease.run_out(lease.text("BEGIN"), begun).await;
            let held = held.inspect_err(|error| db.store().failed(error)).map_err(fail)?;
            let open = Some(Open { connection: Mutex::new(held), lease });
            Ok(Transaction { db, open, has_failed: AtomicBool::new(false) })
        };
        tokio::spawn(begin.in_current_span()).await.unwrap_or_else(|error| Err(Error::internal(error)))
    }
}

impl Open {
    /// Rolls back. Where that fails or is given up the connection is closed, which rolls back, too.
    async fn roll_back(self) {
        let Self { connection, lease } = self;
        let mut held = connection.into_inner();
        match lease.run(lease.text("ROLLBACK"), held.execute_unprepared("ROLLBACK")).await {
            Ok(_) => lease.keep(held),
            Err(_) => lease.give_up(),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        match Handle::try_current() {
            Ok(runtime) if open.lease.is_good() => {
                let mut roll_back = Box::pin(open.roll_back());
                // Sent now, so that what comes after finds nothing locked; the answer is waited for elsewhere.
                if roll_back.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                    runtime.spawn(timeout(ROLLBACK_TIMEOUT, roll_back));
                }
            }
            // A statement was given up: its connection is closed.
            Ok(_) => drop(open),
            Err(_) => open.connection.into_inner().close(),
        }
    }
}

impl Transaction {
    /// Commits. UNAVAILABLE when the answer to COMMIT did not come: the write may have been made, or not.
    pub async fn commit(self) -> Result<()> {
        self.commit_then(|| ()).await
    }

    /// [`Transaction::commit`]; `then` runs once it is committed, even when nobody waits for the answer any more.
    pub async fn commit_then(mut self, then: impl FnOnce() + Send + 'static) -> Result<()> {
        if self.has_failed.load(Ordering::Relaxed) {
            return Err(Error::internal("a transaction of which a statement has failed can't be committed"));
        }
        let db = self.db.clone();
        let Some(Open { connection, lease }) = self.open.take() else {
            return Err(Error::internal("a transaction that is over can't be committed"));
        };
        let commit = async move {
            let mut held = connection.into_inner();
            let committed = lease.run_out(lease.text("COMMIT"), held.execute_unprepared("COMMIT")).await;
            match committed {
                Ok(_) => lease.keep(held),
                Err(error) => {
                    // Whatever came of it: closed, its connection leaves nothing open.
                    lease.give_up();
                    db.store().failed(&error);
                    return Err(fail_commit(error));
                }
            }
            drop(lease);
            db.store().wrote();
            then();
            Ok(())
        };
        tokio::spawn(commit.in_current_span()).await.unwrap_or_else(|error| Err(Error::internal(error)))
    }

    /// What it works with, unless a statement of it has failed.
    fn open(&self) -> std::result::Result<&Open, DbErr> {
        if self.has_failed.load(Ordering::Relaxed) {
            return Err(DbErr::Custom("an earlier statement of this transaction has failed".to_owned()));
        }
        self.open.as_ref().ok_or_else(|| DbErr::Custom("the transaction is over".to_owned()))
    }

    fn noted<T>(&self, done: std::result::Result<T, DbErr>) -> std::result::Result<T, DbErr> {
        done.inspect_err(|error| {
            self.has_failed.store(true, Ordering::Relaxed);
            self.db.store().failed(error);
        })
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DatabaseBackend {
        self.db.backend()
    }

    async fn execute_raw(&self, statement: Statement) -> std::result::Result<ExecResult, DbErr> {
        let Open { connection, lease } = self.open()?;
        lease.observe(&statement);
        let text = lease.text(&statement.sql);
        self.noted(lease.run(text, async { connection.lock().await.execute(statement).await }).await)
    }

    async fn execute_unprepared(&self, sql: &str) -> std::result::Result<ExecResult, DbErr> {
        let Open { connection, lease } = self.open()?;
        let text = lease.text(sql);
        self.noted(lease.run(text, async { connection.lock().await.execute_unprepared(sql).await }).await)
    }

    async fn query_one_raw(&self, statement: Statement) -> std::result::Result<Option<QueryResult>, DbErr> {
        let Open { connection, lease } = self.open()?;
        lease.observe(&statement);
        let text = lease.text(&statement.sql);
        self.noted(lease.run(text, async { connection.lock().await.query_one(statement).await }).await)
    }

    async fn query_all_raw(&self, statement: Statement) -> std::result::Result<Vec<QueryResult>, DbErr> {
        let Open { connection, lease } = self.open()?;
        lease.observe(&statement);
        let text = lease.text(&statement.sql);
        self.noted(lease.run(text, async { connection.lock().await.query_all(statement).await }).await)
    }
}
