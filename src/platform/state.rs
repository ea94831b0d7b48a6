//! What every request needs: the database with its clock, keys, settings. Cheap to clone.

use std::{ops::Deref, sync::Arc};

use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::{
    base::{
        clock::Clock,
        config::Config,
        error::{Error, Result},
        secret::ServerSecret,
    },
    data::db::{Consumer, Db, retrying},
    platform::{
        auth::{
            api_key::KeyMint,
            password::{Cost, PasswordHasher},
            session::Authenticator,
            token::KeyRing,
        },
        connections::Connections,
        live::Live,
        mail::Mailer,
        metering::Collector,
        metrics::Metrics,
        outgoing::{Dependencies, Outgoing},
        rate_limit::RateLimiter,
        redis::Redis,
        refused_callbacks::RefusedCallbacks,
    },
};

#[derive(Clone, Debug)]
pub struct State {
    /// With the share of its connections that whoever is served has.
    pub db: Db,
    parts: Arc<Parts>,
}

impl Deref for State {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// What a [`State`] leads to.
#[derive(Debug)]
pub struct Parts {
    pub keys: KeyRing,
    pub mint: KeyMint,
    /// Opens what is kept encrypted.
    pub secret: ServerSecret,
    /// Every request to somebody else's server leaves through it.
    pub outgoing: Outgoing,
    pub passwords: PasswordHasher,
    pub config: Arc<Config>,
    /// Every e-mail leaves through it.
    pub mailer: Mailer,
    /// Counts requests; nothing of it waits for the database.
    pub usage: Collector,
    pub metrics: Metrics,
    /// Where one is configured.
    pub redis: Option<Redis>,
    pub rate_limit: RateLimiter,
    /// What subscribers hear, and when it stops.
    pub live: Live,
    /// Those of clients, and what waits on them to be taken.
    pub connections: Connections,
    /// Callbacks that were rejected, by hook.
    pub refusals: RefusedCallbacks,
    /// Work that an answer doesn't wait for; the server does, before it ends.
    pub background: TaskTracker,
}

impl State {
    /// Reads the epoch and the key ring; the schema must be current.
    pub async fn new(
        db: Db,
        config: Arc<Config>,
        secret: &ServerSecret,
        cost: Cost,
        dependencies: Dependencies,
    ) -> Result<Self> {
        db.read_epoch().await?;
        let metrics = Metrics::new(config.redis.is_some());
        let redis = match &config.redis {
            Some(redis) => Some(Redis::start(redis, metrics.clone()).await?),
            None => None,
        };
        let background = TaskTracker::new();
        let rate_limit =
            RateLimiter::new(&config.limits, redis.clone(), db.clock().clone(), metrics.clone(), background.clone());
        let live = Live::start(db.clone(), redis.clone(), &config.subscriptions, metrics.clone());
        let parts = Parts {
            live,
            connections: Connections::new(&config.server),
            mailer: Mailer::new(&config, db.clone(), background.clone(), metrics.clone())?,
            keys: KeyRing::load(&db, secret).await?,
            mint: KeyMint::new(secret)?,
            secret: secret.clone(),
            outgoing: Outgoing::within(&config.webhooks, dependencies).map_err(Error::internal)?,
            passwords: PasswordHasher::new(cost)?,
            background,
            usage: Collector::new(db.clone()),
            refusals: RefusedCallbacks::default(),
            metrics,
            redis,
            rate_limit,
            config,
        };
        Ok(Self { db, parts: Arc::new(parts) })
    }

    /// The same for work on somebody's behalf: with their share of the database's connections.
    #[must_use]
    pub fn used_by(&self, consumer: Consumer) -> Self {
        Self { db: self.db.used_by(consumer), parts: self.parts.clone() }
    }

    pub fn clock(&self) -> &Clock {
        self.db.clock()
    }

    /// Does `work` after the answer, three times where the database gives way. What fails is logged, with `what` it was
    /// about, and nobody else hears of it.
    pub fn later<F>(&self, what: &'static str, mut work: impl FnMut(Self) -> F + Send + 'static)
    where
        F: Future<Output = Result<()>> + Send,
    {
        let state = self.clone();
        let work = async move {
            if let Err(error) = retrying(|| work(state.clone())).await {
                tracing::error!(error = %error.describe(), "{what} failed");
            }
        };
        self.background.spawn(work.in_current_span());
    }

    pub fn authenticator(&self) -> Authenticator {
        Authenticator { db: self.db.clone(), keys: self.keys.clone(), mint: self.mint.clone() }
    }
}
