//! How much each caller may ask for: a bucket of cost points for each caller of an organization, sized by its plan, and
//! one for each address without credentials. `api::endpoint` takes from it before an operation runs, and gives back what
//! the operation did not need.
//!
//! Buckets are kept in this process, or in Redis where one is configured, for all instances together. While Redis is
//! away each instance grants its own share.

pub mod bucket;
pub mod memory;
pub mod redis;

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use moka::sync::Cache;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::{
    bucket::{Bucket, Level},
    memory::Memory,
};
use crate::{
    base::{clock::Clock, config::LimitsConfig, enums::PlanTier, plan::Plan},
    data::{
        actor::{Origin, network_of},
        entity::{ActorRef, organization},
    },
    platform::{
        auth::session::{Caller, Credential},
        metrics::Metrics,
        redis::Redis,
    },
};

/// Credentials remembered to have been good, and for how long.
const GOOD_CREDENTIALS: u64 = 20_000;
const GOOD_FOR: Duration = Duration::from_secs(60);

/// Between tries of somebody who waits for points.
const LEAST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Whose bucket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Somebody known, in an organization, or in none.
    Caller { organization: Option<Uuid>, actor: ActorRef },
    /// Nobody known, from an address: of IPv6 the network that one customer has (/64). Requests without an address share one.
    Address(Option<IpAddr>),
}

impl Holder {
    pub fn of_address(ip: Option<IpAddr>) -> Self {
        Self::Address(ip.map(network_of))
    }

    /// The bucket's name in Redis.
    pub fn redis_key(&self) -> String {
        match self {
            Self::Caller { organization, actor } => {
                let organization = organization.unwrap_or_default().simple();
                format!("todo:cost:{organization}:{}:{}", actor.kind as i32, actor.id.simple())
            }
            Self::Address(Some(ip)) => format!("todo:cost:address:{ip}"),
            Self::Address(None) => "todo:cost:address:unknown".to_owned(),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Caller { .. } => "caller",
            Self::Address(_) => "address",
        }
    }
}

/// A bucket: whose, and how large. A capacity of 0 is none at all: no limit.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub holder: Holder,
    pub capacity: u32,
}

/// Points taken from a bucket, to be settled once it is known what was needed. Not settling keeps them taken.
#[derive(Debug)]
#[must_use]
pub struct Taken {
    allowance: Allowance,
    points: u32,
    shared: bool,
    /// After they were taken.
    pub level: Level,
}

/// The points were not there.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    pub points: u32,
    pub level: Level,
    /// `caller` or `address`.
    pub whose: &'static str,
}

/// The buckets. Clones share them.
#[derive(Clone)]
pub struct RateLimiter(Arc<Inner>);

struct Inner {
    /// Instead of every plan's; 0: no limits at all.
    capacity: Option<u32>,
    anonymous: u32,
    memory: Memory,
    shared: Option<Redis>,
    /// Fingerprints of credentials that were good a moment ago.
    good: Cache<u64, ()>,
    fingerprint: RandomState,
    clock: Clock,
    metrics: Metrics,
    background: TaskTracker,
}

impl std::fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RateLimiter(…)")
    }
}

impl RateLimiter {
    pub fn new(
        limits: &LimitsConfig,
        shared: Option<Redis>,
        clock: Clock,
        metrics: Metrics,
        background: TaskTracker,
    ) -> Self {
        Self(Arc::new(Inner {
            capacity: limits.cost_per_minute,
            anonymous: limits.anonymous_cost_per_minute,
            memory: Memory::default(),
            shared,
            good: Cache::builder().max_capacity(GOOD_CREDENTIALS).time_to_live(GOOD_FOR).build(),
            fingerprint: RandomState::new(),
            clock,
            metrics,
            background,
        }))
    }

    /// Whose points a request of `caller` takes.
    pub fn of_caller(&self, caller: &Caller, origin: &Origin) -> Allowance {
        let Some(identified) = &caller.identified else { return self.of_address(origin) };
        let organization = caller.scope.as_ref().map(|scope| scope.organization());
        let tier = organization.map_or(PlanTier::Free, |organization| organization.plan_tier);
        Allowance {
            holder: Holder::Caller {
                organization: organization.map(|organization| organization.id.uuid()),
                actor: identified.actor(),
            },
            capacity: self.0.capacity.unwrap_or(Plan::of(tier).cost_per_minute),
        }
    }

    /// Whose points somebody takes who acts in an organization, other than by a request of its API.
    pub fn of_actor(&self, organization: &organization::Model, actor: ActorRef) -> Allowance {
        Allowance {
            holder: Holder::Caller { organization: Some(organization.id.uuid()), actor },
            capacity: self.0.capacity.unwrap_or(Plan::of(organization.plan_tier).cost_per_minute),
        }
    }

    /// What an address may take whose requests say nobody's name.
    pub fn of_address(&self, origin: &Origin) -> Allowance {
        let is_off = self.0.capacity == Some(0);
        Allowance { holder: Holder::of_address(origin.ip), capacity: if is_off { 0 } else { self.0.anonymous } }
    }

    /// Takes `cost` points, of an allowance that has a limit; `cost` is at most its capacity.
    pub async fn take(&self, allowance: Allowance, cost: u64) -> Result<Taken, Refused> {
        let taken = self.take_if_there(allowance, cost).await;
        if taken.is_err() {
            self.0.metrics.refused(allowance.holder.kind());
        }
        taken
    }

    /// Takes points for what has been read already, as they come: whoever has none waits, a minute for a whole bucket.
    pub async fn pay(&self, allowance: Allowance, points: u64) {
        if allowance.capacity == 0 {
            return;
        }
        let mut owed = points.min(allowance.capacity.into());
        let mut portion = owed;
        while owed > 0 {
            match self.take_if_there(allowance, portion).await {
                Ok(_) => owed -= portion,
                Err(refused) => {
                    // What others leave, so that they can't keep this one waiting for ever.
                    if refused.level.remaining() == 0 {
                        let wait = u64::try_from(refused.level.wait_for(1)).unwrap_or_default();
                        tokio::time::sleep(Duration::from_millis(wait).clamp(LEAST_WAIT, LONGEST_WAIT)).await;
                    }
                    portion = refused.level.remaining().max(1).into();
                }
            }
            portion = portion.min(owed);
        }
    }

    async fn take_if_there(&self, allowance: Allowance, cost: u64) -> Result<Taken, Refused> {
        let points = u32::try_from(cost).unwrap_or(u32::MAX);
        let Allowance { holder, capacity } = allowance;
        if let Some(redis) = &self.0.shared {
            if let Some((granted, level, bucket)) = redis::take(redis, &holder, capacity, points.into()).await {
                if granted {
                    return Ok(Taken { allowance, points, shared: true, level });
                }
                self.note_spent(holder, capacity, bucket);
                return Err(Refused { points, level, whose: holder.kind() });
            }
            self.0.metrics.fell_back();
        }
        // The instance's own share while Redis is away; all of it where there is but this instance. What costs more than
        // the share takes the whole of it, so that it may run at all.
        let instances = self.0.shared.as_ref().map_or(1, Redis::instances);
        let share = (capacity / instances).max(1);
        let points = points.min(share);
        let (granted, level) = self.0.memory.take(holder, share, points.into(), self.now());
        if !granted {
            return Err(Refused { points, level, whose: holder.kind() });
        }
        Ok(Taken { allowance: Allowance { holder, capacity: share }, points, shared: false, level })
    }

    fn refused(&self, holder: Holder, points: u32, level: Level) -> Refused {
        let whose = holder.kind();
        self.0.metrics.refused(whose);
        Refused { points, level, whose }
    }

    /// Gives back what was taken and not needed; what the bucket then holds. In Redis that happens behind the answer.
    pub fn settle(&self, taken: &Taken, actual: u64) -> Level {
        let unused = taken.points.saturating_sub(u32::try_from(actual).unwrap_or(u32::MAX));
        let Allowance { holder, capacity } = taken.allowance;
        if unused == 0 {
            return taken.level;
        }
        match self.0.shared.as_ref().filter(|_| taken.shared) {
            Some(redis) => {
                let redis = redis.clone();
                // Lost when Redis goes away just now: the bucket has it back within a minute anyway.
                self.0.background.spawn(async move {
                    redis::take(&redis, &holder, capacity, -i64::from(unused)).await;
                });
                taken.level.restored(unused)
            }
            None => self.0.memory.take(holder, capacity, -i64::from(unused), self.now()).1,
        }
    }

    /// What a bucket holds, as far as this instance knows.
    pub fn level(&self, allowance: Allowance) -> Level {
        self.0.memory.level(&allowance.holder, allowance.capacity, self.now())
    }

    /// Whether a credential may be looked up: not one that was never good, from an address that has used up its points.
    /// Bad credentials cost their address points, so this bounds the look-ups that it can cause.
    pub fn may_look_up(&self, credential: &Credential, address: Allowance) -> Result<(), Refused> {
        if self.0.good.contains_key(&self.fingerprint(credential)) {
            return Ok(());
        }
        self.has_points(address)
    }

    /// Refused for somebody of whose bucket this instance knows that nothing is left. Nothing is taken.
    pub fn has_points(&self, allowance: Allowance) -> Result<(), Refused> {
        if allowance.capacity == 0 {
            return Ok(());
        }
        let level = self.level(allowance);
        if level.remaining() > 0 { Ok(()) } else { Err(self.refused(allowance.holder, 1, level)) }
    }

    /// Remembers that a credential was good.
    pub fn was_good(&self, credential: &Credential) {
        let fingerprint = self.fingerprint(credential);
        if !self.0.good.contains_key(&fingerprint) {
            self.0.good.insert(fingerprint, ());
        }
    }

    /// Under a key of this process: nobody can make another credential with the same one.
    fn fingerprint(&self, credential: &Credential) -> u64 {
        self.0.fingerprint.hash_one(match credential {
            Credential::AccessToken(text) | Credential::ApiKey(text) => text,
        })
    }

    /// A bucket in Redis is used up: [`Self::has_points`] asks this instance alone.
    fn note_spent(&self, holder: Holder, capacity: u32, bucket: Bucket) {
        self.0.memory.note(holder, Bucket { at: self.now(), ..bucket }, capacity);
    }

    fn now(&self) -> i64 {
        self.0.clock.now().timestamp_millis()
    }
}
