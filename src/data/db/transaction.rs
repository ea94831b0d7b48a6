//! A transaction that writes. It is either committed whole, or nothing of it is there:
//!
//! - after a statement has failed, none follows and no commit: SQLite may have rolled back by itself (disk full, an
//!   interrupt), and what came next would be on its own; PostgreSQL answers the COMMIT of a failed transaction with
//!   ROLLBACK, and the driver calls that a success;
//! - BEGIN and COMMIT are waited for by a task of their own: a request that is given up between a statement and its answer
//!   would leave a PostgreSQL connection in a transaction that the driver knows nothing of, and a commit unannounced.

use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::{
    ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr, ExecResult, QueryResult, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait,
};
use sea_orm_migration::async_trait;
use tracing::Instrument as _;

use super::{Db, fail, fail_commit, pool::Lease};
use crate::base::error::{Error, Result};

/// An open transaction; dropped, it is rolled back.
pub struct Transaction {
    db: Db,
    inner: DatabaseTransaction,
    has_failed: AtomicBool,
    /// Given back once the transaction is over.
    lease: Lease,
}

impl Db {
    /// Begins a transaction that will write: `BEGIN IMMEDIATE` on SQLite, so that two writers wait instead of failing.
    /// Never one within another: no connection leaves the pool inside a transaction (see `connect`).
    pub(crate) async fn begin(&self) -> Result<Transaction> {
        let (db, lease) = (self.clone(), self.writer().lease().await.map_err(fail)?);
        let begin = async move {
            let options = TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..Default::default()
            };
            let begun = lease.connection().begin_with_options(options);
            let inner = lease.run_out(lease.text("BEGIN"), begun).await;
            let inner = inner.inspect_err(|error| db.store().failed(error)).map_err(fail)?;
            Ok(Transaction { db, inner, has_failed: AtomicBool::new(false), lease })
        };
        tokio::spawn(begin.in_current_span()).await.unwrap_or_else(|error| Err(Error::internal(error)))
    }
}

impl Transaction {
    /// Commits. UNAVAILABLE when the answer to COMMIT did not come: the write may have been made, or not.
    pub async fn commit(self) -> Result<()> {
        self.commit_then(|| ()).await
    }

    /// [`Transaction::commit`]; `then` runs once it is committed, even when nobody waits for the answer any more.
    pub async fn commit_then(self, then: impl FnOnce() + Send + 'static) -> Result<()> {
        let Self { db, inner, has_failed, lease } = self;
        if has_failed.into_inner() {
            return Err(Error::internal("a transaction of which a statement has failed can't be committed"));
        }
        let commit = async move {
            let committed = lease.run_out(lease.text("COMMIT"), inner.commit()).await;
            committed.inspect_err(|error| db.store().failed(error)).map_err(fail_commit)?;
            drop(lease);
            db.store().wrote();
            then();
            Ok(())
        };
        tokio::spawn(commit.in_current_span()).await.unwrap_or_else(|error| Err(Error::internal(error)))
    }

    fn refuse_after_failure(&self) -> std::result::Result<(), DbErr> {
        if self.has_failed.load(Ordering::Relaxed) {
            return Err(DbErr::Custom("an earlier statement of this transaction has failed".to_owned()));
        }
        Ok(())
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
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> std::result::Result<ExecResult, DbErr> {
        self.refuse_after_failure()?;
        self.noted(self.lease.run(self.lease.text(&statement.sql), self.inner.execute_raw(statement)).await)
    }

    async fn execute_unprepared(&self, sql: &str) -> std::result::Result<ExecResult, DbErr> {
        self.refuse_after_failure()?;
        self.noted(self.lease.run(self.lease.text(sql), self.inner.execute_unprepared(sql)).await)
    }

    async fn query_one_raw(&self, statement: Statement) -> std::result::Result<Option<QueryResult>, DbErr> {
        self.refuse_after_failure()?;
        self.noted(self.lease.run(self.lease.text(&statement.sql), self.inner.query_one_raw(statement)).await)
    }

    async fn query_all_raw(&self, statement: Statement) -> std::result::Result<Vec<QueryResult>, DbErr> {
        self.refuse_after_failure()?;
        self.noted(self.lease.run(self.lease.text(&statement.sql), self.inner.query_all_raw(statement)).await)
    }
}
