//! How long a stream may go on: as long as the session behind it stands and the credential has not expired. What changes
//! rights inside an organization is in its ledger, which every stream reads anyway; sessions are not, so they are asked
//! after here.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio_util::sync::CancellationToken;

use crate::{
    base::{clock::Instant, error::Result, id::SessionId},
    data::db::Db,
};

/// Leases that are held. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Leases(Arc<Inner>);

#[derive(Default)]
struct Inner {
    held: Mutex<HashMap<u64, Held>>,
    next: AtomicU64,
}

struct Held {
    session_id: Option<SessionId>,
    expires_at: Option<Instant>,
    ended: CancellationToken,
}

/// A right to go on; given back when dropped.
pub struct Lease {
    number: u64,
    leases: Leases,
    ended: CancellationToken,
}

impl Lease {
    /// Cancelled when it has ended.
    pub fn token(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// After the credential has been looked at again.
    pub fn renew(&self, expires_at: Option<Instant>) {
        if let Some(held) = self.leases.held().get_mut(&self.number) {
            held.expires_at = expires_at;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.held().remove(&self.number);
    }
}

impl Leases {
    pub fn grant(&self, session_id: Option<SessionId>, expires_at: Option<Instant>) -> Lease {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let ended = CancellationToken::new();
        self.held().insert(number, Held { session_id, expires_at, ended: ended.clone() });
        Lease { number, leases: self.clone(), ended }
    }

    /// Ends those that have expired, or whose session has ended.
    pub async fn check(&self, db: &Db) -> Result<()> {
        let now = db.clock().now();
        let mut sessions: Vec<SessionId> = Vec::new();
        for held in self.held().values() {
            if held.expires_at.is_some_and(|end| end <= now) {
                held.ended.cancel();
            } else {
                sessions.extend(held.session_id);
            }
        }
        if sessions.is_empty() {
            return Ok(());
        }
        sessions.sort_unstable();
        sessions.dedup();
        let alive = db.sessions_alive(&sessions).await?;
        let ended = |session_id: &SessionId| sessions.binary_search(session_id).is_ok() && !alive.contains(session_id);
        for held in self.held().values().filter(|held| held.session_id.as_ref().is_some_and(ended)) {
            held.ended.cancel();
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
