//! SQLite's file as a whole: copies of it, whether a copy is good, and whether anybody has it open. On connections of their
//! own, since what a pool's connection runs is held to the time that a statement may take.
//!
//! A copy is made by `VACUUM INTO`: one read transaction, so it shows one moment, and beside a write-ahead log no writer waits
//! for it; the log grows by what is written meanwhile. SQLite's backup interface begins anew whenever another process
//! writes, which a busy server does all the time.

use std::{collections::HashSet, path::Path, time::Duration};

use migration::{Migrator, MigratorTrait as _};
use sea_orm::sqlx::{
    self, Connection as _, Row as _,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};

/// Why a SQLite file can't be copied, checked or replaced; for the operator.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{0}")]
    Sqlite(#[from] sqlx::Error),
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it is no database of this server's")]
    Foreign,
    #[error("a server, or another program, has it open")]
    InUse,
}

/// What a checked file has.
#[derive(Debug)]
pub struct Contents {
    pub organizations: i64,
    pub items: i64,
}

/// How carefully a file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Every page and row: of what was just written here.
    Quick,
    /// Indexes against their tables, too.
    Whole,
}

/// How long a connection waits for whoever writes just then.
const PATIENCE: Duration = Duration::from_secs(30);

async fn open(file: &Path, is_read_only: bool, patience: Duration) -> sqlx::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false).busy_timeout(patience);
    SqliteConnection::connect_with(&options.read_only(is_read_only)).await
}

/// Bytes of a copy, about: what the database uses of its file now.
pub async fn size(database: &Path) -> Result<u64, FileError> {
    let mut connection = open(database, false, PATIENCE).await?;
    let ask = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, \
               pragma_page_size";
    let row = sqlx::query(ask).fetch_one(&mut connection).await?;
    let bytes = row.try_get::<i64, _>(0)?;
    connection.close().await?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

/// Writes the database as it is at one moment into `copy`, which is empty or not there. Not synced. Uses a few megabytes of
/// memory, whatever the size.
pub async fn copy_into(database: &Path, copy: &Path) -> Result<(), FileError> {
    let mut connection = open(database, false, PATIENCE).await?;
    let copy = copy.to_str().ok_or_else(|| sqlx::Error::Configuration("the file's name is not UTF-8".into()))?;
    sqlx::query("VACUUM INTO ?").bind(copy).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Reads all of a file that nobody writes to: whether SQLite finds it whole, and it is a database of this server's.
pub async fn check(file: &Path, look: Look) -> Result<Contents, FileError> {
    let mut connection = open(file, true, PATIENCE).await.map_err(damaged)?;
    let checked = check_over(&mut connection, look).await.map_err(|error| match error {
        FileError::Sqlite(error) => damaged(error),
        other => other,
    });
    connection.close().await?;
    checked
}

async fn check_over(connection: &mut SqliteConnection, look: Look) -> Result<Contents, FileError> {
    let tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('seaql_migrations', \
                  'organization', 'ledger_head', 'event')";
    if count(connection, tables).await? < 4 {
        return Err(FileError::Foreign);
    }
    let ask = if look == Look::Whole { "PRAGMA integrity_check(1)" } else { "PRAGMA quick_check(1)" };
    let found: String = sqlx::query(ask).fetch_one(&mut *connection).await?.try_get(0)?;
    if found != "ok" {
        return Err(FileError::Damaged(found));
    }
    let applied = sqlx::query("SELECT version FROM seaql_migrations").fetch_all(&mut *connection).await?;
    let applied: HashSet<String> = applied.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?;
    if !Migrator::migrations().iter().any(|step| applied.contains(step.name())) {
        return Err(FileError::Foreign);
    }
    Ok(Contents {
        organizations: count(connection, "SELECT count(*) FROM organization").await?,
        items: count(connection, "SELECT count(*) FROM item").await?,
    })
}

async fn count(connection: &mut SqliteConnection, ask: &'static str) -> sqlx::Result<i64> {
    sqlx::query(ask).fetch_one(connection).await?.try_get(0)
}

/// SQLite's "malformed" and "not a database" say that the file is to blame.
fn damaged(error: sqlx::Error) -> FileError {
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(26) => FileError::Foreign,
        Some(11) => FileError::Damaged(error.to_string()),
        _ => error.into(),
    }
}

/// Makes the database one file, its write-ahead log within it; [`FileError::InUse`] while anybody has it open.
pub async fn make_whole(database: &Path) -> Result<(), FileError> {
    let busy = |error: sqlx::Error| {
        let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
        if matches!(code.map(|code| code & 0xff), Some(5 | 6)) { FileError::InUse } else { damaged(error) }
    };
    let mut connection = open(database, false, Duration::from_secs(1)).await.map_err(damaged)?;
    // Leaving the log needs the file for oneself alone.
    let mode = sqlx::query("PRAGMA journal_mode = DELETE").fetch_one(&mut connection).await.map_err(busy)?;
    let mode: String = mode.try_get(0)?;
    connection.close().await?;
    if mode == "delete" { Ok(()) } else { Err(FileError::InUse) }
}
