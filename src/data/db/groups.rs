//! Group commit: writes of one organization, made by one transaction.
//!
//! Writers of an organization wait for its ledger's head anyway, and for the disk behind whoever holds it. Those that came
//! while one transaction ran are written together by the next: lock, round trips and the wait for the disk are paid once
//! for all of them. Nobody waits for a group to fill, so a writer alone is as fast as before.

use std::{
    collections::HashMap,
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

/// Writes of a group at most. More make the lock's holder slow for those who don't join.
pub const MAX_GROUP: usize = 64;

/// Makes a group's writes: an outcome for each, in their order.
type Run<W, O> = fn(Vec<W>) -> Pin<Box<dyn Future<Output = Vec<O>> + Send>>;

/// Writes of one kind that wait for their organization's turn: as many as requests are in flight, at most.
pub struct Groups<W, O> {
    run: Run<W, O>,
    /// An entry while a group of the organization runs.
    waiting: Mutex<HashMap<OrganizationId, Vec<Waiting<W, O>>>>,
}

type Waiting<W, O> = (W, oneshot::Sender<O>);

impl<W: Send + 'static, O: Send + 'static> Groups<W, O> {
    pub fn new(run: Run<W, O>) -> Self {
        Self { run, waiting: Mutex::default() }
    }

    /// The outcome of a write that is made in its organization's next group. One that nobody waits for any more is left out
    /// of the groups to come, but made with the one that runs, as long as somebody waits for another of it. INTERNAL when
    /// the group ended by a panic.
    pub async fn join(self: &Arc<Self>, organization_id: OrganizationId, write: W) -> Result<O> {
        let (answer, outcome) = oneshot::channel();
        let is_first = {
            let mut waiting = self.lock();
            let is_first = !waiting.contains_key(&organization_id);
            waiting.entry(organization_id).or_default().push((write, answer));
            is_first
        };
        if is_first {
            let turn = Turn { groups: self.clone(), organization_id };
            tokio::spawn(turn.work().in_current_span());
        }
        outcome.await.map_err(|_| Error::internal("a group of writes ended without an outcome"))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrganizationId, Vec<Waiting<W, O>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next group; none, and the organization's turn is over.
    fn next(&self, organization_id: OrganizationId) -> Vec<Waiting<W, O>> {
        let mut waiting = self.lock();
        let all = waiting.entry(organization_id).or_default();
        all.retain(|(_, answer)| !answer.is_closed());
        if all.is_empty() {
            waiting.remove(&organization_id);
            return Vec::new();
        }
        let group = all.len().min(MAX_GROUP);
        all.drain(..group).collect()
    }
}

/// The right to make an organization's groups, one after the other.
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
            let (writes, mut answers): (Vec<W>, Vec<oneshot::Sender<O>>) = group.into_iter().unzip();
            let outcomes = tokio::select! {
                outcomes = (self.groups.run)(writes) => outcomes,
                // A statement ends with whoever waits for it: this rolls the group back.
                () = all_gone(&mut answers) => continue,
            };
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                let _ = answer.send(outcome);
            }
        }
    }
}

/// Until nobody waits for any of the outcomes.
async fn all_gone<O>(answers: &mut [oneshot::Sender<O>]) {
    for answer in answers {
        answer.closed().await;
    }
}

impl<W, O> Drop for Turn<W, O> {
    /// After a panic nobody would take the next turn: whoever waits is told by the loss of their channel.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut waiting = self.groups.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.remove(&self.organization_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::sync::Semaphore;
    use uuid::Uuid;

    use super::*;

    /// A write that waits for a permit, and is answered with the numbers of its group.
    type Write = (u32, Arc<Semaphore>);

    async fn run(writes: Vec<Write>) -> Vec<Vec<u32>> {
        let permit = writes[0].1.acquire().await.expect("an open semaphore");
        permit.forget();
        let numbers: Vec<u32> = writes.iter().map(|(number, _)| *number).collect();
        assert!(!numbers.contains(&99), "a write that fails");
        writes.iter().map(|_| numbers.clone()).collect()
    }

    fn groups() -> Arc<Groups<Write, Vec<u32>>> {
        Arc::new(Groups::new(|writes| run(writes).boxed()))
    }

    async fn waiting(groups: &Groups<Write, Vec<u32>>, organization_id: OrganizationId, count: usize) {
        while groups.lock().get(&organization_id).map_or(0, Vec::len) != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn those_that_come_meanwhile_are_written_together_in_their_order() {
        let (groups, gate, one) =
            (groups(), Arc::new(Semaphore::new(0)), OrganizationId::from_uuid(Uuid::from_u128(1)));
        let join = |organization_id, number| {
            let (groups, gate) = (groups.clone(), gate.clone());
            tokio::spawn(async move { groups.join(organization_id, (number, gate)).await })
        };
        let first = join(one, 0);
        waiting(&groups, one, 0).await;
        while !groups.lock().contains_key(&one) {
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
        assert_eq!(first.await.expect("a task").ok(), Some(vec![0]));
        assert_eq!(elsewhere.await.expect("a task").ok(), Some(vec![7]), "no other organization waits");
        for other in others {
            assert_eq!(other.await.expect("a task").ok(), Some(vec![1, 3]));
        }
        waiting(&groups, one, 0).await;
        while groups.lock().contains_key(&one) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn after_a_panic_the_next_write_begins_anew() {
        let (groups, gate, one) =
            (groups(), Arc::new(Semaphore::new(2)), OrganizationId::from_uuid(Uuid::from_u128(1)));
        assert!(groups.join(one, (99, gate.clone())).await.is_err());
        while groups.lock().contains_key(&one) {
            tokio::task::yield_now().await;
        }
        assert_eq!(groups.join(one, (1, gate)).await.ok(), Some(vec![1]));
    }

    #[tokio::test]
    async fn a_group_ends_when_nobody_waits_for_it() {
        let (groups, gate, one) =
            (groups(), Arc::new(Semaphore::new(0)), OrganizationId::from_uuid(Uuid::from_u128(1)));
        for _ in 0..2 {
            let gone = groups.join(one, (0, gate.clone()));
            assert!(tokio::time::timeout(Duration::from_millis(20), gone).await.is_err());
            while groups.lock().contains_key(&one) {
                tokio::task::yield_now().await;
            }
        }
        gate.add_permits(1);
        assert_eq!(groups.join(one, (1, gate)).await.ok(), Some(vec![1]));
    }
}
