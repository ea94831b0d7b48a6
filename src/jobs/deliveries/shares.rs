//! Whose webhooks a worker sends for: so many in all, so many of one organization, and always some room for organizations
//! that have none of their own under way. Otherwise receivers that hang, of one organization or of a few, would hold
//! everything for as long as their requests may take, again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    base::{config::WebhooksConfig, id::OrganizationId},
    data::db::deliveries::FreeQueue,
};

/// This part of a worker's queues, an eighth, is for organizations of which it holds none.
const RESERVED_PART: usize = 8;

/// Clones share it.
#[derive(Clone)]
pub struct QueueShares {
    total: usize,
    each: usize,
    /// Queues of each organization; of those without any, no entry.
    held: Arc<Mutex<HashMap<OrganizationId, usize>>>,
}

/// A queue that is counted until this is dropped.
pub struct Held {
    organization_id: OrganizationId,
    shares: QueueShares,
}

impl QueueShares {
    pub fn new(config: &WebhooksConfig) -> Self {
        Self { total: config.concurrency, each: config.organization_concurrency, held: Arc::default() }
    }

    /// Queues that may be taken now, and the organizations that get none of them.
    pub fn room(&self) -> (usize, Vec<OrganizationId>) {
        let held = self.held();
        let taken: usize = held.values().sum();
        let is_scarce = taken >= self.total - self.total / RESERVED_PART;
        let full =
            held.iter().filter(|(_, queues)| is_scarce || **queues >= self.each).map(|(organization, _)| *organization);
        (self.total.saturating_sub(taken), full.collect())
    }

    /// Up to `limit` of `free`: whoever holds the fewest comes first, and nobody gets more than their share.
    pub fn choose(&self, free: Vec<FreeQueue>, limit: usize) -> Vec<FreeQueue> {
        let held = self.held().clone();
        let mut would_hold = held;
        let mut ranked: Vec<(usize, FreeQueue)> = free
            .into_iter()
            .map(|queue| {
                let queues = would_hold.entry(queue.organization_id).or_default();
                *queues += 1;
                (*queues, queue)
            })
            .filter(|(queues, _)| *queues <= self.each)
            .collect();
        // Stable: of those that hold the same, the longest without a worker first, as they came.
        ranked.sort_by_key(|(queues, _)| *queues);
        ranked.truncate(limit);
        ranked.into_iter().map(|(_, queue)| queue).collect()
    }

    pub fn hold(&self, organization_id: OrganizationId) -> Held {
        *self.held().entry(organization_id).or_default() += 1;
        Held { organization_id, shares: self.clone() }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<OrganizationId, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        if let Some(queues) = held.get_mut(&self.organization_id) {
            *queues -= 1;
            if *queues == 0 {
                held.remove(&self.organization_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::base::id::Id;

    fn shares(total: usize, each: usize) -> QueueShares {
        let config = WebhooksConfig { concurrency: total, organization_concurrency: each, ..WebhooksConfig::default() };
        QueueShares::new(&config)
    }

    fn organization(number: u128) -> OrganizationId {
        Id::from_uuid(Uuid::from_u128(number))
    }

    fn free(organizations: &[u128]) -> Vec<FreeQueue> {
        let queue = |number: &u128| FreeQueue {
            organization_id: organization(*number),
            webhook_id: Id::from_uuid(Uuid::nil()),
        };
        organizations.iter().map(queue).collect()
    }

    #[test]
    fn whoever_holds_the_fewest_comes_first() {
        let shares = shares(64, 3);
        let _held = [shares.hold(organization(1)), shares.hold(organization(1))];
        let chosen = shares.choose(free(&[1, 2, 3, 1, 2, 1]), 4);
        assert_eq!(chosen, free(&[2, 3, 2, 1]), "and the first has its third one, no more");
    }

    #[test]
    fn what_is_scarce_goes_to_who_has_nothing() {
        let shares = shares(16, 14);
        let mut held: Vec<Held> = (0..13).map(|_| shares.hold(organization(1))).collect();
        assert_eq!(shares.room(), (3, Vec::new()));
        held.push(shares.hold(organization(1)));
        assert_eq!(shares.room(), (2, vec![organization(1)]));
        held.clear();
        assert_eq!(shares.room(), (16, Vec::new()));
    }
}
