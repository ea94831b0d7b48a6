//! How long events are kept: as long as the organization's plan says, and no longer than is configured. They go from the
//! old end, so that what is kept has no gaps. Several instances may do it at the same time.

use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::Iterable;

use crate::{
    base::{clock::Instant, enums::PlanTier, error::Result, id::OrganizationId, plan::Plan},
    data::db::Db,
};

/// How often.
pub const EVERY: Duration = Duration::from_secs(60 * 60);
/// Events deleted at once: a short transaction.
const CHUNK: u64 = 1000;

/// How long events are kept on a plan (`None`: on any); `None` is for ever.
pub fn kept(tier: Option<PlanTier>, configured: Option<Duration>) -> Option<TimeDelta> {
    let by_plan = tier.and_then(|tier| Plan::of(tier).audit_retention_days).map(TimeDelta::days);
    // What is longer than the calendar is for ever.
    let configured = configured.and_then(|configured| TimeDelta::from_std(configured).ok());
    [by_plan, configured].into_iter().flatten().min()
}

/// Deletes what is older than that. One organization's failure does not hold up the others; the next time tries again.
pub async fn run(db: &Db, configured: Option<Duration>) -> Result<()> {
    let mut outcome = Ok(());
    for tier in PlanTier::iter() {
        let Some(before) = kept(Some(tier), configured).and_then(|kept| db.clock().ago(kept)) else { continue };
        for organization_id in db.ledgers_older_than(tier, before).await? {
            if let Err(error) = purge(db, organization_id, before).await {
                outcome = Err(error);
            }
        }
    }
    outcome
}

/// Deletes an organization's events from before `before`, as far as all older ones are from before it, too.
async fn purge(db: &Db, organization_id: OrganizationId, before: Instant) -> Result<()> {
    loop {
        let chunk = db.oldest_events(organization_id, CHUNK).await?;
        let old = chunk.iter().take_while(|(_, occurred_at)| *occurred_at < before);
        let Some((last, _)) = old.last() else { return Ok(()) };
        db.delete_events(organization_id, *last).await?;
        if chunk.last().is_some_and(|(sequence, _)| sequence != last) {
            return Ok(());
        }
    }
}
