//! Where traces go, if anywhere.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{ConfigError, parse};

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracingConfig {
    /// `http://…` or `https://…` of a collector, to which `/v1/traces` is added; unset: nothing is traced.
    pub endpoint: Option<String>,
    /// Headers of the requests to the collector, `name=value`: credentials.
    #[serde(deserialize_with = "parse::list")]
    pub headers: Vec<String>,
    /// Of the requests that come without a trace, this part is traced: 0 to 1.
    #[serde(deserialize_with = "parse::number")]
    pub sample_ratio: f64,
    /// `service.name` of what is exported.
    pub service_name: String,
    /// `service.instance.id`; unset: made up at the start.
    pub instance: Option<String>,
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: Vec::new(),
            sample_ratio: 0.1,
            service_name: "todo-platform".to_owned(),
            instance: None,
        }
    }
}

impl std::fmt::Debug for TracingConfig {
    /// Without the headers, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TracingConfig").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl TracingConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(ConfigError::of("tracing.sample_ratio", "0 to 1"));
        }
        self.url()?;
        self.header_map().map(drop)
    }

    /// The whole address that spans are sent to.
    pub fn url(&self) -> Result<Option<Url>, ConfigError> {
        let Some(endpoint) = &self.endpoint else { return Ok(None) };
        let malformed = || ConfigError::of("tracing.endpoint", "expected http://… or https://… of a collector");
        let url = Url::parse(&format!("{}/v1/traces", endpoint.trim_end_matches('/'))).map_err(|_| malformed())?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.has_host();
        let is_known = ["http", "https"].contains(&url.scheme()) && is_plain;
        is_known.then_some(Some(url)).ok_or_else(malformed)
    }

    /// The headers as they are sent.
    pub fn header_map(&self) -> Result<HeaderMap, ConfigError> {
        let malformed = || ConfigError::of("tracing.headers", "expected name=value, separated by commas");
        let mut headers = HeaderMap::new();
        for header in &self.headers {
            let (name, value) = header.split_once('=').ok_or_else(malformed)?;
            let name: HeaderName = name.trim().parse().map_err(|_| malformed())?;
            let mut value: HeaderValue = value.trim().parse().map_err(|_| malformed())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}
