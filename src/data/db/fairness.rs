//! Fair shares of a pool's connections. A waiting line of its own stands before each pool, so that nobody who keeps the
//! database busy keeps it from others:
//!
//! - a tenant (an organization; a person or an address without one) holds at most as many connections as are free, a caller
//!   within it at most a third as many: half and a quarter of an otherwise idle pool, and less the more there are who take
//!   that much. Whoever holds none may always have one;
//! - a connection that comes free goes to the tenant that holds the fewest, in turn, and there to the caller who does;
//! - the server's own work, and what comes before a caller is known, is first in line and has no limit.
//!
//! Waiting is bounded in time and in number.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::data::actor::network_of;

/// A caller may take another connection while that many times what they hold is less than what is free.
const CALLER_DIVISOR: usize = 3;

/// Statements and transactions of one caller that may wait at once. A connection of theirs serves several hundred a second.
const WAITING_OF_CALLER: usize = 2_000;

/// The same of one tenant.
const WAITING_OF_TENANT: usize = 5_000;

/// Who uses the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Consumer {
    /// The server itself, and requests whose caller is not known yet.
    Server,
    Caller {
        /// The organization; without one, the same as `caller`.
        tenant: Uuid,
        /// A person, an API key, an inbound hook, or an address.
        caller: Uuid,
    },
}

impl Consumer {
    /// Somebody outside any organization.
    pub const fn person(caller: Uuid) -> Self {
        Self::Caller { tenant: caller, caller }
    }

    /// The person, API key, hook or address; nil for the server itself.
    pub const fn caller(self) -> Uuid {
        match self {
            Self::Server => Uuid::nil(),
            Self::Caller { caller, .. } => caller,
        }
    }

    /// Somebody without credentials: by address, IPv6 by its /64.
    pub fn of_address(ip: Option<IpAddr>) -> Self {
        let bits = match ip.map(network_of) {
            Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped().to_bits(),
            Some(IpAddr::V6(ip)) => ip.to_bits(),
            None => 0,
        };
        Self::person(Uuid::from_u128(bits))
    }
}

/// Why there was no connection: the line is full, or the wait was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// The line before one pool.
#[derive(Clone, Debug)]
pub(super) struct FairQueue {
    line: Arc<Mutex<Line>>,
    wait: Duration,
    waits: Arc<Waits>,
}

/// Those who had to wait, so far.
#[derive(Debug, Default)]
struct Waits {
    count: AtomicU64,
    /// Microseconds, all together.
    time: AtomicU64,
}

/// How a queue is at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueUse {
    pub(super) free: usize,
    pub(super) waiting: usize,
    /// Since the start: those who had to wait, and how long they did together.
    pub(super) waits: u64,
    pub(super) waited: Duration,
}

/// The right to one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    /// None once it has been counted back.
    line: Option<Arc<Mutex<Line>>>,
    consumer: Consumer,
}

impl FairQueue {
    /// `wait`: how long a consumer waits at most.
    pub(super) fn new(connections: usize, wait: Duration) -> Self {
        let line = Line { free: connections, ..Line::default() };
        Self { line: Arc::new(Mutex::new(line)), wait, waits: Arc::default() }
    }

    pub(super) async fn take(&self, consumer: Consumer) -> Result<Permit, Busy> {
        let turn = {
            let mut line = lock(&self.line);
            if line.may_take(consumer) {
                line.taken(consumer);
                return Ok(Permit { line: Some(self.line.clone()), consumer });
            }
            line.join(consumer)?
        };
        let begun = Instant::now();
        let taken = tokio::time::timeout(self.wait, turn).await;
        self.waits.count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waits.time.fetch_add(micros, Ordering::Relaxed);
        match taken {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Busy),
        }
    }

    pub(super) fn in_use(&self) -> QueueUse {
        let line = lock(&self.line);
        QueueUse {
            free: line.free,
            waiting: line.server.len() + line.tenants.values().map(Tenant::waiting).sum::<usize>(),
            waits: self.waits.count.load(Ordering::Relaxed),
            waited: Duration::from_micros(self.waits.time.load(Ordering::Relaxed)),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(shared) = self.line.take() else { return };
        let mut line = lock(&shared);
        line.given_back(self.consumer);
        while let Some((waiter, consumer)) = line.next() {
            match waiter.send(Self { line: Some(shared.clone()), consumer }) {
                Ok(()) => line.taken(consumer),
                // Nobody waits for it any more; it was not counted.
                Err(mut unwanted) => unwanted.line = None,
            }
        }
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

type Waiter = oneshot::Sender<Permit>;

#[derive(Debug, Default)]
struct Line {
    free: usize,
    /// Counts what was given out, so that equals take turns.
    turn: u64,
    server: VecDeque<Waiter>,
    /// Those who hold something or wait.
    tenants: HashMap<Uuid, Tenant>,
}

#[derive(Debug, Default)]
struct Tenant {
    held: usize,
    last_turn: u64,
    callers: HashMap<Uuid, Caller>,
}

#[derive(Debug, Default)]
struct Caller {
    held: usize,
    last_turn: u64,
    waiting: VecDeque<Waiter>,
}

const fn tenant_may(held: usize, free: usize) -> bool {
    free > 0 && (held == 0 || held < free)
}

const fn caller_may(held: usize, free: usize) -> bool {
    free > 0 && (held == 0 || CALLER_DIVISOR * held < free)
}

impl Line {
    /// Whether one is there for the consumer. Those who wait may not take any: they would have been given it.
    fn may_take(&self, consumer: Consumer) -> bool {
        let Consumer::Caller { tenant, caller } = consumer else { return self.free > 0 };
        let Some(tenant) = self.tenants.get(&tenant) else { return self.free > 0 };
        let held = tenant.callers.get(&caller).map_or(0, |caller| caller.held);
        tenant_may(tenant.held, self.free) && caller_may(held, self.free)
    }

    fn taken(&mut self, consumer: Consumer) {
        self.free -= 1;
        self.turn += 1;
        let turn = self.turn;
        if let Consumer::Caller { tenant, caller } = consumer {
            let tenant = self.tenants.entry(tenant).or_default();
            let caller = tenant.callers.entry(caller).or_default();
            (tenant.held, tenant.last_turn) = (tenant.held + 1, turn);
            (caller.held, caller.last_turn) = (caller.held + 1, turn);
        }
    }

    fn given_back(&mut self, consumer: Consumer) {
        self.free += 1;
        let Consumer::Caller { tenant: tenant_id, caller: caller_id } = consumer else { return };
        if let Some(tenant) = self.tenants.get_mut(&tenant_id) {
            tenant.held -= 1;
            if let Some(caller) = tenant.callers.get_mut(&caller_id) {
                caller.held -= 1;
            }
        }
        self.tidy(tenant_id, caller_id);
    }

    /// Gets in line, behind the consumer's own.
    fn join(&mut self, consumer: Consumer) -> Result<oneshot::Receiver<Permit>, Busy> {
        let (waiter, turn) = oneshot::channel();
        let Consumer::Caller { tenant: tenant_id, caller: caller_id } = consumer else {
            self.server.push_back(waiter);
            return Ok(turn);
        };
        // Whoever comes now is behind those who have had a turn less lately.
        let newcomer = self.turn;
        let tenant = self.tenants.entry(tenant_id).or_insert(Tenant { last_turn: newcomer, ..Tenant::default() });
        let is_full = |tenant: &Tenant| {
            let own = tenant.callers.get(&caller_id).map_or(0, |caller| caller.waiting.len());
            own >= WAITING_OF_CALLER || tenant.waiting() >= WAITING_OF_TENANT
        };
        if is_full(tenant) {
            tenant.forget_who_left();
        }
        let joined = if is_full(tenant) {
            Err(Busy)
        } else {
            let caller = Caller { last_turn: newcomer, ..Caller::default() };
            tenant.callers.entry(caller_id).or_insert(caller).waiting.push_back(waiter);
            Ok(turn)
        };
        self.tidy(tenant_id, caller_id);
        joined
    }

    /// Takes out of the line whoever gets the next connection, if one is free for somebody.
    fn next(&mut self) -> Option<(Waiter, Consumer)> {
        while let Some((waiter, consumer)) = self.first() {
            if !waiter.is_closed() {
                return Some((waiter, consumer));
            }
            if let Consumer::Caller { tenant, caller } = consumer {
                self.tidy(tenant, caller);
            }
        }
        None
    }

    fn first(&mut self) -> Option<(Waiter, Consumer)> {
        let free = self.free;
        if free == 0 {
            return None;
        }
        if let Some(waiter) = self.server.pop_front() {
            return Some((waiter, Consumer::Server));
        }
        let (tenant, _, _, caller) = self
            .tenants
            .iter()
            .filter(|(_, tenant)| tenant_may(tenant.held, free))
            .filter_map(|(id, tenant)| Some((*id, tenant.held, tenant.last_turn, tenant.first(free)?)))
            .min_by_key(|(_, held, last_turn, _)| (*held, *last_turn))?;
        let waiter = self.tenants.get_mut(&tenant)?.callers.get_mut(&caller)?.waiting.pop_front()?;
        Some((waiter, Consumer::Caller { tenant, caller }))
    }

    /// Forgets who neither holds anything nor waits.
    fn tidy(&mut self, tenant_id: Uuid, caller_id: Uuid) {
        let Some(tenant) = self.tenants.get_mut(&tenant_id) else { return };
        if tenant.callers.get(&caller_id).is_some_and(Caller::is_idle) {
            tenant.callers.remove(&caller_id);
        }
        if tenant.callers.is_empty() {
            self.tenants.remove(&tenant_id);
        }
    }
}

impl Tenant {
    fn waiting(&self) -> usize {
        self.callers.values().map(|caller| caller.waiting.len()).sum()
    }

    /// Takes those out of the line whose wait is over.
    fn forget_who_left(&mut self) {
        for caller in self.callers.values_mut() {
            caller.waiting.retain(|waiter| !waiter.is_closed());
        }
        self.callers.retain(|_, caller| !caller.is_idle());
    }

    /// Which of its callers who wait gets the next one.
    fn first(&self, free: usize) -> Option<Uuid> {
        self.callers
            .iter()
            .filter(|(_, caller)| !caller.waiting.is_empty() && caller_may(caller.held, free))
            .min_by_key(|(_, caller)| (caller.held, caller.last_turn))
            .map(|(id, _)| *id)
    }
}

impl Caller {
    fn is_idle(&self) -> bool {
        self.held == 0 && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(tenant: u128, caller: u128) -> Consumer {
        Consumer::Caller { tenant: Uuid::from_u128(tenant), caller: Uuid::from_u128(caller) }
    }

    fn queue(connections: usize) -> FairQueue {
        FairQueue::new(connections, Duration::from_secs(60))
    }

    /// Takes without waiting as long as there is one; says how many that were.
    async fn take_all(queue: &FairQueue, consumer: Consumer, held: &mut Vec<Permit>) -> usize {
        let before = held.len();
        while lock(&queue.line).may_take(consumer) {
            held.push(queue.take(consumer).await.expect("one is free"));
        }
        held.len() - before
    }

    #[tokio::test]
    async fn a_caller_leaves_room_for_the_organization_and_it_for_others() {
        let (queue, mut held) = (queue(20), Vec::new());
        assert_eq!(take_all(&queue, consumer(1, 1), &mut held).await, 5);
        assert_eq!(take_all(&queue, consumer(1, 2), &mut held).await, 4);
        assert_eq!(take_all(&queue, consumer(1, 3), &mut held).await, 1, "half is the organization's");
        // Each takes less than the one before; a seventh gets the last one.
        for hostile in 2..40 {
            take_all(&queue, consumer(hostile, hostile), &mut held).await;
            assert!(hostile > 6 || lock(&queue.line).free > 0, "{hostile} organizations took everything");
        }
        held.clear();
        assert_eq!(lock(&queue.line).free, 20);
        assert!(lock(&queue.line).tenants.is_empty());
    }

    #[tokio::test]
    async fn who_waits_takes_turns() {
        let queue = queue(1);
        let first = queue.take(consumer(1, 1)).await.expect("it is free");
        let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
        // Ten of one organization, nine of them one caller's, then one of another, then the server.
        for (name, who) in [(1, 1); 9].into_iter().chain([(1, 2), (2, 3)]).map(|(t, c)| ((t, c), consumer(t, c))) {
            let (queue, sender) = (queue.clone(), sender.clone());
            tokio::spawn(async move {
                let _permit = queue.take(who).await.expect("its turn comes");
                sender.send(name).expect("somebody listens");
            });
            tokio::task::yield_now().await;
        }
        drop(first);
        drop(sender);
        let mut order = Vec::new();
        while let Some(name) = served.recv().await {
            order.push(name);
        }
        assert_eq!(order.len(), 11);
        let place = |name| order.iter().position(|served| *served == name).expect("served");
        assert!(place((2, 3)) <= 1 && place((1, 2)) <= 2, "{order:?}");
    }

    #[tokio::test]
    async fn who_left_is_not_waited_for() {
        let queue = FairQueue::new(1, Duration::from_millis(1));
        let first = queue.take(consumer(1, 1)).await.expect("it is free");
        for _ in 0..10 {
            assert_eq!(queue.take(consumer(2, 2)).await.err(), Some(Busy));
        }
        drop(first);
        assert_eq!(lock(&queue.line).free, 1);
        assert!(lock(&queue.line).tenants.is_empty());
    }
}
