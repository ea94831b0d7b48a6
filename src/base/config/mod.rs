//! Settings: defaults, then `todo-platform.toml` (or `--config FILE`), then the environment. An unknown key or a bad
//! value stops the start with a message that names it. `docs/CONFIGURATION.md` lists them all.
//!
//! To add one: a field with its default in the concern's file, a row in the docs. A plain name also goes into [`PLAIN`].

mod auth;
mod billing;
mod callbacks;
mod database;
mod environment;
mod ledger;
mod limits;
mod mail;
mod parse;
mod redis;
mod server;
mod sockets;
mod subscriptions;
mod tracing;
mod trash;
mod usage;
mod webhooks;

use std::path::{Path, PathBuf};

use figment::{
    Figment,
    providers::{Format, Serialized, Toml},
};
use serde::{Deserialize, Serialize};

pub use self::{
    auth::AuthConfig,
    billing::BillingConfig,
    callbacks::CallbacksConfig,
    database::DatabaseConfig,
    ledger::LedgerConfig,
    limits::LimitsConfig,
    mail::{Encryption, MailConfig, SmtpServer},
    redis::RedisConfig,
    server::ServerConfig,
    sockets::SocketsConfig,
    subscriptions::SubscriptionsConfig,
    tracing::TracingConfig,
    trash::TrashConfig,
    usage::UsageConfig,
    webhooks::WebhooksConfig,
};
use crate::base::{enums::PlanTier, secret};

/// Names used as they are, without `TODO_`: those that operators know from elsewhere.
const PLAIN: &[&str] = &[
    "HOST",
    "PORT",
    "DATA_DIR",
    "DATABASE_URL",
    "DATABASE_READ_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "SECRET_KEY_OLD",
    "CORS_ORIGINS",
    "PUBLIC_URL",
    "LOG_LEVEL",
];

/// Where settings are read when no `--config` names a file; it may be absent.
pub const DEFAULT_FILE: &str = "todo-platform.toml";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    host: String,
    #[serde(deserialize_with = "parse::number")]
    port: u16,
    data_dir: PathBuf,
    database_url: Option<String>,
    database_read_url: Option<String>,
    redis_url: Option<String>,
    secret_key: Option<String>,
    #[serde(deserialize_with = "parse::list")]
    secret_key_old: Vec<String>,
    #[serde(deserialize_with = "parse::list")]
    cors_origins: Vec<String>,
    public_url: Option<String>,
    log_level: String,
    mode: Option<Mode>,
    database: database::Raw,
    redis: redis::Raw,
    server: server::Raw,
    auth: AuthConfig,
    limits: LimitsConfig,
    plans: PlansConfig,
    mail: MailConfig,
    usage: UsageConfig,
    sockets: SocketsConfig,
    subscriptions: SubscriptionsConfig,
    ledger: LedgerConfig,
    trash: TrashConfig,
    webhooks: WebhooksConfig,
    billing: BillingConfig,
    callbacks: CallbacksConfig,
    tracing: TracingConfig,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8000,
            data_dir: "data".into(),
            database_url: None,
            database_read_url: None,
            redis_url: None,
            secret_key: None,
            secret_key_old: Vec::new(),
            cors_origins: Vec::new(),
            public_url: None,
            log_level: "info".to_owned(),
            mode: None,
            database: database::Raw::default(),
            redis: redis::Raw::default(),
            server: server::Raw::default(),
            auth: AuthConfig::default(),
            limits: LimitsConfig::default(),
            plans: PlansConfig::default(),
            mail: MailConfig::default(),
            usage: UsageConfig::default(),
            sockets: SocketsConfig::default(),
            subscriptions: SubscriptionsConfig::default(),
            ledger: LedgerConfig::default(),
            trash: TrashConfig::default(),
            webhooks: WebhooksConfig::default(),
            billing: BillingConfig::default(),
            callbacks: CallbacksConfig::default(),
            tracing: TracingConfig::default(),
        }
    }
}

/// A setting as `docs/CONFIGURATION.md` has it.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its environment variable.
    pub variable: String,
    /// Its key in the file, within its section.
    pub key: String,
    /// Null and an empty list where nothing is set by default.
    pub default: serde_json::Value,
}

/// All settings.
pub fn settings() -> Vec<Setting> {
    let defaults = serde_json::to_value(Raw::default()).unwrap_or_default();
    let mut found = Vec::new();
    for (name, value) in defaults.as_object().into_iter().flatten() {
        let mut add = |path: &[&str], default: &serde_json::Value| {
            let key = path.last().copied().unwrap_or_default().to_owned();
            found.push(Setting { variable: environment::variable(path), key, default: default.clone() });
        };
        match value.as_object() {
            Some(section) => section.iter().for_each(|(key, value)| add(&[name, key], value)),
            None => add(&[name], value),
        }
    }
    found
}

/// `embedded`: SQLite in the data folder, a generated secret, the playground on. `production`: nothing is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Embedded,
    Production,
}

/// Plans of organizations.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlansConfig {
    /// Plan of new organizations.
    pub default: PlanTier,
    /// Organizations that one person may found within 24 hours, and still own; 0: no limit.
    #[serde(deserialize_with = "parse::number")]
    pub founded_per_day: u32,
    /// Organizations that one person may own and found another; 0: no limit.
    #[serde(deserialize_with = "parse::number")]
    pub owned_per_person: u32,
}

impl Default for PlansConfig {
    fn default() -> Self {
        Self { default: PlanTier::Enterprise, founded_per_day: 20, owned_per_person: 100 }
    }
}

/// All settings, checked.
#[derive(Clone)]
pub struct Config {
    pub mode: Mode,
    pub data_dir: PathBuf,
    /// A directive of `tracing`'s filter: `info`, `debug`, `todo_platform=debug,info`.
    pub log_level: String,
    /// `None` in embedded mode: the secret is then generated and kept in the data folder.
    pub secret_key: Option<String>,
    /// Secrets of before, which still open and verify.
    pub secret_key_old: Vec<String>,
    /// What instances share; unset: this instance is the only one.
    pub redis: Option<RedisConfig>,
    pub server: ServerConfig,
    pub database: DatabaseConfig,
    pub auth: AuthConfig,
    pub limits: LimitsConfig,
    pub plans: PlansConfig,
    pub mail: MailConfig,
    pub usage: UsageConfig,
    pub sockets: SocketsConfig,
    pub subscriptions: SubscriptionsConfig,
    pub ledger: LedgerConfig,
    pub trash: TrashConfig,
    pub webhooks: WebhooksConfig,
    pub billing: BillingConfig,
    pub callbacks: CallbacksConfig,
    pub tracing: TracingConfig,
}

impl std::fmt::Debug for Config {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("mode", &self.mode).field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

/// A setting that can't be used, by its name: as the operator wrote it, in the environment or in the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("configuration: {0}")]
    Unreadable(String),
    #[error("configuration: {name}: {what}")]
    Unusable { name: String, what: String },
}

impl ConfigError {
    fn new(name: &str, what: impl std::fmt::Display) -> Self {
        Self::Unusable { name: name.to_owned(), what: what.to_string() }
    }

    /// Of the setting at a path, `server.batch_limit`; [`ConfigError::named_as_in`] names it.
    fn of(path: &str, what: impl std::fmt::Display) -> Self {
        Self::new(path, what)
    }

    /// The same by the name that the setting has where its value comes from.
    fn named_as_in(self, settings: &Figment) -> Self {
        match self {
            Self::Unusable { name, what } => Self::Unusable { name: environment::name_in(settings, &name), what },
            other => other,
        }
    }
}

impl Config {
    /// Reads file and environment.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os() {
            // A name that is no text is none of ours.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => environment.push((name, value)),
                Err(_) if environment::is_ours(PLAIN, &name) => return Err(ConfigError::new(&name, "not UTF-8")),
                Err(_) => {}
            }
        }
        Self::from_parts(file, environment)
    }

    /// [`Config::load`] with an environment of the caller's; for tests.
    pub fn from_parts(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        if let Some(file) = file
            && !file.is_file()
        {
            return Err(ConfigError::new("--config", format!("no file {}", file.display())));
        }
        let mut figment = Figment::from(Serialized::defaults(Raw::default()));
        let file = file.unwrap_or(Path::new(DEFAULT_FILE));
        if file.is_file() {
            figment = figment.merge(Toml::file_exact(file));
        }
        let environment = environment::Environment::new(PLAIN, environment);
        let names = environment.names();
        let figment = figment.merge(environment);
        let raw: Raw =
            figment.extract().map_err(|error| ConfigError::Unreadable(environment::explain(error, &names)))?;
        raw.check().map_err(|error| error.named_as_in(&figment))
    }

    /// The secret with those before it: the configured ones; in embedded mode one made at the first start and kept in the
    /// data folder.
    pub fn secret(&self) -> Result<secret::ServerSecret, ConfigError> {
        Ok(self.present_secret()?.with_old(self.secret_key_old.iter().map(String::as_bytes)))
    }

    fn present_secret(&self) -> Result<secret::ServerSecret, ConfigError> {
        if let Some(key) = &self.secret_key {
            return Ok(secret::ServerSecret::new(key.as_bytes()));
        }
        let path = self.data_dir.join("secret_key");
        let failed = |cause: &dyn std::fmt::Display| {
            ConfigError::new("DATA_DIR", format!("{} can't be read or written: {cause}", path.display()))
        };
        match std::fs::read_to_string(&path) {
            Ok(key) if key.trim().len() >= MINIMUM_SECRET => Ok(secret::ServerSecret::new(key.trim())),
            Ok(_) => Err(failed(&"it is too short; restore it, or remove it to sign everybody out")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = secret::new_token().map_err(|error| failed(&error.describe()))?;
                std::fs::create_dir_all(&self.data_dir).map_err(|error| failed(&error))?;
                write_private(&path, &key).map_err(|error| failed(&error))?;
                Ok(secret::ServerSecret::new(key))
            }
            Err(error) => Err(failed(&error)),
        }
    }
}

/// Bytes of `SECRET_KEY` at least.
const MINIMUM_SECRET: usize = 32;

/// Writes a file that only its owner may read.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// Whether a filter can be read, and each word of it that stands alone is a level: the library takes any other for the name
/// of a module.
fn is_log_level(filter: &str) -> bool {
    let mut alone = filter.split(',').map(str::trim).filter(|word| !word.contains(['=', '[']));
    alone.all(|word| word.parse::<::tracing::level_filters::LevelFilter>().is_ok())
        && tracing_subscriber::EnvFilter::try_new(filter).is_ok()
}

impl Raw {
    fn check(self) -> Result<Config, ConfigError> {
        let on_postgres = self.database_url.as_deref().is_some_and(|url| url.starts_with("postgres"));
        let mode = self.mode.unwrap_or(if on_postgres { Mode::Production } else { Mode::Embedded });
        match &self.secret_key {
            None if mode == Mode::Production => {
                return Err(ConfigError::of(
                    "secret_key",
                    "required in production mode (at least 32 bytes, the same on every instance)",
                ));
            }
            Some(key) if key.len() < MINIMUM_SECRET => {
                return Err(ConfigError::of("secret_key", "too short: at least 32 bytes"));
            }
            _ => {}
        }
        if self.secret_key_old.iter().any(|key| key.len() < MINIMUM_SECRET) {
            return Err(ConfigError::of("secret_key_old", "too short: each at least 32 bytes, separated by commas"));
        }
        if !is_log_level(&self.log_level) {
            let message = format!("`{}` is no log level: off, error, warn, info, debug, trace", self.log_level);
            return Err(ConfigError::of("log_level", message));
        }
        self.auth.check()?;
        self.mail.check()?;
        self.usage.check()?;
        self.sockets.check()?;
        self.subscriptions.check()?;
        self.ledger.check()?;
        self.trash.check()?;
        self.limits.check()?;
        self.webhooks.check()?;
        self.billing.check()?;
        self.callbacks.check()?;
        self.tracing.check()?;
        Ok(Config {
            mode,
            server: self.server.check(&self.host, self.port, self.public_url, self.cors_origins, mode)?,
            database: self.database.check(self.database_url, self.database_read_url, &self.data_dir)?,
            data_dir: self.data_dir,
            log_level: self.log_level,
            secret_key: self.secret_key,
            secret_key_old: self.secret_key_old,
            redis: self.redis.check(self.redis_url)?,
            auth: self.auth,
            limits: self.limits,
            plans: self.plans,
            mail: self.mail,
            usage: self.usage,
            sockets: self.sockets,
            subscriptions: self.subscriptions,
            ledger: self.ledger,
            trash: self.trash,
            webhooks: self.webhooks,
            billing: self.billing,
            callbacks: self.callbacks,
            tracing: self.tracing,
        })
    }
}
