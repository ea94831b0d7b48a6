//! Whether the store takes writes. What writes meet is noted; readiness asks, and where nothing was written lately a probe
//! finds out. Reads are not concerned: they go on while the disk is full.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{ActiveValue::Set, DbErr, RuntimeErr, prelude::*, sqlx};

use super::{Db, fail};
use crate::{base::error::Result, data::entity::store_probe};

/// How long a write that succeeded says that others will.
const FRESH: Duration = Duration::from_secs(5);

/// How often it is tried, at most, whether a store that failed takes writes again.
pub const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How long a probe may take. A store that nobody can write to for so long is failing, whatever holds it.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// Bytes that a store which failed must take before it counts as well again. Small changes may still find room in pages
/// that are there, while whatever needs a new one fails.
const ROOM: usize = 256 * 1024;

/// What writes meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Ok,
    /// No room: the disk, a quota, PostgreSQL's `disk_full`.
    Full,
    /// Anything else: I/O errors, a read-only file or server, nobody there.
    Failing,
}

impl Health {
    /// As readiness has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Full => "full",
            Self::Failing => "failing",
        }
    }
}

/// What is known of the store, of one [`Db`].
#[derive(Debug)]
pub(super) struct Store {
    seen: Mutex<Seen>,
    /// One probe at a time; who waits for it takes its word.
    probing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    health: Health,
    /// When a write last succeeded, or while it fails, when it was last tried.
    at: Option<Instant>,
}

impl Default for Store {
    fn default() -> Self {
        Self { seen: Mutex::new(Seen { health: Health::Ok, at: None }), probing: tokio::sync::Mutex::default() }
    }
}

impl Store {
    /// A write has been committed. That does not make a failing store well: see [`ROOM`].
    pub(super) fn wrote(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.health == Health::Ok {
            seen.at = Some(Instant::now());
        }
    }

    /// A statement, BEGIN or COMMIT has failed: notes it where that is the store's doing.
    pub(super) fn failed(&self, error: &DbErr) {
        if let Some(health) = fault(error) {
            self.becomes(health, &error.to_string());
        }
    }

    fn becomes(&self, health: Health, cause: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *seen, Seen { health, at: Some(Instant::now()) }).health;
        drop(seen);
        match health {
            _ if before == health => {}
            Health::Ok => tracing::info!("the database takes writes again"),
            Health::Full => tracing::error!(
                cause,
                "the database is full: writes are refused, reads go on, /health/ready is 503. Make room on its disk; \
                 the server notices by itself"
            ),
            Health::Failing => tracing::error!(
                cause,
                "the database takes no writes: they are refused, reads go on, /health/ready is 503. See to its disk or \
                 server; this server notices by itself when it is well"
            ),
        }
    }

    /// What is known, unless it is too old to go by.
    fn known(&self) -> Option<Health> {
        let Seen { health, at } = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = if health == Health::Ok { FRESH } else { RETRY_EVERY };
        at.filter(|at| at.elapsed() < holds).map(|_| health)
    }
}

impl Db {
    /// What writes met last. Asks nobody.
    pub fn last_known_health(&self) -> Health {
        self.store().seen.lock().unwrap_or_else(PoisonError::into_inner).health
    }

    /// Whether writes are taken: as the last write found, or by a probe when that was a while ago.
    pub async fn health(&self) -> Health {
        if let Some(known) = self.store().known() {
            return known;
        }
        let _one = self.store().probing.lock().await;
        if let Some(known) = self.store().known() {
            return known;
        }
        let room = if self.last_known_health() == Health::Ok { 0 } else { ROOM };
        match tokio::time::timeout(PROBE_LIMIT, self.probe(room)).await {
            Ok(Ok(())) => self.store().becomes(Health::Ok, ""),
            // Its statements have noted a full disk and the like; what else failed is no better.
            Ok(Err(error)) if self.store().known().is_none_or(|known| known == Health::Ok) => {
                self.store().becomes(Health::Failing, &error.describe());
            }
            Ok(Err(_)) => {}
            Err(_) => self.store().becomes(Health::Failing, "a write did not come to an end within 5 s"),
        }
        self.last_known_health()
    }

    /// Tries a store that fails, so that it is known to be well soon after it is, although nobody asks.
    pub async fn watch_store(&self) {
        if self.last_known_health() != Health::Ok {
            self.health().await;
        }
    }

    /// Commits a row of `room` bytes and its end: pages are taken and written, and nothing stays.
    async fn probe(&self, room: usize) -> Result<()> {
        let id = self.clock().new_uuid();
        let mut filler = vec![0; room];
        // PostgreSQL would compress anything regular.
        fastrand::fill(&mut filler);
        let tx = self.begin().await?;
        let row = store_probe::ActiveModel { id: Set(id), filler: Set(filler) };
        #[allow(clippy::disallowed_methods, reason = "a table of the store's own")]
        store_probe::Entity::insert(row).exec_without_returning(&tx).await.map_err(fail)?;
        #[allow(clippy::disallowed_methods, reason = "a table of the store's own")]
        store_probe::Entity::delete_by_id(id).exec(&tx).await.map_err(fail)?;
        tx.commit().await
    }
}

/// What an error says of the store; `None` for one that is the statement's own, or a pool's that is busy.
pub(super) fn fault(error: &DbErr) -> Option<Health> {
    let (DbErr::Exec(RuntimeErr::SqlxError(inner))
    | DbErr::Query(RuntimeErr::SqlxError(inner))
    | DbErr::Conn(RuntimeErr::SqlxError(inner))) = error
    else {
        return None;
    };
    match &**inner {
        sqlx::Error::Database(refused) => fault_of(&refused.code()?),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Some(Health::Failing)
        }
        _ => None,
    }
}

/// By the database's own code: five characters are PostgreSQL's, a smaller number is SQLite's, with its extended forms.
fn fault_of(code: &str) -> Option<Health> {
    if code.len() == 5 {
        return match code {
            "53100" => Some(Health::Full),
            // A server that is read-only (a standby), starts or stops.
            "25006" | "57P01" | "57P02" | "57P03" => Some(Health::Failing),
            // Connection exceptions, insufficient resources, errors of the system.
            _ if ["08", "53", "58"].contains(&&code[..2]) => Some(Health::Failing),
            _ => None,
        };
    }
    match code.parse::<u32>().ok()? & 0xff {
        13 => Some(Health::Full),
        // Read-only, an I/O error, corrupt, can't be opened, no database.
        8 | 10 | 11 | 14 | 26 => Some(Health::Failing),
        _ => None,
    }
}
