//! Schema steps: which are missing, and applying them. One process applies, others wait for it; all of a release's steps
//! are one transaction, so that a process that dies half-way leaves nothing.
//!
//! Steps of a newer release, which this one does not know, are no matter: a step tolerates the release before it, so that
//! instances of both run beside each other while one replaces the other, or goes back.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use migration::{
    IntoSchemaManagerConnection, MigrationTrait, Migrator, MigratorTrait, SchemaManager, seaql_migrations,
};
use sea_orm::{
    ActiveValue::Set, DatabaseBackend, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait, prelude::*,
};

use super::{Db, is_transient, pool::Lease, sql_state};

/// One key for each schema of a database.
const LOCK: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('todo-platform migrates ' || coalesce(current_schema(), ''), 0))";

/// PostgreSQL: the lock was not free in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// How the steps that a database has had compare to those of this release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Applied, of this release.
    pub applied: usize,
    /// Of this release, not applied.
    pub missing: Vec<String>,
    /// Applied by a newer release.
    pub unknown: Vec<String>,
}

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "another process holds the schema, and after {} it was not done (TODO_DATABASE_MIGRATION_WAIT); see what it \
         does, then start again",
        humantime::format_duration(*.0)
    )]
    Busy(Duration),
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl Db {
    /// Brings the schema up to date; the names of the steps that this call applied. Waits up to `wait` for another process
    /// that does it.
    pub async fn migrate(&self, wait: Duration) -> Result<Vec<String>, MigrateError> {
        if self.pending_migrations().await?.is_empty() {
            return Ok(Vec::new());
        }
        let lease = self.writer().lease().await?;
        let tx = self.begin_alone(&lease, wait).await?;
        let mut applied = Vec::new();
        Migrator::install(&tx).await?;
        // Whoever was faster has left less to do, or nothing.
        for step in missing(&tx).await? {
            step.up(&SchemaManager::new(&tx)).await?;
            let row = seaql_migrations::ActiveModel {
                version: Set(step.name().to_owned()),
                applied_at: Set(self.clock().now().timestamp()),
            };
            #[allow(clippy::disallowed_methods, reason = "the list of steps, which is no entity of ours")]
            seaql_migrations::Entity::insert(row).exec_without_returning(&tx).await?;
            applied.push(step.name().to_owned());
        }
        tx.commit().await?;
        Ok(applied)
    }

    /// A transaction that no other process's migration runs beside.
    async fn begin_alone(&self, lease: &Lease, wait: Duration) -> Result<DatabaseTransaction, MigrateError> {
        let until = Instant::now() + wait;
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        // SQLite: who writes is alone, and the driver waits five seconds for that at a time.
        let tx = loop {
            match lease.pooled().begin_with_options(options).await {
                Ok(tx) => break tx,
                Err(error) if is_transient(sql_state(&error).as_deref()) && Instant::now() < until => {
                    tracing::info!("another process writes to the database; waiting to migrate it");
                }
                Err(error) if is_transient(sql_state(&error).as_deref()) => return Err(MigrateError::Busy(wait)),
                Err(error) => return Err(error.into()),
            }
        };
        if self.backend() == DatabaseBackend::Postgres {
            // The limit also holds for the steps: one that waits for a table holds up everybody who comes after it.
            let limits = format!("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {}", wait.as_millis());
            tx.execute_unprepared(&limits).await?;
            match tx.execute_unprepared(LOCK).await {
                Err(error) if sql_state(&error).as_deref() == Some(LOCK_NOT_AVAILABLE) => {
                    return Err(MigrateError::Busy(wait));
                }
                locked => locked?,
            };
        }
        Ok(tx)
    }

    /// Names of the schema steps that this database lacks.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, DbErr> {
        let lease = self.reader().lease().await?;
        Ok(missing(lease.pooled()).await?.iter().map(|step| step.name().to_owned()).collect())
    }

    /// The steps that this database has had, beside those of this release.
    pub async fn schema_steps(&self) -> Result<Steps, DbErr> {
        let lease = self.reader().lease().await?;
        let mut applied = applied(lease.pooled()).await?;
        let mut steps = Steps::default();
        for step in Migrator::migrations() {
            if applied.remove(step.name()) {
                steps.applied += 1;
            } else {
                steps.missing.push(step.name().to_owned());
            }
        }
        steps.unknown = applied.into_iter().collect();
        steps.unknown.sort();
        Ok(steps)
    }
}

/// The steps of this release that have not been applied, in order. Applied ones that it does not know are left alone.
async fn missing<'c>(connection: impl IntoSchemaManagerConnection<'c>) -> Result<Vec<Box<dyn MigrationTrait>>, DbErr> {
    let applied = applied(connection).await?;
    Ok(Migrator::migrations().into_iter().filter(|step| !applied.contains(step.name())).collect())
}

/// Names of the steps that have been applied, by whichever release.
async fn applied<'c>(connection: impl IntoSchemaManagerConnection<'c>) -> Result<HashSet<String>, DbErr> {
    let manager = SchemaManager::new(connection);
    let mut applied = HashSet::new();
    if manager.has_table(seaql_migrations::Entity.table_name()).await? {
        #[allow(clippy::disallowed_methods, reason = "the list of steps, which is no entity of ours")]
        let rows = seaql_migrations::Entity::find().all(manager.get_connection()).await?;
        applied.extend(rows.into_iter().map(|row| row.version));
    }
    Ok(applied)
}
