//! A payment provider that decides on plans.

use std::{fmt, str::FromStr};

use sea_orm::ActiveEnum as _;
use serde::{Deserialize, Serialize};

use super::{ConfigError, parse};
use crate::base::enums::PlanTier;

/// All of it, or nothing: then plans are changed by their owners.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BillingConfig {
    /// What the provider signs its callbacks with (Stripe: `whsec_…`).
    pub webhook_secret: Option<String>,
    /// Which plan a price pays for.
    #[serde(serialize_with = "parse::texts", deserialize_with = "parse::list")]
    pub prices: Vec<Price>,
    /// Where an owner is sent to choose and pay.
    pub portal_url: Option<String>,
}

impl fmt::Debug for BillingConfig {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BillingConfig").field("prices", &self.prices).field("portal_url", &self.portal_url).finish()
    }
}

/// `price_1234=PROFESSIONAL`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    pub id: String,
    pub tier: PlanTier,
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.id, self.tier.to_value())
    }
}

impl FromStr for Price {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected a price's id and a plan, `price_1234=PROFESSIONAL`";
        let (id, tier) = text.split_once('=').ok_or(expected)?;
        let tier = PlanTier::try_from_value(&tier.trim().to_owned()).map_err(|_| expected)?;
        let id = id.trim();
        if id.is_empty() { Err(expected) } else { Ok(Self { id: id.to_owned(), tier }) }
    }
}

impl BillingConfig {
    /// Whether a payment provider decides.
    pub fn is_on(&self) -> bool {
        self.webhook_secret.is_some()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let Self { webhook_secret, prices, portal_url } = self;
        let missing = [
            ("billing.webhook_secret", webhook_secret.is_none()),
            ("billing.prices", prices.is_empty()),
            ("billing.portal_url", portal_url.is_none()),
        ];
        let is_partial = missing.iter().any(|(_, missing)| *missing) && !missing.iter().all(|(_, missing)| *missing);
        if let Some((name, _)) = missing.iter().find(|(_, missing)| is_partial && *missing) {
            return Err(ConfigError::of(name, "billing takes all of secret, prices and portal URL, or none of them"));
        }
        if webhook_secret.as_ref().is_some_and(|secret| secret.len() < 16) {
            return Err(ConfigError::of("billing.webhook_secret", "too short: at least 16 characters"));
        }
        if portal_url.as_ref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
            return Err(ConfigError::of("billing.portal_url", "expected https://…"));
        }
        Ok(())
    }
}
