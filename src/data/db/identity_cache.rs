//! Identities cached for a moment, so that a busy caller isn't looked up with every request.
//!
//! What was read may be used for a configured time, a second at most: that is how late another instance notices a
//! revoked key or a lowered role. On this instance it is noticed at once: every write that may change rights ends a
//! generation, and what was read in an earlier one counts no more.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;

use super::{
    Db,
    identity::{Identified, OrganizationChoice},
};
use crate::base::{
    cache_use::{CacheUse, Looks, Measure},
    clock::Instant,
    error::Result,
    id::SessionId,
};

/// Identities held at most; the least used go first.
const CAPACITY: u64 = 20_000;

/// How long an entry nobody reads any more takes memory. Its age is judged when it is read, by the server's clock.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// What an identity was read for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKey {
    /// A session, with the organization that the request named.
    Session(SessionId, Option<OrganizationChoice>),
    /// The look-up part of a key; the secret is compared each time.
    ApiKey(String),
}

#[derive(Clone, Debug)]
pub(super) struct IdentityCache {
    entries: Cache<CredentialKey, Entry>,
    generation: Arc<AtomicU64>,
    life: Duration,
    looks: Arc<Looks>,
}

#[derive(Clone, Debug)]
struct Entry {
    identified: Identified,
    generation: u64,
    read_at: Instant,
}

impl IdentityCache {
    /// `life` zero: nothing is cached.
    pub(super) fn new(life: Duration) -> Self {
        let capacity = if life.is_zero() { 0 } else { CAPACITY };
        let entries = Cache::builder().max_capacity(capacity).time_to_live(KEPT_FOR).build();
        Self { entries, generation: Arc::default(), life, looks: Arc::default() }
    }

    /// After a commit that may have changed who may do what.
    pub(super) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

impl Db {
    /// Identities read before now count no more: another instance may have changed rights.
    pub fn forget_identities(&self) {
        self.identities().forget();
    }

    /// How the cache of identities is used.
    pub fn identity_cache_use(&self) -> CacheUse {
        let memory = self.identities();
        memory.looks.with(&memory.entries, "identities", Measure::Entries)
    }

    /// What was read for `key` a moment ago, else what `read` finds. Nobody is not cached.
    pub async fn cached_identity<R>(&self, key: CredentialKey, read: impl FnOnce() -> R) -> Result<Option<Identified>>
    where
        R: Future<Output = Result<Option<Identified>>>,
    {
        let memory = self.identities();
        // Before the read: a write that commits meanwhile makes what was read old.
        let generation = memory.generation.load(Ordering::SeqCst);
        let now = self.clock().now();
        let fresh = |entry: &Entry| {
            let age = now - entry.read_at;
            entry.generation == generation
                && age >= chrono::Duration::zero()
                && age.to_std().is_ok_and(|age| age <= memory.life)
        };
        if let Some(entry) = memory.looks.count(memory.entries.get(&key).filter(fresh)) {
            return Ok(Some(entry.identified));
        }
        // Boxed: it is large, and most requests carry it for nothing.
        let identified = Box::pin(read()).await?;
        if let Some(identified) = &identified {
            memory.entries.insert(key, Entry { identified: identified.clone(), generation, read_at: now });
        }
        Ok(identified)
    }
}
