//! The application: database, state, API and routes put together.

use std::sync::Arc;

use axum::Router;

use crate::{
    api::{
        endpoint::Api,
        http::{
            playground::DemoAccounts,
            router::{self, App},
            serve::Draining,
        },
    },
    base::{
        clock::Clock,
        config::{Config, Mode},
        error::Error,
        secret::ServerSecret,
    },
    data::db::{Db, Observer},
    jobs::deliveries::Worker,
    platform::{auth::password::Cost, outgoing::Dependencies, state::State},
};

/// How a start differs from the usual one.
#[derive(Default)]
pub struct Options {
    pub demo: DemoAccounts,
    pub clock: Option<Clock>,
    pub password_cost: Option<Cost>,
    pub observer: Option<Observer>,
    /// Health and metrics alone: of a process that only sends to webhooks.
    pub no_api: bool,
    /// What outgoing requests meet.
    pub dependencies: Dependencies,
}

/// A server that is ready to be served.
pub struct Application {
    pub state: State,
    pub router: Router,
    pub draining: Draining,
    pub worker: Worker,
}

/// Why a server does not start, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Connect(#[from] crate::data::db::ConnectError),
    #[error(transparent)]
    Config(#[from] crate::base::config::ConfigError),
    #[error("the database lacks {0} schema step(s); run `todo-platform migrate` first")]
    Unmigrated(usize),
    #[error("the database could not be migrated: {0}")]
    Migration(String),
    #[error("{0}")]
    Other(String),
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self::Other(error.describe())
    }
}

/// Opens the database and puts everything together. In embedded mode the schema is brought up to date; in production a
/// missing step stops the start, since several instances may share the database.
pub async fn start(config: Arc<Config>, options: Options) -> Result<Application, StartError> {
    let secret: ServerSecret = config.secret()?;
    let clock = options.clock.unwrap_or_else(Clock::system);
    let db = Db::connect(&config.database, clock, options.observer).await?;
    prepare_schema(&db, &config).await?;
    let cost = options.password_cost.unwrap_or(Cost::OWASP);
    let state = State::new(db, config, &secret, cost, options.dependencies).await?;
    let draining = Draining::default();
    let api = Api::new(state.clone())?;
    let worker = Worker::new(&api)?;
    let app = App { api, draining: draining.clone(), demo: options.demo, no_api: options.no_api };
    Ok(Application { router: router::router(app), state, draining, worker })
}

/// Migrates an embedded database, checks any other.
pub async fn prepare_schema(db: &Db, config: &Config) -> Result<(), StartError> {
    match config.mode {
        Mode::Embedded => {
            let migrated = db.migrate(config.database.migration_wait).await;
            migrated.map(drop).map_err(|error| StartError::Migration(error.to_string()))
        }
        Mode::Production => {
            let missing = db.pending_migrations().await;
            match missing.map_err(|error| StartError::Migration(error.to_string()))?.len() {
                0 => Ok(()),
                missing => Err(StartError::Unmigrated(missing)),
            }
        }
    }
}
