//! What becomes of usage that gets old: hours are merged into days of the organization's time zone, days are deleted.
//! Several instances may do it at the same time.

use std::time::Duration;

use chrono::TimeDelta;

use super::calendar::Zone;
use crate::{
    base::{enums::UsageSpan, error::Result, id::OrganizationId},
    data::db::Db,
};

/// How often.
pub const EVERY: Duration = Duration::from_secs(60 * 60);
/// A day's hours are kept until it has been over for so long.
const HOURS_KEPT: TimeDelta = TimeDelta::hours(48);
/// No day is longer, even where clocks go back.
const LONGEST_DAY: TimeDelta = TimeDelta::hours(26);

/// Merges and deletes what is old enough. One organization's failure does not hold up the others; the next time tries
/// again.
pub async fn run(db: &Db, retention: Duration) {
    if let Err(error) = merge(db).await {
        tracing::warn!(error = %error.describe(), "usage can't be rolled up");
    }
    if let Err(error) = expire(db, retention).await {
        tracing::warn!(error = %error.describe(), "old usage can't be deleted");
    }
}

/// Merges the hours of each organization's days that ended long enough ago.
pub async fn merge(db: &Db) -> Result<()> {
    let before = db.clock().now() - HOURS_KEPT;
    let mut outcome = Ok(());
    for (organization_id, zone) in db.organizations_with_usage(UsageSpan::Hour, before).await? {
        let zone = Zone::named(&zone);
        if let Err(error) = merge_of(db, organization_id, zone).await {
            outcome = Err(error);
        }
    }
    outcome
}

async fn merge_of(db: &Db, organization_id: OrganizationId, zone: Zone) -> Result<()> {
    let before = zone.beginning_of(zone.date_of(db.clock().now() - HOURS_KEPT));
    // An hour a transaction: short, and little is in memory.
    for hour in db.usage_hours(organization_id, before).await? {
        db.merge_usage_hour(organization_id, hour, zone.beginning_of(zone.date_of(hour))).await?;
    }
    Ok(())
}

/// Deletes days that ended longer than `retention` ago.
pub async fn expire(db: &Db, retention: Duration) -> Result<()> {
    // Longer than the calendar is: kept for ever.
    let Some(before) = TimeDelta::from_std(retention)
        .ok()
        .and_then(|retention| retention.checked_add(&LONGEST_DAY))
        .and_then(|age| db.clock().ago(age))
    else {
        return Ok(());
    };
    for (organization_id, _) in db.organizations_with_usage(UsageSpan::Day, before).await? {
        db.delete_usage_days(organization_id, before).await?;
    }
    Ok(())
}
