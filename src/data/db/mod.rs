//! The only room with unscoped access to the database. What leaves it is sealed:
//!
//! - [`OrgScope`]: one organization, seen with one caller's rights; the only way to tenant tables;
//! - [`WriteTx`]: a write in that scope, with its events; [`AccountTx`]: a write about a person;
//! - [`Db::find`]: tables that no organization owns.
//!
//! Every write is one [`Transaction`].

mod account_write;
pub mod backup;
mod connect;
mod deletion;
pub mod deliveries;
mod erasure;
pub mod export;
mod fairness;
pub mod filter;
mod graph;
pub mod groups;
mod held;
pub mod idempotency;
pub mod identity;
pub mod identity_cache;
pub mod inspection;
pub mod jobs;
mod keyed_locks;
pub mod ledger;
mod lifecycle;
pub mod operator;
pub mod ordered_link;
pub mod page;
mod pool;
mod ranks;
mod references;
mod replica;
pub mod retention;
pub mod schema;
mod scope;
pub mod sealed;
pub mod search;
mod statement_log;
mod store;
mod transaction;
pub mod usage;
mod watch;
mod write;

pub use account_write::AccountTx;
pub use connect::{ConnectError, Db, Observer};
pub use fairness::Consumer;
pub use lifecycle::{at_version, changed, id_taken};
pub use pool::Connections;
pub use references::{KnownAt, ReferenceVersion};
pub use replica::ReadFrom;
pub use scope::{OrgScope, Scoped};
pub use store::{Health, RETRY_EVERY};
pub use transaction::Transaction;
pub use write::{Committed, WriteTx, retrying};

use sea_orm::{DbErr, RuntimeErr, SqlErr, sqlx};

use crate::base::error::{Code, Error, Problem, ProblemCode, Refusal};

/// What a database error means. The text goes to the log; see [`Error`].
pub fn fail(error: DbErr) -> Error {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => {
            return Problem::new(ProblemCode::Taken, &[], "Already used by another object.").into();
        }
        // What it refers to went away meanwhile: the next try finds that out and says which it was.
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => return Error::retry(error),
        _ => {}
    }
    match store::fault(&error) {
        Some(Health::Full) => {
            return refused(&error, "The server's storage is full; nothing was written. Try again later.");
        }
        Some(_) => return refused(&error, UNREACHABLE),
        None => {}
    }
    match &error {
        DbErr::Custom(text) if text == pool::BUSY => busy(),
        // Of a replica alone: whoever asked it asks again.
        DbErr::Custom(text) if text == pool::NEWER => Refusal::new(Code::Unavailable, UNREACHABLE).into(),
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => refused(&error, UNREACHABLE),
        DbErr::Exec(RuntimeErr::SqlxError(inner)) | DbErr::Query(RuntimeErr::SqlxError(inner)) => match &**inner {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => refused(&error, UNREACHABLE),
            sqlx::Error::Database(code) if took_too_long(code.code().as_deref()) => {
                tracing::error!(%error, "a statement took too long");
                Refusal::new(Code::Timeout, "The database took too long; ask for less.").into()
            }
            sqlx::Error::Database(code) if is_transient(code.code().as_deref()) => Error::retry(error),
            _ => Error::internal(error),
        },
        _ => Error::internal(error),
    }
}

/// What an error in answer to COMMIT means. Where the database did not refuse it in so many words (the connection was
/// lost, a disk failed) the write may have been made all the same: that is UNAVAILABLE, and never tried again here, since
/// it could then be made twice.
fn fail_commit(error: DbErr) -> Error {
    let is_lost = sql_state(&error).is_none() || store::fault(&error) == Some(Health::Failing);
    if is_lost {
        return refused(
            &error,
            "The database did not confirm the write, which may have been made or not. Look before you repeat it, or \
             repeat it under the same Idempotency-Key.",
        );
    }
    fail(error)
}

const UNREACHABLE: &str = "The database can't be reached; try again shortly.";

fn refused(error: &DbErr, message: &'static str) -> Error {
    tracing::error!(%error, "the database can't be used");
    Refusal::new(Code::Unavailable, message).into()
}

/// The database's own code of an error.
fn sql_state(error: &DbErr) -> Option<String> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner))
        | DbErr::Conn(RuntimeErr::SqlxError(inner)) => Some(inner.as_database_error()?.code()?.into_owned()),
        _ => None,
    }
}

/// Whether an error says that the connection is gone, and nothing of the statement.
fn is_lost(error: &DbErr) -> bool {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner))
        | DbErr::Conn(RuntimeErr::SqlxError(inner)) => match &**inner {
            sqlx::Error::Io(_) => true,
            // PostgreSQL ends its connections: it is told to stop, another of its processes has crashed.
            sqlx::Error::Database(cause) => matches!(cause.code().as_deref(), Some("57P01" | "57P02")),
            _ => false,
        },
        _ => false,
    }
}

fn busy() -> Error {
    let message = "Too much of this caller's, or of this organization's, waits for the database; try again shortly.";
    Refusal::new(Code::Unavailable, message).details(serde_json::json!({ "retryAfterSeconds": 1 })).into()
}

/// PostgreSQL's `query_canceled`, SQLite's `interrupt`: see [`pool`].
fn took_too_long(code: Option<&str>) -> bool {
    matches!(code, Some("57014" | "9"))
}

/// PostgreSQL's serialization failure and deadlock; SQLite's busy and locked, with their extended forms. A foreign key
/// refused under RESTRICT has no `sql_err()` on SQLite: its code 787 comes here too.
fn is_transient(code: Option<&str>) -> bool {
    matches!(code, Some("40001" | "40P01" | "5" | "6" | "261" | "262" | "517" | "518" | "787" | "1811"))
}
