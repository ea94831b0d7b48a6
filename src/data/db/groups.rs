//! Group commit: writes of one organization, made by one transaction.
//!
//! Writers of an organization wait for its ledger's head anyway, and for the disk behind whoever holds it. Those that came
//! while one transaction ran are written together by the next: lock, round trips and the wait for the disk are paid once
//! for all of them. Nobody waits for a group to fill, so a writer alone is as fast as before. The next group begins while
//! one is committed, and then waits for the lock where it is: in the database.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use tracing::Instrument as _;

use crate::base::{
    error::{Error, Result},
    id::OrganizationId,
};

/// Writes of a group at most, and bytes of what they write. More make the lock's holder slow for those who don't join.
const MAX_GROUP: usize = 64;
pub const MAX_GROUP_BYTES: usize = 256 << 10;

/// Writes of one organization that wait at most: with these before it, the last is made some 16 groups later. And bytes that
/// wait in all organizations together.
const MAX_WAITING: usize = 1_000;
const MAX_WAITING_BYTES: usize = 16 << 20;

/// Makes a group's writes: an outcome for each, in their order.
type Run<W, O> = fn(Vec<W>, Handover) -> Pin<Box<dyn Future<Output = Vec<O>> + Send>>;

/// Dropped, at the latest when its group is over, it lets the next group begin: nothing but the commit is left of this one.
#[derive(Debug)]
pub struct Handover {
    _passed: oneshot::Sender<()>,
}

/// Writes of one kind that wait for their organization's turn.
pub struct Groups<W, O> {
    run: Run<W, O>,
    queues: Mutex<Queues<W, O>>,
}

struct Queues<W, O> {
    /// One while a group of the organization runs.
    by_organization: HashMap<OrganizationId, VecDeque<Waiting<W, O>>>,
    /// Of all that waits.
    bytes: usize,
}

struct Waiting<W, O> {
    write: W,
    bytes: usize,
    answer: oneshot::Sender<O>,
}

impl<W: Send + 'static, O: Send + 'static> Groups<W, O> {
    pub fn new(run: Run<W, O>) -> Self {
        Self { run, queues: Mutex::new(Queues { by_organization: HashMap::new(), bytes: 0 }) }
    }

    /// The outcome of a write of so many bytes that is made in its organization's next group; `None` where too many wait
    /// already: make it alone. One that nobody waits for any more is left out of the groups to come, but made with the one
    /// that runs, as long as somebody waits for another of it. INTERNAL when the group ended by a panic.
    pub async fn join(self: &Arc<Self>, organization_id: OrganizationId, write: W, bytes: usize) -> Result<Option<O>> {
        let (answer, outcome) = oneshot::channel();
        let is_first = {
            let mut queues = self.lock();
            let waiting = queues.by_organization.get(&organization_id).map_or(0, VecDeque::len);
            if waiting >= MAX_WAITING || queues.bytes.saturating_add(bytes) > MAX_WAITING_BYTES {
                return Ok(None);
            }
            let is_first = !queues.by_organization.contains_key(&organization_id);
            queues.by_organization.entry(organization_id).or_default().push_back(Waiting { write, bytes, answer });
            queues.bytes += bytes;
            is_first
        };
        if is_first {
            let turn = Turn { groups: self.clone(), organization_id };
            tokio::spawn(turn.work().in_current_span());
        }
        outcome.await.map(Some).map_err(|_| Error::internal("a group of writes ended without an outcome"))
    }

    /// The next group; none, and the organization's turn is over.
    fn next(&self, organization_id: OrganizationId) -> Vec<Waiting<W, O>> {
        let mut group = Vec::new();
        let (mut bytes, mut taken) = (0, 0);
        let mut queues = self.lock();
        let waiting = queues.by_organization.entry(organization_id).or_default();
        while let Some(next) = waiting.front() {
            let is_wanted = !next.answer.is_closed();
            let has_room = group.is_empty() || group.len() < MAX_GROUP && bytes + next.bytes <= MAX_GROUP_BYTES;
            if is_wanted && !has_room {
                break;
            }
            let Some(next) = waiting.pop_front() else { break };
            taken += next.bytes;
            if is_wanted {
                bytes += next.bytes;
                group.push(next);
            }
        }
        if group.is_empty() {
            queues.by_organization.remove(&organization_id);
        }
        queues.bytes -= taken;
        group
    }
}

impl<W, O> Groups<W, O> {
    fn lock(&self) -> MutexGuard<'_, Queues<W, O>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to begin an organization's groups, one after the other.
struct Turn<W, O> {
    groups: Arc<Groups<W, O>>,
    organization_id: OrganizationId,
}

impl<W: Send + 'static, O: Send + 'static> Turn<W, O> {
    async fn work(self) {
        loop {
            let group = self.groups.next(self.organization_id);
            if group.is_empty() {
                return;
            }
            let (passed, handover) = oneshot::channel();
            // A task of its own: a panic ends no other group.
            tokio::spawn(make(self.groups.run, group, Handover { _passed: passed }).in_current_span());
            let _ = handover.await;
        }
    }
}

/// Makes a group, and tells each of it what came of it.
async fn make<W, O>(run: Run<W, O>, group: Vec<Waiting<W, O>>, handover: Handover) {
    let (writes, mut answers): (Vec<W>, Vec<oneshot::Sender<O>>) =
        group.into_iter().map(|waiting| (waiting.write, waiting.answer)).unzip();
    let outcomes = tokio::select! {
        outcomes = run(writes, handover) => outcomes,
        // A statement ends with whoever waits for it: this rolls the group back.
        () = all_gone(&mut answers) => return,
    };
    for (answer, outcome) in answers.into_iter().zip(outcomes) {
        let _ = answer.send(outcome);
    }
}

/// Until nobody waits for any of the outcomes.
async fn all_gone<O>(answers: &mut [oneshot::Sender<O>]) {
    for answer in answers {
        answer.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::sync::Semaphore;
    use uuid::Uuid;

    use super::*;

    /// The write with this number lets the next group begin, and waits for another permit.
    const HANDS_OVER: u32 = 77;

    /// A write that waits for a permit, and is answered with the numbers of its group.
    type Write = (u32, Arc<Semaphore>);

    async fn run(writes: Vec<Write>, handover: Handover) -> Vec<Vec<u32>> {
        let permit = writes[0].1.acquire().await.expect("an open semaphore");
        permit.forget();
        let numbers: Vec<u32> = writes.iter().map(|(number, _)| *number).collect();
        assert!(!numbers.contains(&99), "a write that fails");
        if numbers.contains(&HANDS_OVER) {
            drop(handover);
            writes[0].1.acquire().await.expect("an open semaphore").forget();
        }
        writes.iter().map(|_| numbers.clone()).collect()
    }

    fn groups() -> Arc<Groups<Write, Vec<u32>>> {
        Arc::new(Groups::new(|writes, handover| run(writes, handover).boxed()))
    }

    async fn waiting(groups: &Groups<Write, Vec<u32>>, organization_id: OrganizationId, count: usize) {
        while groups.lock().by_organization.get(&organization_id).map_or(0, VecDeque::len) != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn those_that_come_meanwhile_are_written_together_in_their_order() {
        let (groups, gate, one) =
            (groups(), Arc::new(Semaphore::new(0)), OrganizationId::from_uuid(Uuid::from_u128(1)));
        let join = |organization_id, number| {
            let (groups, gate) = (groups.clone(), gate.clone());
            tokio::spawn(async move { groups.join(organization_id, (number, gate), 1).await })
        };
        let first = join(one, 0);
        waiting(&groups, one, 0).await;
        while !groups.lock().by_organization.contains_key(&one) {
            tokio::task::yield_now().await;
        }
        let mut others = Vec::new();
        for number in 1..4 {
            others.push(join(one, number));
            let come = if number == 1 { 1 } else { number as usize };
            waiting(&groups, one, come).await;
        }
        // Nobody waits for it any more.
        others.remove(1).abort();
        let elsewhere = join(OrganizationId::from_uuid(Uuid::from_u128(2)), 7);
        gate.add_permits(3);
        assert_eq!(first.await.expect("a task").ok(), Some(Some(vec![0])));
        assert_eq!(elsewhere.await.expect("a task").ok(), Some(Some(vec![7])), "no other organization waits");
        for other in others {
            assert_eq!(other.await.expect("a task").ok(), Some(Some(vec![1, 3])));
        }
        waiting(&groups, one, 0).await;
        while groups.lock().by_organization.contains_key(&one) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_next_group_begins_while_one_is_committed() {
        let (groups, gate, one) =
            (groups(), Arc::new(Semaphore::new(1)), OrganizationId::from_uuid(Uuid::from_u128(1)));
        let commit = Arc::new(Semaphore::new(1));
        let (first, gate_of_first) = (groups.clone(), commit.clone());
        let first = tokio::spawn(async move { first.join(one, (HANDS_OVER, gate_of_first), 1).await });
        while commit.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let second = groups.join(one, (1, gate), 1).await;
        assert_eq!(second.ok(), Some(Some(vec![1])), "made before the first is done");
        assert!(!first.is_finished());
        commit.add_permits(1);
        assert_eq!(first.await.expect("a task").ok(), Some(Some(vec![HANDS_OVER])));
    }

    #[tokio::test]
    async fn after_a_panic_the_next_write_begins_anew() {
        let (groups, gate, one) =
            (groups(), Arc::new(Semaphore::new(2)), OrganizationId::from_uuid(Uuid::from_u128(1)));
        assert!(groups.join(one, (99, gate.clone()), 1).await.is_err());
        while groups.lock().by_organization.contains_key(&one) {
            tokio::task::yield_now().await;
        }
        assert_eq!(groups.join(one, (1, gate), 1).await.ok(), Some(Some(vec![1])));
    }

    #[tokio::test]
    async fn a_group_ends_when_nobody_waits_for_it() {
        let (groups, gate, one) =
            (groups(), Arc::new(Semaphore::new(0)), OrganizationId::from_uuid(Uuid::from_u128(1)));
        for _ in 0..2 {
            let gone = groups.join(one, (0, gate.clone()), 1);
            assert!(tokio::time::timeout(Duration::from_millis(20), gone).await.is_err());
            while groups.lock().by_organization.contains_key(&one) {
                tokio::task::yield_now().await;
            }
        }
        gate.add_permits(1);
        assert_eq!(groups.join(one, (1, gate), 1).await.ok(), Some(Some(vec![1])));
    }

    #[tokio::test]
    async fn what_waits_and_what_a_group_holds_are_bounded() {
        let (groups, gate) = (groups(), Arc::new(Semaphore::new(0)));
        let organization = |number| OrganizationId::from_uuid(Uuid::from_u128(number));
        let (one, two) = (organization(1), organization(2));
        let join = |organization_id, bytes| {
            let (groups, gate) = (groups.clone(), gate.clone());
            tokio::spawn(async move { groups.join(organization_id, (0, gate), bytes).await })
        };
        let first = join(one, 1);
        while groups.lock().bytes > 0 || !groups.lock().by_organization.contains_key(&one) {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..MAX_WAITING).map(|_| join(one, MAX_GROUP_BYTES / 16)).collect();
        waiting(&groups, one, MAX_WAITING).await;
        assert_eq!(groups.join(one, (0, gate.clone()), 1).await.ok(), Some(None), "too many of one organization");
        let left = MAX_WAITING_BYTES - groups.lock().bytes;
        assert_eq!(groups.join(two, (0, gate.clone()), left + 1).await.ok(), Some(None), "too many bytes in all");
        gate.add_permits(MAX_WAITING + 1);
        first.await.expect("a task").expect("an outcome");
        for other in others {
            let group = other.await.expect("a task").expect("an outcome").expect("a group");
            assert!(group.len() <= 16, "{} writes of a sixteenth each", group.len());
        }
        assert_eq!(groups.lock().bytes, 0);
    }
}
