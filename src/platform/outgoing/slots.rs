//! Slots that organizations share: so many in all, and so many for one organization, so that whoever fills their own
//! leaves some for everybody else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::base::id::OrganizationId;

pub struct Slots {
    all: Arc<Semaphore>,
    total: usize,
    each: usize,
    own: Mutex<HashMap<OrganizationId, Arc<Semaphore>>>,
}

/// A slot; it is free again when this is dropped.
pub struct Slot {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Slots {
    /// `each` of `total` slots for one organization at most.
    pub fn new(total: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(total)), total, each, own: Mutex::default() }
    }

    /// Waits for a slot of the organization's own first: who waits for that waits in nobody else's way. `None` can't
    /// happen: nothing closes the semaphores.
    pub async fn place(&self, organization_id: OrganizationId) -> Option<Slot> {
        let own = self.of(organization_id);
        let own = own.acquire_owned().await.ok()?;
        let all = self.all.clone().acquire_owned().await.ok()?;
        Some(Slot { _own: own, _all: all })
    }

    fn of(&self, organization_id: OrganizationId) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody holds one or waits for one.
        if own.len() > self.total {
            own.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        own.entry(organization_id).or_insert_with(|| Arc::new(Semaphore::new(self.each))).clone()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn one_organization_leaves_room_for_the_next() {
        let shares = Slots::new(4, 2);
        let id = |number| OrganizationId::from_uuid(Uuid::from_u128(number));
        let first = shares.place(id(1)).await;
        let _second = shares.place(id(1)).await;
        assert!(shares.place(id(1)).now_or_never().is_none(), "its share is used up");
        let others = [shares.place(id(2)).now_or_never(), shares.place(id(2)).now_or_never()];
        assert!(others.iter().all(Option::is_some));
        assert!(shares.place(id(3)).now_or_never().is_none(), "all are taken");
        drop(first);
        assert!(shares.place(id(3)).now_or_never().is_some());
        drop(others);
        for number in 10..100 {
            drop(shares.place(id(number)).await);
        }
        assert!(shares.own.lock().expect("entries").len() <= 6, "what nobody uses is dropped");
    }
}
