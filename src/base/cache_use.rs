//! How caches are used, for metrics.

use std::{
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering},
};

use moka::sync::Cache;

/// Looks into one cache since the start.
#[derive(Debug, Default)]
pub struct Looks {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// How a cache is at a moment.
#[derive(Clone, Copy, Debug)]
pub struct CacheUse {
    pub name: &'static str,
    pub entries: u64,
    /// Of a cache whose entries are weighed.
    pub bytes: Option<u64>,
    /// Looks since the start that found what could be used, and those that did not.
    pub hits: u64,
    pub misses: u64,
}

/// Whether a cache's entries are counted alone, or weighed in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Entries,
    Bytes,
}

impl Looks {
    /// Counts a look; passes on what it found.
    pub fn count<T>(&self, found: Option<T>) -> Option<T> {
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// With what is in the cache now.
    pub fn with<K, V>(&self, cache: &Cache<K, V>, name: &'static str, measure: Measure) -> CacheUse
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        // Otherwise what was put in, or has expired, a moment ago is not counted yet.
        cache.run_pending_tasks();
        CacheUse {
            name,
            entries: cache.entry_count(),
            bytes: (measure == Measure::Bytes).then(|| cache.weighted_size()),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}
