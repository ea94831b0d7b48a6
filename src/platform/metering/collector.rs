//! Counts requests in memory and writes the sums in batches. A request only adds to a map under a lock that is held for
//! some hundred nanoseconds: it never waits for the database.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta};
use tokio::sync::{Mutex as AsyncMutex, Notify};

use super::{buckets::bucket_of, calendar::Zone};
use crate::{
    base::{
        clock::Instant,
        enums::UsageSpan,
        error::Result,
        id::{ApiKeyId, OrganizationId},
    },
    data::{
        db::{Db, OrgScope},
        entity::{ActorRef, usage},
    },
};

/// How long sums stay in memory at most, while the database answers.
pub const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// Sums that are written at once, without waiting for [`FLUSH_EVERY`].
const BATCH: usize = 10_000;
/// Sums kept while the database is away. Requests that would need another one are not counted; the log says how many.
const MOST: usize = 2 * BATCH;
/// Names of operations told apart in one organization within an hour. Clients make them up, so there must be an end.
const OPERATIONS: usize = 200;
/// Names of operations held in memory, of all organizations.
const ALL_OPERATIONS: usize = 20_000;
/// Characters of an operation's name.
const NAME_LENGTH: usize = 100;
/// API keys whose use is held in memory.
const KEYS: usize = 10_000;
/// How far apart notes of a key's use are.
const KEY_USE_APART: TimeDelta = TimeDelta::seconds(60);
/// All zones' hours begin at one of these, in seconds.
const QUARTER: i64 = 900;
/// What stands for operations beyond those told apart. No operation can be named so.
pub const OTHER: &str = "(other)";

/// What was measured of one request.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// The operation's name, or what stands for it.
    pub operation: &'a str,
    /// Points.
    pub cost: u64,
    pub elapsed: Duration,
    /// Whether the answer has a top-level error.
    pub failed: bool,
}

/// Collects usage. Clones share what they collected.
#[derive(Clone, Debug)]
pub struct Collector(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    collected: Mutex<Collected>,
    /// One flush at a time.
    flush: AsyncMutex<Flush>,
    batch_is_full: Notify,
}

/// What the database does not have yet.
#[derive(Debug, Default)]
struct Collected {
    sums: HashMap<Key, Sums>,
    names: Names,
    /// When keys were last used.
    keys: HashMap<(OrganizationId, ApiKeyId), Instant>,
    uncounted: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    organization_id: OrganizationId,
    actor: ActorRef,
    /// Quarters of an hour since the epoch. Which hour that is in the organization's zone is settled by the flush.
    quarter: i64,
    bucket: i16,
    operation: Arc<str>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    requests: i64,
    errors: i64,
    cost: i64,
    micros: i64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.cost = self.cost.saturating_add(other.cost);
        self.micros = self.micros.saturating_add(other.micros);
    }
}

/// What flushes know of earlier ones.
#[derive(Debug, Default)]
struct Flush {
    /// The uses of keys that were written within the last [`KEY_USE_APART`].
    keys: HashMap<(OrganizationId, ApiKeyId), Instant>,
    /// Whether the last one failed: said once.
    failed: bool,
}

impl Collector {
    pub fn new(db: Db) -> Self {
        Self(Arc::new(Inner {
            db,
            collected: Mutex::default(),
            flush: AsyncMutex::default(),
            batch_is_full: Notify::new(),
        }))
    }

    fn collected(&self) -> MutexGuard<'_, Collected> {
        self.0.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request of this caller in this organization.
    pub fn record(&self, scope: &OrgScope, measured: Measured<'_>) {
        let now = scope.clock().now();
        let (organization_id, actor) = (scope.organization_id(), scope.actor());
        let sums = Sums {
            requests: 1,
            errors: measured.failed.into(),
            cost: measured.cost.try_into().unwrap_or(i64::MAX),
            micros: measured.elapsed.as_micros().try_into().unwrap_or(i64::MAX),
        };
        let bucket = bucket_of(measured.elapsed);
        let quarter = now.timestamp().div_euclid(QUARTER);

        let mut collected = self.collected();
        if let Some(key_id) = actor.api_key_id() {
            collected.note_key(organization_id, key_id, now);
        }
        let operation = collected.names.of(organization_id, quarter / 4, measured.operation);
        let before = collected.sums.len();
        collected.add(Key { organization_id, actor, quarter, bucket, operation }, sums);
        let becomes_full = before < BATCH && collected.sums.len() == BATCH;
        drop(collected);
        if becomes_full {
            self.0.batch_is_full.notify_one();
        }
    }

    /// Waits until there is a batch that should not wait for its time.
    pub async fn batch_is_full(&self) {
        self.0.batch_is_full.notified().await;
    }

    /// Writes what was collected. On failure it is kept for the next time. Run to its end: what a dropped flush had taken
    /// is lost.
    pub async fn flush(&self) -> Result<()> {
        let mut flush = self.0.flush.lock().await;
        let (sums, keys, uncounted) = {
            let mut collected = self.collected();
            (
                std::mem::take(&mut collected.sums),
                std::mem::take(&mut collected.keys),
                std::mem::take(&mut collected.uncounted),
            )
        };
        if uncounted > 0 {
            tracing::warn!(
                requests = uncounted,
                "not counted in usage: too many different callers and operations at once"
            );
        }
        let written = match self.write(&sums).await {
            Ok(()) => self.write_keys(&keys, &mut flush.keys).await,
            Err(error) => {
                let mut collected = self.collected();
                // What came meanwhile is added to what was taken: it is less, and requests wait for the lock.
                for (key, sums) in std::mem::replace(&mut collected.sums, sums) {
                    collected.add(key, sums);
                }
                Err(error)
            }
        };
        if written.is_err() {
            let mut collected = self.collected();
            for ((organization_id, key_id), at) in keys {
                collected.note_key(organization_id, key_id, at);
            }
        }
        match &written {
            Err(error) if !flush.failed => {
                tracing::warn!(error = %error.describe(), "usage can't be written; it is kept and tried again");
            }
            Ok(()) if flush.failed => tracing::info!("usage is written again"),
            _ => {}
        }
        flush.failed = written.is_err();
        written
    }

    async fn write(&self, sums: &HashMap<Key, Sums>) -> Result<()> {
        if sums.is_empty() {
            return Ok(());
        }
        let organizations: HashSet<OrganizationId> = sums.keys().map(|key| key.organization_id).collect();
        // Also leaves out those that were deleted meanwhile: one of their rows would refuse the whole batch.
        let zones = self.0.db.time_zones(organizations.into_iter().collect()).await?;
        let zones: HashMap<OrganizationId, Zone> =
            zones.into_iter().map(|(id, name)| (id, Zone::named(&name))).collect();
        // In the order of the table's key: see `Db::add_usage`.
        let mut rows: BTreeMap<_, (&Key, Sums)> = BTreeMap::new();
        for (key, sums) in sums {
            let Some(zone) = zones.get(&key.organization_id) else { continue };
            let hour = zone.hour_of(DateTime::from_timestamp(key.quarter * QUARTER, 0).unwrap_or_default());
            let actor = (key.actor.kind as i16, key.actor.id);
            let place = (key.organization_id, hour, &key.operation, actor, key.bucket);
            rows.entry(place).or_insert((key, Sums::default())).1.add(*sums);
        }
        let rows: Vec<usage::Model> = rows
            .into_iter()
            .map(|((organization_id, start, operation, _, bucket), (key, sums))| usage::Model {
                organization_id,
                span: UsageSpan::Hour,
                start,
                operation: operation.to_string(),
                actor_kind: key.actor.kind,
                actor_id: key.actor.id,
                bucket,
                requests: sums.requests,
                errors: sums.errors,
                cost: sums.cost,
                micros: sums.micros,
            })
            .collect();
        self.0.db.add_usage(&rows).await
    }

    /// Notes the uses of keys that are a minute after the last one noted.
    async fn write_keys(
        &self,
        used: &HashMap<(OrganizationId, ApiKeyId), Instant>,
        written: &mut HashMap<(OrganizationId, ApiKeyId), Instant>,
    ) -> Result<()> {
        let mut due: BTreeMap<OrganizationId, (Vec<ApiKeyId>, Instant)> = BTreeMap::new();
        for (key, at) in used {
            if written.get(key).is_some_and(|noted| (*at - *noted).abs() < KEY_USE_APART) {
                continue;
            }
            let (keys, latest) = due.entry(key.0).or_insert((Vec::new(), *at));
            keys.push(key.1);
            *latest = (*latest).max(*at);
        }
        for (organization_id, (mut keys, at)) in due {
            keys.sort_unstable();
            self.0.db.note_key_use(organization_id, keys.clone(), at, KEY_USE_APART).await?;
            written.extend(keys.into_iter().map(|key_id| ((organization_id, key_id), at)));
        }
        let now = self.0.db.clock().now();
        written.retain(|_, noted| (now - *noted).abs() < KEY_USE_APART);
        Ok(())
    }
}

impl Collected {
    fn add(&mut self, key: Key, sums: Sums) {
        let room = self.sums.len() < MOST;
        match self.sums.get_mut(&key) {
            Some(present) => present.add(sums),
            None if room => drop(self.sums.insert(key, sums)),
            None => self.uncounted += sums.requests.unsigned_abs(),
        }
    }

    fn note_key(&mut self, organization_id: OrganizationId, key_id: ApiKeyId, at: Instant) {
        let room = self.keys.len() < KEYS;
        match self.keys.get_mut(&(organization_id, key_id)) {
            Some(latest) => *latest = at.max(*latest),
            None if room => drop(self.keys.insert((organization_id, key_id), at)),
            // Its next use after the flush is noted.
            None => {}
        }
    }
}

/// The operations of the present hour.
#[derive(Debug)]
struct Names {
    hour: i64,
    by_organization: HashMap<OrganizationId, HashSet<Arc<str>>>,
    count: usize,
    other: Arc<str>,
}

impl Default for Names {
    fn default() -> Self {
        Self { hour: 0, by_organization: HashMap::new(), count: 0, other: OTHER.into() }
    }
}

impl Names {
    /// The name under which an operation is counted: its own, cut, or [`OTHER`].
    fn of(&mut self, organization_id: OrganizationId, hour: i64, operation: &str) -> Arc<str> {
        if hour != self.hour {
            *self = Self { hour, ..Self::default() };
        }
        let operation = match operation.char_indices().nth(NAME_LENGTH) {
            Some((end, _)) => &operation[..end],
            None => operation,
        };
        let known = self.by_organization.entry(organization_id).or_default();
        if let Some(name) = known.get(operation) {
            return name.clone();
        }
        if known.len() >= OPERATIONS || self.count >= ALL_OPERATIONS {
            return self.other.clone();
        }
        let name: Arc<str> = operation.into();
        known.insert(name.clone());
        self.count += 1;
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organization(number: u128) -> OrganizationId {
        OrganizationId::from_uuid(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn names_have_an_end_in_length_and_number() {
        let mut names = Names::default();
        assert_eq!(&*names.of(organization(1), 1, &"é".repeat(300)), "é".repeat(100));
        for number in 1..OPERATIONS {
            let name = format!("Operation{number}");
            assert_eq!(&*names.of(organization(1), 1, &name), name);
        }
        assert_eq!(&*names.of(organization(1), 1, "OneMore"), OTHER);
        assert_eq!(&*names.of(organization(1), 1, "Operation7"), "Operation7", "those that are known stay");
        assert_eq!(&*names.of(organization(2), 1, "OneMore"), "OneMore", "another organization has its own");
        assert_eq!(&*names.of(organization(1), 2, "OneMore"), "OneMore", "the next hour begins anew");
        for number in 0..2 * ALL_OPERATIONS as u128 {
            names.of(organization(number / 150), 3, &format!("Operation{number}"));
        }
        assert_eq!(names.count, ALL_OPERATIONS);
    }

    #[test]
    fn memory_has_an_end() {
        let mut collected = Collected::default();
        let one = Sums { requests: 1, ..Sums::default() };
        let key = |number: usize| Key {
            organization_id: organization(number as u128),
            actor: ActorRef::SYSTEM,
            quarter: 0,
            bucket: 0,
            operation: OTHER.into(),
        };
        for number in 0..MOST + 5 {
            collected.add(key(number), one);
            collected.note_key(
                organization(number as u128),
                ApiKeyId::from_uuid(uuid::Uuid::nil()),
                Instant::default(),
            );
        }
        assert_eq!((collected.sums.len(), collected.uncounted, collected.keys.len()), (MOST, 5, KEYS));
        // What has a place goes on counting.
        collected.add(key(0), one);
        assert_eq!(collected.sums[&key(0)].requests, 2);
    }
}
