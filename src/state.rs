//! What every request needs: the database with its clock, keys, settings. Cheap to clone.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::{
    auth::{
        api_key::KeyMint,
        password::{Cost, PasswordHasher},
        secret::ServerSecret,
        session::Authenticator,
        token::KeyRing,
    },
    clock::Clock,
    config::Config,
    db::Db,
    error::Result,
    metering::Collector,
};

#[derive(Clone, Debug)]
pub struct State {
    pub db: Db,
    pub keys: KeyRing,
    pub mint: KeyMint,
    pub passwords: PasswordHasher,
    pub config: Arc<Config>,
    /// Counts requests; nothing of it waits for the database.
    pub usage: Collector,
    /// Work that an answer doesn't wait for; the server does, before it ends.
    pub background: TaskTracker,
}

impl State {
    /// Reads the key ring; the schema must be current.
    pub async fn new(db: Db, config: Arc<Config>, secret: &ServerSecret, cost: Cost) -> Result<Self> {
        Ok(Self {
            keys: KeyRing::load(&db, secret).await?,
            mint: KeyMint::new(secret)?,
            passwords: PasswordHasher::new(cost)?,
            background: TaskTracker::new(),
            usage: Collector::new(db.clone()),
            db,
            config,
        })
    }

    pub fn clock(&self) -> &Clock {
        self.db.clock()
    }

    pub fn authenticator(&self) -> Authenticator {
        Authenticator { db: self.db.clone(), keys: self.keys.clone(), mint: self.mint.clone() }
    }
}
