//! Buckets of this instance.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    Holder,
    bucket::{Bucket, Level},
};

/// Callers that take at the same time rarely meet at one lock.
const SHARDS: usize = 32;
/// Buckets of a shard before it first looks for ones that nothing is used of.
const SPARE: usize = 512;

/// Buckets by their holder. Only those are kept of which something is used: the rest are as good as new.
#[derive(Debug)]
pub struct Memory {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug)]
struct Shard {
    buckets: HashMap<Holder, Kept>,
    /// How many there may be before unused ones are dropped.
    room: usize,
}

#[derive(Debug)]
struct Kept {
    bucket: Bucket,
    capacity: u32,
}

impl Default for Memory {
    fn default() -> Self {
        let shard = |_| Mutex::new(Shard { buckets: HashMap::new(), room: SPARE });
        Self { hasher: RandomState::new(), shards: std::array::from_fn(shard) }
    }
}

impl Memory {
    /// Takes points, or gives back: see [`Bucket::take`].
    pub fn take(&self, holder: Holder, capacity: u32, points: i64, now: i64) -> (bool, Level) {
        let mut shard = self.shard(&holder);
        shard.make_room(now);
        let kept = shard.buckets.entry(holder).or_insert(Kept { bucket: Bucket::default(), capacity });
        kept.capacity = capacity;
        let granted = kept.bucket.take(capacity, points, now);
        (granted, Level::new(capacity, kept.bucket.used))
    }

    /// What a bucket holds, as far as this instance knows.
    pub fn level(&self, holder: &Holder, capacity: u32, now: i64) -> Level {
        let mut bucket = self.shard(holder).buckets.get(holder).map_or_else(Bucket::default, |kept| kept.bucket);
        bucket.leak(capacity, now);
        Level::new(capacity, bucket.used)
    }

    /// Notes what was learned of a bucket elsewhere.
    pub fn note(&self, holder: Holder, bucket: Bucket, capacity: u32) {
        let mut shard = self.shard(&holder);
        shard.make_room(bucket.at);
        shard.buckets.insert(holder, Kept { bucket, capacity });
    }

    /// Buckets kept.
    pub fn len(&self) -> usize {
        let count = |shard: &Mutex<Shard>| shard.lock().unwrap_or_else(PoisonError::into_inner).buckets.len();
        self.shards.iter().map(count).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, holder: &Holder) -> MutexGuard<'_, Shard> {
        let place = self.hasher.hash_one(holder) % SHARDS as u64;
        #[allow(clippy::cast_possible_truncation, reason = "less than SHARDS")]
        self.shards[place as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Drops what is as good as new once there are twice as many as were left the last time: what that costs is shared
    /// by all the takes in between.
    fn make_room(&mut self, now: i64) {
        if self.buckets.len() < self.room {
            return;
        }
        self.buckets.retain(|_, kept| {
            kept.bucket.leak(kept.capacity, now);
            kept.bucket.used > 0
        });
        self.room = (self.buckets.len() * 2).max(SPARE);
    }
}
