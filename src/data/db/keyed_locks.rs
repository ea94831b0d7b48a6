//! Turns: of writes that must not run at once in this process, the second waits here, before it takes a connection.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Who has the turn at each key, and who waits for it.
#[derive(Debug)]
pub(super) struct KeyedLocks<K: Eq + Hash>(Arc<Mutex<HashMap<K, Arc<AsyncMutex<()>>>>>);

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct KeyedLock<K: Eq + Hash> {
    turns: Arc<Mutex<HashMap<K, Arc<AsyncMutex<()>>>>>,
    key: K,
    line: Option<Arc<AsyncMutex<()>>>,
    held: Option<OwnedMutexGuard<()>>,
}

impl<K: Eq + Hash> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash + Clone> KeyedLocks<K> {
    /// Waits for the turn at `key`, for `limit` at most; `None` when that is over, or `waiting` wait already.
    pub(super) async fn take(&self, key: &K, waiting: usize, limit: Duration) -> Option<KeyedLock<K>> {
        let line = lock(&self.0).entry(key.clone()).or_default().clone();
        // The map's, the holder's two, and two of each who waits.
        let is_full = Arc::strong_count(&line) > 2 * (waiting + 1) + 2;
        let mut turn = KeyedLock { turns: self.0.clone(), key: key.clone(), line: Some(line.clone()), held: None };
        if is_full {
            return None;
        }
        turn.held = Some(tokio::time::timeout(limit, line.lock_owned()).await.ok()?);
        Some(turn)
    }
}

impl<K: Eq + Hash> Drop for KeyedLock<K> {
    fn drop(&mut self) {
        self.held = None;
        let mut lines = lock(&self.turns);
        self.line = None;
        if lines.get(&self.key).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
