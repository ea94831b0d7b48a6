//! What each plan includes: the one table of features and quotas; and what is said where a plan is in the way.

use async_graphql::resolver_utils::{EnumType, enum_value};
use sea_orm::Iterable as _;
use serde_json::json;

use crate::base::{
    enums::{Feature, PlanTier, QuotaResource},
    error::{Code, Problem, ProblemCode, Refusal, Result},
};

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

/// QUOTA_EXCEEDED: `used` of a resource are in use, and `more` (0 where nothing is added) don't fit.
pub fn exceeded(tier: PlanTier, resource: QuotaResource, used: i64, more: i64, path: &[&str]) -> Problem {
    let limit = Plan::of(tier).limit(resource);
    let allowed = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let what = match resource {
        QuotaResource::Members => "members",
        QuotaResource::Items => "items",
        QuotaResource::StorageBytes => "bytes of storage",
        QuotaResource::ApiKeys => "API keys",
        QuotaResource::Webhooks => "webhooks",
        QuotaResource::AuditRetentionDays => "days of audit",
        QuotaResource::CostPerMinute => "points a minute",
    };
    let addition = if more > 0 { format!("; this would add {more}") } else { String::new() };
    let message = format!("The plan {} allows {allowed} {what}, {used} are in use{addition}.", name(tier));
    Problem::new(ProblemCode::QuotaExceeded, path, message)
        .details(json!({ "resource": name(resource), "limit": limit, "used": used }))
}

/// NOT_IN_PLAN unless the plan has the feature.
pub fn require(tier: PlanTier, feature: Feature) -> Result<()> {
    if includes(tier, feature) {
        return Ok(());
    }
    let (plan, feature, from) = (name(tier), name(feature), name(least(feature)));
    let message = format!("The plan {plan} does not include {feature}; {from} does.");
    let details = json!({ "feature": feature, "plan": plan, "availableFrom": from });
    Err(Refusal::new(Code::NotInPlan, message).details(details).into())
}

/// A value as the SDL names it, `PROFESSIONAL`.
pub fn name(value: impl EnumType) -> String {
    enum_value(value).to_string()
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

/// What a plan has, in the order of declaration.
pub fn features(tier: PlanTier) -> impl Iterator<Item = Feature> {
    Feature::iter().filter(move |feature| includes(tier, *feature))
}
