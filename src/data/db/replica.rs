//! Reading from a replica of PostgreSQL, as if there were none: a query is given to it only while it has everything that
//! was acknowledged before the query began. How far the ledger has got is asked of the database itself, in one short
//! statement; a change and its place in the ledger are one transaction, so a replica with the place has the change.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use moka::sync::Cache;

use super::{Connections, OrgScope, ledger::ReadVersion, pool::Pool};
use crate::base::{
    error::{Error, Result},
    id::OrganizationId,
};

/// Organizations of which is known how far the replica has got.
const KNOWN: u64 = 10_000;
/// How long a replica may take to say how far it has got.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a replica that failed is left alone.
const REST: Duration = Duration::from_secs(2);

/// A replica, with what is known of it.
#[derive(Debug)]
pub(super) struct Replica {
    pool: Arc<Pool>,
    /// With the pool's openings before that was asked: it holds for connections that were open then.
    known: Cache<OrganizationId, (ReadVersion, u64)>,
    since: Instant,
    /// When it is asked again, in milliseconds after `since`.
    rests_until: AtomicU64,
}

/// Where a query reads from.
#[derive(Clone, Debug)]
pub enum ReadFrom {
    /// There is no replica.
    Database,
    /// The replica has not got everything yet: the database.
    ReplicaBehind,
    /// The replica does not answer: the database.
    ReplicaAway,
    /// The replica, by this scope.
    Replica(OrgScope),
}

impl Replica {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        let known = Cache::builder().max_capacity(KNOWN).build();
        Self { pool, known, since: Instant::now(), rests_until: AtomicU64::default() }
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn rests(&self) -> bool {
        self.millis() < self.rests_until.load(Ordering::Relaxed)
    }

    /// Looks whether it answers at all, after a query failed there or took long. Only if not is it left alone for a while:
    /// whoever asks too much of it must not keep it from the others.
    async fn suspect(&self, cause: &str) {
        let server = Connections::new(self.pool.clone());
        if matches!(tokio::time::timeout(PATIENCE, server.ping()).await, Ok(Ok(()))) || self.rests() {
            return;
        }
        tracing::warn!(cause, "the replica of the database can't be read from; queries go on without it");
        self.rests_until.store(self.millis() + REST.as_millis() as u64, Ordering::Relaxed);
    }
}

impl OrgScope {
    /// Where a query reads from that depends on the ledger and on profiles alone. One statement, two when the replica's
    /// place must be asked.
    pub async fn read_from(&self) -> Result<ReadFrom> {
        let Some(replica) = self.db().replica() else { return Ok(ReadFrom::Database) };
        if replica.rests() {
            return Ok(ReadFrom::ReplicaAway);
        }
        let needed = self.read_version().await?;
        // A replica that was restarted, or has taken another's place, may have got less far; its connections are new ones.
        let opened = replica.pool.opened();
        let scope = self.over(self.db().reading_from(&replica.pool, opened));
        let known = replica.known.get(&self.organization_id());
        if known.is_some_and(|(known, asked_at)| asked_at == opened && known.covers(needed)) {
            return Ok(ReadFrom::Replica(scope));
        }
        let asking = self.over(self.db().reading_from(&replica.pool, u64::MAX));
        let asked = tokio::time::timeout(PATIENCE, asking.read_version()).await;
        match asked.unwrap_or_else(|_| Err(Error::internal("the replica takes too long"))) {
            Ok(version) => {
                replica.known.insert(self.organization_id(), (version, opened));
                Ok(if version.covers(needed) { ReadFrom::Replica(scope) } else { ReadFrom::ReplicaBehind })
            }
            Err(error) => {
                replica.suspect(&error.describe().to_string()).await;
                Ok(ReadFrom::ReplicaAway)
            }
        }
    }

    /// To be called when a query failed, or got no answer, that read from the replica.
    pub async fn suspect_replica(&self, cause: &str) {
        if let Some(replica) = self.db().replica() {
            replica.suspect(cause).await;
        }
    }
}
