//! Changing an organization's plan.
//!
//! The ledger's head is the lock: every create takes its unit there, last, and every write that takes a feature asks it
//! for the plan. Once it is locked here, a create either has committed, and is counted, or will find the new plan.

use sea_orm::{ActiveValue::Set, Iterable as _};
use serde_json::json;

use crate::{
    base::{
        clock::{Instant, format_instant},
        config::BillingConfig,
        enums::{Feature, PlanTier, QuotaResource},
        error::{Error, Problem, ProblemCode, Result},
        plan::{self, Plan},
        policy::Permission,
    },
    data::{
        db::{Committed, OrgScope, WriteTx},
        entity::{EventType, inbound_hook, ledger_head, organization, tag, team},
        ledger::{Fields, NewEvent, changes},
    },
};

const PATH: &[&str] = &["input", "tier"];

/// Whether what is in use must fit into the new plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    Required,
    /// The operator overrides: what is there stays, and nothing is added until it fits.
    Ignored,
}

/// Puts the organization on a plan. The same plan again changes nothing.
pub async fn change(scope: &OrgScope, tier: PlanTier, fit: Fit) -> Result<Committed<organization::Model>> {
    let mut tx = scope.write(Permission::BillingManage).await?;
    let before = tx.lock_organization().await?;
    let renews_at = before.plan_renews_at;
    let after = change_in(&mut tx, before, tier, renews_at, fit).await?;
    tx.commit(after).await
}

/// [`change`] of an organization that is locked, with the time of the plan's renewal, as part of a write.
pub async fn change_in(
    tx: &mut WriteTx,
    before: organization::Model,
    tier: PlanTier,
    renews_at: Option<Instant>,
    fit: Fit,
) -> Result<organization::Model> {
    if (before.plan_tier, before.plan_renews_at) == (tier, renews_at) {
        return Ok(before);
    }
    let head = tx.lock_head().await?;
    if fit == Fit::Required {
        check_fit(tx, &head, tier).await?;
    }
    let after = organization::ActiveModel {
        plan_renews_at: Set(renews_at),
        updated_at: Set(tx.scope().clock().now()),
        version: Set(before.version + 1),
        ..Default::default()
    };
    let after = tx.set_plan(tier, after).await?;
    let changed = changes(Some(&fields(&before)), Some(&fields(&after)));
    tx.record(NewEvent::new(EventType::PlanChanged, after.id.any(), changed));
    Ok(after)
}

/// The fields that events show.
fn fields(row: &organization::Model) -> Fields {
    let renews_at = row.plan_renews_at.map(format_instant);
    vec![("planTier", json!(row.plan_tier)), ("planRenewsAt", json!(renews_at))]
}

/// INVALID_STATE where a payment provider decides on plans.
pub fn refuse_with_billing(config: &BillingConfig) -> Result<()> {
    let Some(portal) = config.portal_url.as_ref().filter(|_| config.is_on()) else { return Ok(()) };
    let message = format!("Plans are chosen and paid for at {portal}.");
    let problem = Problem::new(ProblemCode::InvalidState, PATH, message);
    Err(problem.details(json!({ "portalUrl": portal })).into())
}

/// Every reason why a plan is too small: each quota that is passed, each feature in use that it lacks.
async fn check_fit(tx: &WriteTx, head: &ledger_head::Model, tier: PlanTier) -> Result<()> {
    let limits = Plan::of(tier);
    let mut reasons = Vec::new();
    for resource in QuotaResource::iter() {
        let used = head.used(resource);
        if limits.limit(resource).is_some_and(|limit| used > limit) {
            reasons.push(plan::exceeded(tier, resource, used, 0, PATH));
        }
    }
    for feature in Feature::iter().filter(|feature| !plan::includes(tier, *feature)) {
        let used = in_use(tx, head, feature).await?;
        if used > 0 {
            let (plan, name) = (plan::name(tier), plan::name(feature));
            let message = format!("The plan {plan} does not include {name}, and {used} are there; delete them first.");
            let details = json!({ "feature": name, "used": used });
            reasons.push(Problem::new(ProblemCode::NotInPlan, PATH, message).details(details));
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(Error::Invalid(reasons)) }
}

/// How many things an organization has that only a feature lets it make.
async fn in_use(tx: &WriteTx, head: &ledger_head::Model, feature: Feature) -> Result<u64> {
    match feature {
        Feature::Teams => tx.find::<team::Entity>().count().await,
        Feature::Tags => tx.find::<tag::Entity>().count().await,
        Feature::ApiKeys => Ok(u64::try_from(head.api_key_count).unwrap_or_default()),
        Feature::Webhooks => Ok(u64::try_from(head.webhook_count).unwrap_or_default()),
        Feature::InboundHooks => tx.find::<inbound_hook::Entity>().count().await,
        // Nothing of these is kept: they are ways of looking.
        Feature::Analytics | Feature::AuditLog => Ok(0),
        // Nobody can make any yet.
        Feature::Exports | Feature::Attachments => Ok(0),
    }
}
