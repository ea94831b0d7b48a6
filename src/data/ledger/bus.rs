//! The bus: who learns that a ledger has grown, or that rights may have changed. It only wakes; the ledger is read for
//! the truth, so news that is lost, late or doubled does no harm.
//!
//! Commits tell this instance's followers at once. `live::bridge` carries them to other instances, where Redis is
//! configured, and brings theirs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use crate::base::id::OrganizationId;

/// Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Bus(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The newest sequence heard of, of each ledger that somebody here follows.
    followed: Mutex<HashMap<OrganizationId, watch::Sender<KnownHead>>>,
    rights: watch::Sender<()>,
    deliveries: watch::Sender<()>,
    jobs: watch::Sender<()>,
    /// Whether anybody carries news to other instances.
    is_relayed: AtomicBool,
    announcements: Mutex<Announcements>,
    has_announcements: Notify,
}

/// How far a ledger has got, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownHead {
    pub sequence: i64,
    pub from: Source,
}

/// Where news came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A commit on this instance.
    Commit,
    /// Another instance, by Redis.
    Redis,
    /// The database was asked.
    Poll,
}

impl Source {
    /// For metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Redis => "redis",
            Self::Poll => "poll",
        }
    }
}

/// What other instances have not been told yet. It can't grow beyond one entry an organization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcements {
    pub heads: BTreeMap<OrganizationId, i64>,
    pub rights: bool,
    pub deliveries: bool,
}

impl Announcements {
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty() && !self.rights && !self.deliveries
    }
}

impl Bus {
    /// After a commit on this instance: the new positions of the ledgers it wrote to.
    pub fn committed(&self, heads: &BTreeMap<OrganizationId, i64>) {
        for (organization_id, sequence) in heads {
            self.hear(*organization_id, *sequence, Source::Commit);
        }
        self.relay(|announcements| {
            for (organization_id, sequence) in heads {
                let newest = announcements.heads.entry(*organization_id).or_default();
                *newest = (*newest).max(*sequence);
            }
        });
    }

    /// After a commit on this instance that may have changed who may do what.
    pub fn rights_changed(&self) {
        self.hear_rights();
        self.relay(|announcements| announcements.rights = true);
    }

    /// After a commit on this instance that left something to be sent to webhooks.
    pub fn deliveries_made(&self) {
        self.hear_deliveries();
        self.relay(|announcements| announcements.deliveries = true);
    }

    /// Something is to be sent to webhooks, from whoever knows.
    pub fn hear_deliveries(&self) {
        self.0.deliveries.send_replace(());
    }

    /// Wakes when something is to be sent to webhooks.
    pub fn deliveries(&self) -> watch::Receiver<()> {
        self.0.deliveries.subscribe()
    }

    /// After a commit on this instance that left a job. Other instances find it by their polls.
    pub fn jobs_left(&self) {
        self.0.jobs.send_replace(());
    }

    /// Wakes when a job was left here.
    pub fn jobs(&self) -> watch::Receiver<()> {
        self.0.jobs.subscribe()
    }

    /// A ledger has got as far as `sequence`, from whoever knows.
    pub fn hear(&self, organization_id: OrganizationId, sequence: i64, from: Source) {
        if let Some(newest) = self.followed().get(&organization_id) {
            newest.send_if_modified(|newest| {
                let is_new = sequence > newest.sequence;
                if is_new {
                    *newest = KnownHead { sequence, from };
                }
                is_new
            });
        }
    }

    /// Rights may have changed somewhere.
    pub fn hear_rights(&self) {
        self.0.rights.send_replace(());
    }

    /// Follows a ledger, of which everything up to `sequence` is known.
    pub fn follow(&self, organization_id: OrganizationId, sequence: i64) -> watch::Receiver<KnownHead> {
        let known = || watch::Sender::new(KnownHead { sequence, from: Source::Commit });
        self.followed().entry(organization_id).or_insert_with(known).subscribe()
    }

    /// Ends it: receivers learn that nothing will come.
    pub fn unfollow(&self, organization_id: OrganizationId) {
        self.followed().remove(&organization_id);
    }

    /// Wakes when rights may have changed.
    pub fn rights(&self) -> watch::Receiver<()> {
        self.0.rights.subscribe()
    }

    /// From now on news is kept for [`Bus::news`].
    pub fn be_relayed(&self) {
        self.0.is_relayed.store(true, Ordering::Relaxed);
    }

    /// What other instances should know; waits until there is something.
    pub async fn announcements(&self) -> Announcements {
        loop {
            let announcements = std::mem::take(&mut *self.kept());
            if !announcements.is_empty() {
                return announcements;
            }
            self.0.has_announcements.notified().await;
        }
    }

    fn relay(&self, add: impl FnOnce(&mut Announcements)) {
        if self.0.is_relayed.load(Ordering::Relaxed) {
            add(&mut self.kept());
            self.0.has_announcements.notify_one();
        }
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<OrganizationId, watch::Sender<KnownHead>>> {
        self.0.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Announcements> {
        self.0.announcements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn organization(number: u128) -> OrganizationId {
        OrganizationId::from_uuid(Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn followers_wake_once_for_news_and_not_for_old_news() {
        let bus = Bus::default();
        let mut follower = bus.follow(organization(1), 5);
        assert!(!follower.has_changed().expect("it is followed"));
        bus.committed(&BTreeMap::from([(organization(1), 7), (organization(2), 1)]));
        assert_eq!(*follower.borrow_and_update(), KnownHead { sequence: 7, from: Source::Commit });
        bus.hear(organization(1), 6, Source::Poll);
        assert!(!follower.has_changed().expect("it is followed"), "late news");
        bus.unfollow(organization(1));
        assert!(follower.changed().await.is_err(), "nothing will come any more");
    }

    #[tokio::test]
    async fn news_for_others_is_kept_only_where_somebody_carries_it() {
        let bus = Bus::default();
        bus.committed(&BTreeMap::from([(organization(1), 7)]));
        bus.be_relayed();
        bus.committed(&BTreeMap::from([(organization(1), 9)]));
        bus.committed(&BTreeMap::from([(organization(1), 8), (organization(2), 3)]));
        bus.rights_changed();
        let heads = BTreeMap::from([(organization(1), 9), (organization(2), 3)]);
        bus.deliveries_made();
        assert_eq!(bus.announcements().await, Announcements { heads, rights: true, deliveries: true });
    }
}
