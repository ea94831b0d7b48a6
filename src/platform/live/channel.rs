//! The channel by which the subscribers of an organization hear its ledger. A batch stays as long as somebody has not
//! taken it; when too many wait, or too many bytes, the oldest go, and whoever had not taken them has missed them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{
    Missed,
    batch::{Batch, Scale},
};
use crate::base::{config::SubscriptionsConfig, id::OrganizationId};

pub(super) struct Channel {
    pub organization_id: OrganizationId,
    /// Batches and bytes that may wait.
    limits: (usize, usize),
    scale: Scale,
    state: Mutex<State>,
    /// How many batches were handed out; closed with the channel.
    announcements: Mutex<Option<watch::Sender<u64>>>,
    /// The last heartbeat's batch.
    beat: Mutex<Option<Arc<Batch>>>,
}

struct State {
    /// What somebody has not taken yet, oldest first.
    waiting: VecDeque<Waiting>,
    /// The number of the first that waits.
    first: u64,
    subscribers: usize,
    /// The last sequence handed out.
    position: i64,
}

struct Waiting {
    batch: Arc<Batch>,
    /// Subscribers who have not taken it.
    subscribers: usize,
}

/// One subscriber's end.
pub(super) struct Receiver {
    channel: Arc<Channel>,
    announcements: watch::Receiver<u64>,
    /// The number of the next batch.
    next: u64,
}

impl Channel {
    pub fn new(organization_id: OrganizationId, position: i64, config: &SubscriptionsConfig, scale: Scale) -> Self {
        let state = State { waiting: VecDeque::new(), first: 0, subscribers: 0, position };
        let announcements = Mutex::new(Some(watch::Sender::new(0)));
        let limits = (config.queue, config.queue_bytes);
        Self { organization_id, limits, scale, state: Mutex::new(state), announcements, beat: Mutex::default() }
    }

    /// From now on, and from which position.
    pub fn join(self: &Arc<Self>) -> (Receiver, i64) {
        let announcements =
            self.announcements().as_ref().map_or_else(|| watch::Sender::new(0).subscribe(), watch::Sender::subscribe);
        let mut state = self.state();
        state.subscribers += 1;
        let next = state.first + state.waiting.len() as u64;
        (Receiver { channel: self.clone(), announcements, next }, state.position)
    }

    pub fn subscribers(&self) -> usize {
        self.state().subscribers
    }

    /// Nothing will come any more.
    pub fn close(&self) {
        *self.announcements() = None;
    }

    pub fn beat(&self, sequence: i64) -> Arc<Batch> {
        let mut beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        match &*beat {
            Some(batch) if batch.last == sequence => batch.clone(),
            _ => beat.insert(Arc::new(Batch::new(sequence, Vec::new(), &self.scale))).clone(),
        }
    }

    pub const fn scale(&self) -> &Scale {
        &self.scale
    }

    pub fn position(&self) -> i64 {
        self.state().position
    }

    pub fn hand_out(&self, batch: Batch) {
        let mut state = self.state();
        state.position = batch.last;
        let subscribers = state.subscribers;
        if subscribers == 0 {
            return;
        }
        state.waiting.push_back(Waiting { batch: Arc::new(batch), subscribers });
        // The one that came last stays, whatever it weighs.
        while state.waiting.len() > self.limits.0 || state.waiting.len() > 1 && state.bytes() > self.limits.1 {
            state.forget_first();
        }
        let count = state.first + state.waiting.len() as u64;
        drop(state);
        if let Some(announcements) = &*self.announcements() {
            announcements.send_replace(count);
        }
    }

    /// What waits, in bytes.
    pub fn bytes(&self) -> usize {
        self.state().bytes()
    }

    /// Lets go of all that waits: whoever had not taken it has missed it.
    pub fn relieve(&self) {
        let mut state = self.state();
        while !state.waiting.is_empty() {
            state.forget_first();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announcements(&self) -> MutexGuard<'_, Option<watch::Sender<u64>>> {
        self.announcements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bytes(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.batch.bytes()).sum()
    }

    fn forget_first(&mut self) {
        if self.waiting.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Of those from `next` on one subscriber less is awaited.
    fn take_from(&mut self, next: u64, count: usize) {
        let skip = usize::try_from(next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        for waiting in self.waiting.iter_mut().skip(skip).take(count) {
            waiting.subscribers -= 1;
        }
        while self.waiting.front().is_some_and(|waiting| waiting.subscribers == 0) {
            self.forget_first();
        }
    }
}

impl Receiver {
    /// The next batch. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<Arc<Batch>, Missed> {
        loop {
            self.announcements.mark_unchanged();
            {
                let mut state = self.channel.state();
                if self.next < state.first {
                    return Err(Missed::TooSlow);
                }
                let at = usize::try_from(self.next - state.first).unwrap_or(usize::MAX);
                if let Some(waiting) = state.waiting.get(at) {
                    let batch = waiting.batch.clone();
                    state.take_from(self.next, 1);
                    self.next += 1;
                    return Ok(batch);
                }
            }
            self.announcements.changed().await.map_err(|_| Missed::Gone)?;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.channel.state();
        state.subscribers -= 1;
        state.take_from(self.next, usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use uuid::Uuid;

    use super::*;

    fn channel(queue: usize) -> (Arc<Channel>, Scale) {
        let scale = Scale::default();
        let config = SubscriptionsConfig { queue, ..SubscriptionsConfig::default() };
        let organization_id = OrganizationId::from_uuid(Uuid::from_u128(1));
        (Arc::new(Channel::new(organization_id, 0, &config, scale.clone())), scale)
    }

    fn take(receiver: &mut Receiver) -> Option<Result<i64, Missed>> {
        receiver.next().now_or_never().map(|next| next.map(|batch| batch.last))
    }

    #[test]
    fn a_batch_stays_until_all_have_taken_it() {
        let (channel, scale) = channel(3);
        let batch = |number| Batch::new(number, Vec::new(), &scale);
        channel.hand_out(batch(1));
        let (mut quick, _) = channel.join();
        let (mut slow, _) = channel.join();
        assert_eq!(take(&mut quick), None, "nothing since it came");
        for number in 2..=4 {
            channel.hand_out(batch(number));
            assert_eq!(take(&mut quick), Some(Ok(number)));
        }
        assert_eq!(channel.state().waiting.len(), 3);
        assert_eq!(take(&mut slow), Some(Ok(2)));
        assert_eq!(channel.state().waiting.len(), 2);
        for number in 5..=6 {
            channel.hand_out(batch(number));
            assert_eq!(take(&mut quick), Some(Ok(number)));
        }
        assert_eq!(take(&mut slow), Some(Err(Missed::TooSlow)));
        drop(slow);
        assert_eq!(channel.state().waiting.len(), 0);
        channel.close();
        assert_eq!(take(&mut quick), Some(Err(Missed::Gone)));
    }
}
