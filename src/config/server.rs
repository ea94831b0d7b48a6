//! How the server listens and who may reach it.

use std::{
    net::{IpAddr, SocketAddr},
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
    metrics: Option<Switch>,
    #[serde(deserialize_with = "parse::number")]
    batch_limit: usize,
    #[serde(with = "humantime_serde")]
    drain: Duration,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            playground: None,
            metrics: None,
            batch_limit: 1,
            drain: Duration::from_secs(20),
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
    /// Whether `/metrics` answers.
    pub metrics: bool,
    /// Operations in one HTTP request at most; 1 turns batches off.
    pub batch_limit: usize,
    /// How long requests under way may go on after SIGTERM.
    pub drain: Duration,
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
        let host = host.parse().map_err(|_| ConfigError::new("HOST", format!("`{host}` is no IP address")))?;
        if let Some(url) = &public_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            return Err(ConfigError::new("PUBLIC_URL", "expected http://… or https://…"));
        }
        for origin in &cors_origins {
            let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            if !rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('/')) {
                return Err(ConfigError::new(
                    "CORS_ORIGINS",
                    format!("`{origin}` is no origin: write scheme, host and port, as in https://app.example.com"),
                ));
            }
        }
        if self.batch_limit == 0 {
            return Err(ConfigError::new("TODO_SERVER_BATCH_LIMIT", "at least 1"));
        }
        let by_mode = |switch: Option<Switch>| switch.map_or(mode == Mode::Embedded, |switch| switch.0);
        Ok(ServerConfig {
            host,
            port,
            public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()),
            cors_origins,
            trusted_proxies: self.trusted_proxies,
            playground: by_mode(self.playground),
            metrics: by_mode(self.metrics),
            batch_limit: self.batch_limit,
            drain: self.drain,
        })
    }
}
