//! What outgoing requests may reach besides the public internet.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{ConfigError, parse};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhooksConfig {
    /// Networks that may be reached although they are not public.
    #[serde(deserialize_with = "parse::list")]
    pub allowed_cidrs: Vec<IpNet>,
    /// Whether `http://` may be called; otherwise `https://` alone.
    #[serde(deserialize_with = "parse::switch")]
    pub allow_http: bool,
}

impl WebhooksConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        // Every address of a family would turn the check off, metadata services of clouds included.
        if let Some(all) = self.allowed_cidrs.iter().find(|network| network.prefix_len() == 0) {
            let message = format!("`{all}` is every address: name the networks that are meant");
            return Err(ConfigError::new("TODO_WEBHOOKS_ALLOWED_CIDRS", message));
        }
        Ok(())
    }
}
