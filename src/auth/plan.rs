//! What each plan includes: the one table of features and quotas.

use crate::entity::enums::{Feature, PlanTier, QuotaResource};

const GIGABYTE: i64 = 1_000_000_000;

/// What one plan allows; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub members: Option<i64>,
    pub items: Option<i64>,
    pub storage_bytes: Option<i64>,
    pub api_keys: Option<i64>,
    pub webhooks: Option<i64>,
    pub audit_retention_days: Option<i64>,
    /// Points a minute for each caller of an organization; see `rate_limit`.
    pub cost_per_minute: u32,
}

impl Plan {
    pub const fn of(tier: PlanTier) -> Self {
        match tier {
            PlanTier::Free => Self {
                members: Some(5),
                items: Some(100),
                storage_bytes: Some(0),
                api_keys: Some(2),
                webhooks: Some(0),
                audit_retention_days: Some(7),
                cost_per_minute: 5_000,
            },
            PlanTier::Starter => Self {
                members: Some(20),
                items: Some(1_000),
                storage_bytes: Some(GIGABYTE),
                api_keys: Some(10),
                webhooks: Some(0),
                audit_retention_days: Some(30),
                cost_per_minute: 20_000,
            },
            PlanTier::Professional => Self {
                members: Some(100),
                items: Some(10_000),
                storage_bytes: Some(50 * GIGABYTE),
                api_keys: Some(50),
                webhooks: Some(20),
                audit_retention_days: Some(90),
                cost_per_minute: 100_000,
            },
            PlanTier::Enterprise => Self {
                members: None,
                items: None,
                storage_bytes: None,
                api_keys: None,
                webhooks: None,
                audit_retention_days: None,
                cost_per_minute: 1_000_000,
            },
        }
    }

    /// The limit of one resource; `None` is unlimited.
    pub fn limit(&self, resource: QuotaResource) -> Option<i64> {
        match resource {
            QuotaResource::Members => self.members,
            QuotaResource::Items => self.items,
            QuotaResource::StorageBytes => self.storage_bytes,
            QuotaResource::ApiKeys => self.api_keys,
            QuotaResource::Webhooks => self.webhooks,
            QuotaResource::AuditRetentionDays => self.audit_retention_days,
            QuotaResource::CostPerMinute => Some(self.cost_per_minute.into()),
        }
    }
}

/// The lowest plan that has a feature; higher ones have it too.
pub const fn least(feature: Feature) -> PlanTier {
    match feature {
        Feature::AuditLog | Feature::ApiKeys => PlanTier::Free,
        Feature::Teams | Feature::Tags | Feature::Attachments => PlanTier::Starter,
        Feature::Webhooks | Feature::InboundHooks | Feature::Analytics | Feature::Exports => PlanTier::Professional,
    }
}

/// Whether a plan has a feature.
pub fn includes(tier: PlanTier, feature: Feature) -> bool {
    tier >= least(feature)
}
