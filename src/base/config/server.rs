//! How the server listens and who may reach it.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    ConfigError, Mode,
    parse::{self, Switch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    #[serde(deserialize_with = "parse::list")]
    trusted_proxies: Vec<IpNet>,
    #[serde(deserialize_with = "parse::optional")]
    playground: Option<Switch>,
    #[serde(deserialize_with = "parse::optional")]
    introspection: Option<Switch>,
    #[serde(deserialize_with = "parse::optional")]
    federation: Option<Switch>,
    #[serde(deserialize_with = "parse::list")]
    documents: Vec<PathBuf>,
    #[serde(deserialize_with = "parse::optional")]
    documents_only: Option<Switch>,
    #[serde(deserialize_with = "parse::optional")]
    metrics: Option<Switch>,
    #[serde(deserialize_with = "parse::number")]
    batch_limit: usize,
    #[serde(with = "humantime_serde")]
    drain: Duration,
    #[serde(with = "humantime_serde")]
    drain_delay: Option<Duration>,
    #[serde(deserialize_with = "parse::optional")]
    max_connections: Option<usize>,
    #[serde(deserialize_with = "parse::optional")]
    max_connections_per_address: Option<usize>,
    #[serde(with = "humantime_serde")]
    idle_timeout: Duration,
    #[serde(with = "humantime_serde")]
    write_timeout: Duration,
    #[serde(deserialize_with = "parse::number")]
    waiting_bytes: usize,
    #[serde(deserialize_with = "parse::number")]
    answer_cache_bytes: u64,
}

/// What a balancer needs to see that an instance is not ready any more.
const PRODUCTION_DRAIN_DELAY: Duration = Duration::from_secs(5);
/// Room for several answers of the largest size.
const MINIMUM_WAITING: usize = 16 << 20;

impl Default for Raw {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            playground: None,
            introspection: None,
            federation: None,
            documents: Vec::new(),
            documents_only: None,
            metrics: None,
            batch_limit: 1,
            drain: Duration::from_secs(20),
            drain_delay: None,
            max_connections: None,
            max_connections_per_address: None,
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(10),
            waiting_bytes: 64 << 20,
            answer_cache_bytes: 16 << 20,
        }
    }
}

/// How the server listens and who may reach it.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub host: IpAddr,
    /// 0: a free one, printed at the start.
    pub port: u16,
    /// How clients reach this server, without a trailing `/`; unset: by the address it listens on.
    pub public_url: Option<String>,
    /// Origins that browsers may call from, exactly.
    pub cors_origins: Vec<String>,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
    pub playground: bool,
    /// Whether the schema is shown: by introspection, by `_service`, by suggestions in errors, and as `/schema.graphql`.
    pub introspection: bool,
    /// Whether the server is a subgraph of a federation: its schema has `_service` and `_entities`.
    pub federation: bool,
    /// Manifests of the documents that are registered.
    pub documents: Vec<PathBuf>,
    /// Whether only these run.
    pub documents_only: bool,
    /// Whether `/metrics` answers.
    pub metrics: bool,
    /// Operations in one HTTP request at most; 1 turns batches off.
    pub batch_limit: usize,
    /// How long requests under way may go on after SIGTERM.
    pub drain: Duration,
    /// How long connections are still taken after SIGTERM, while readiness already says 503.
    pub drain_delay: Duration,
    /// Open connections at most, sockets included; unset: by how many files the process may open.
    pub max_connections: Option<usize>,
    /// The same from one address; unset: an eighth of those in all.
    pub max_connections_per_address: Option<usize>,
    /// A connection without a request under way is closed after so long.
    pub idle_timeout: Duration,
    /// A client that takes nothing of what waits for it for so long is cut.
    pub write_timeout: Duration,
    /// Bytes of answers that may wait for all clients together.
    pub waiting_bytes: usize,
    /// Bytes that answers kept to be given again may take; 0: none are kept.
    pub answer_cache_bytes: u64,
}

impl ServerConfig {
    /// What the server's own addresses begin with.
    pub fn base_url(&self) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{}", SocketAddr::new(self.host, self.port)))
    }
}

impl Raw {
    pub(super) fn check(
        self,
        host: &str,
        port: u16,
        public_url: Option<String>,
        cors_origins: Vec<String>,
        mode: Mode,
    ) -> Result<ServerConfig, ConfigError> {
        let host = match host {
            "localhost" => "127.0.0.1",
            other => other,
        };
        let host = host.parse().map_err(|_| ConfigError::of("host", format!("`{host}` is no IP address")))?;
        if let Some(url) = &public_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            return Err(ConfigError::of("public_url", "expected http://… or https://…"));
        }
        for origin in &cors_origins {
            let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            if !rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('/')) {
                return Err(ConfigError::of(
                    "cors_origins",
                    format!("`{origin}` is no origin: write scheme, host and port, as in https://app.example.com"),
                ));
            }
        }
        if self.batch_limit == 0 {
            return Err(ConfigError::of("server.batch_limit", "at least 1"));
        }
        for (name, number) in [
            ("server.max_connections", self.max_connections),
            ("server.max_connections_per_address", self.max_connections_per_address),
        ] {
            if number == Some(0) {
                return Err(ConfigError::of(name, "at least 1"));
            }
        }
        for (name, duration) in
            [("server.idle_timeout", self.idle_timeout), ("server.write_timeout", self.write_timeout)]
        {
            if duration < Duration::from_millis(100) {
                return Err(ConfigError::of(name, "at least 100ms"));
            }
        }
        if self.waiting_bytes < MINIMUM_WAITING {
            return Err(ConfigError::of("server.waiting_bytes", format!("at least {MINIMUM_WAITING}")));
        }
        let documents_only = self.documents_only.is_some_and(|switch| switch.0);
        if documents_only && self.documents.is_empty() {
            return Err(ConfigError::of("server.documents_only", "needs TODO_SERVER_DOCUMENTS"));
        }
        let drain_delay = match mode {
            Mode::Embedded => Duration::ZERO,
            Mode::Production => PRODUCTION_DRAIN_DELAY,
        };
        let by_mode = |switch: Option<Switch>| switch.map_or(mode == Mode::Embedded, |switch| switch.0);
        Ok(ServerConfig {
            host,
            port,
            public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()),
            cors_origins,
            trusted_proxies: self.trusted_proxies,
            playground: by_mode(self.playground),
            introspection: self.introspection.is_none_or(|switch| switch.0),
            federation: self.federation.is_some_and(|switch| switch.0),
            documents: self.documents,
            documents_only,
            metrics: by_mode(self.metrics),
            batch_limit: self.batch_limit,
            drain: self.drain,
            drain_delay: self.drain_delay.unwrap_or(drain_delay),
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            idle_timeout: self.idle_timeout,
            write_timeout: self.write_timeout,
            waiting_bytes: self.waiting_bytes,
            answer_cache_bytes: self.answer_cache_bytes,
        })
    }
}
