//! What every request needs: the database with its clock, keys, settings. Cheap to clone.

use std::sync::Arc;

use crate::{
    auth::{
        password::{Cost, PasswordHasher},
        secret::ServerSecret,
        token::KeyRing,
    },
    clock::Clock,
    config::Config,
    db::Db,
    error::Result,
};

#[derive(Clone, Debug)]
pub struct State {
    pub db: Db,
    pub keys: KeyRing,
    pub passwords: PasswordHasher,
    pub config: Arc<Config>,
}

impl State {
    /// Reads the key ring; the schema must be current.
    pub async fn new(db: Db, config: Arc<Config>, secret: &ServerSecret, cost: Cost) -> Result<Self> {
        let keys = KeyRing::load(&db, secret).await?;
        Ok(Self { keys, passwords: PasswordHasher::new(cost)?, db, config })
    }

    pub fn clock(&self) -> &Clock {
        self.db.clock()
    }
}
