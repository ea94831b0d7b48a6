//! The only room with unscoped access to the database. What leaves it is sealed:
//!
//! - [`OrgScope`]: one organization, seen with one caller's rights; the only door to tenant tables;
//! - [`WriteTx`]: a write in that scope, with its events; [`AccountTx`]: a write about a person;
//! - [`Db::find`]: tables that no organization owns.

mod connect;
pub mod deliveries;
pub mod filter;
pub mod idempotency;
pub mod identity;
mod ledger;
pub mod operator;
pub mod page;
pub mod remembered;
mod retention;
mod scope;
pub mod usage;
mod write;

pub use connect::{ConnectError, Db, Observer};
pub use scope::{OrgScope, Scoped};
pub use write::{AccountTx, Committed, WriteTx, retrying};

use sea_orm::{DbErr, RuntimeErr, SqlErr, sqlx};

use crate::error::{Code, Error, Problem, ProblemCode, Refusal};

/// What a database error means. The text goes to the log; see [`Error`].
pub fn fail(error: DbErr) -> Error {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => {
            return Problem::new(ProblemCode::Taken, &[], "Already used by another object.").into();
        }
        // What it refers to went away meanwhile: the next try finds that out and says which it was.
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => return Error::Retry(error.to_string()),
        _ => {}
    }
    match &error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => unavailable(&error),
        DbErr::Exec(RuntimeErr::SqlxError(inner)) | DbErr::Query(RuntimeErr::SqlxError(inner)) => match &**inner {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => unavailable(&error),
            sqlx::Error::Database(refused) if gives_way(refused.code().as_deref()) => Error::Retry(error.to_string()),
            _ => Error::internal(error),
        },
        _ => Error::internal(error),
    }
}

/// The database's own code of an error.
fn sql_state(error: &DbErr) -> Option<String> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(inner)) | DbErr::Query(RuntimeErr::SqlxError(inner)) => {
            Some(inner.as_database_error()?.code()?.into_owned())
        }
        _ => None,
    }
}

fn unavailable(error: &DbErr) -> Error {
    tracing::error!(%error, "the database can't be reached");
    Refusal::new(Code::Unavailable, "The database can't be reached; try again shortly.").into()
}

/// PostgreSQL's serialization failure and deadlock; SQLite's busy and locked, with their extended forms. A foreign key
/// refused under RESTRICT has no `sql_err()` on SQLite: its code 787 comes here too.
fn gives_way(code: Option<&str>) -> bool {
    matches!(code, Some("40001" | "40P01" | "5" | "6" | "261" | "262" | "517" | "518" | "787" | "1811"))
}
