use async_graphql::{Context, Description, Object, SimpleObject};
use sea_orm::Iterable as _;

use crate::{
    base::{
        clock::Instant,
        enums::{Feature, PlanTier, QuotaResource},
        error::{Error, Result},
        plan,
        policy::{Permission, requires},
    },
    data::entity::ledger_head,
    graphql::{
        context::ContextExt,
        guard,
        scalars::{BigInt, DateTime, Url},
    },
};

/// What the current organization may have, and how much of it is used.
#[derive(Clone, Copy, Debug, Description)]
pub struct Plan {
    pub tier: PlanTier,
    pub renews_at: Option<Instant>,
}

#[Object(use_type_description)]
impl Plan {
    /// Which plan it is.
    fn tier(&self) -> PlanTier {
        self.tier
    }

    /// What it includes beyond items and comments.
    fn features(&self) -> Vec<Feature> {
        plan::features(self.tier).collect()
    }

    // As it is enforced: from the head, not from what was remembered of the organization.
    /// What it limits, and how much of that is used.
    async fn quotas(&self, ctx: &Context<'_>) -> Result<Vec<Quota>> {
        let head = ctx.scope()?.find::<ledger_head::Entity>().one().await?;
        let head = head.ok_or_else(|| Error::internal("the organization has no ledger head"))?;
        let limits = plan::Plan::of(head.plan_tier);
        let overridden = ctx.state().config.limits.cost_per_minute;
        let limit = |resource| match (resource, overridden) {
            // The operator's, for every plan; 0 turns the limit off.
            (QuotaResource::CostPerMinute, Some(points)) => Some(i64::from(points)).filter(|points| *points > 0),
            _ => limits.limit(resource),
        };
        let quota = |resource| {
            let counted = !matches!(resource, QuotaResource::AuditRetentionDays | QuotaResource::CostPerMinute);
            Quota { resource, limit: limit(resource).map(BigInt), used: counted.then(|| BigInt(head.used(resource))) }
        };
        Ok(QuotaResource::iter().map(quota).collect())
    }

    /// End of the period that is paid for; null without billing, and when the plan ends then instead.
    fn renews_at(&self) -> Option<DateTime> {
        self.renews_at.map(DateTime::from)
    }

    /// Where plans are chosen and paid for; null without billing.
    #[graphql(directive = requires::apply(Permission::BillingManage))]
    fn billing_portal_url(&self, ctx: &Context<'_>) -> Option<Result<Url>> {
        match guard::check_field::<Self>(ctx) {
            Ok(()) => ctx.state().config.billing.portal_url.clone().map(|url| Ok(url.into())),
            Err(error) => Some(Err(error)),
        }
    }
}

/// A limit of the plan.
#[derive(SimpleObject)]
pub struct Quota {
    /// What is limited.
    resource: QuotaResource,
    /// How much there may be; null when unlimited.
    limit: Option<BigInt>,
    /// How much there is; null where nothing is counted (AUDIT_RETENTION_DAYS, COST_PER_MINUTE).
    used: Option<BigInt>,
}
