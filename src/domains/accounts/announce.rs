//! Telling a person's organizations that something about the person has changed: the first at once, the rest by a job,
//! however many there are.

use sea_orm::{ColumnTrait as _, Condition};
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        enums::MembershipStatus,
        error::Result,
        id::{OrganizationId, UserId},
    },
    data::{
        db::AccountTx,
        entity::{ActorRef, EventType, membership},
        ledger::{Change, NewEvent},
    },
};

/// Organizations that one transaction tells at most: each has its ledger, which is locked until the commit.
pub const CHUNK: u64 = 50;

/// The kind of job that tells the organizations that are left.
pub const ANNOUNCEMENT: &str = "account.announcement";

/// What the job reads.
#[derive(Debug, Serialize, Deserialize)]
pub struct Announcement {
    user_id: UserId,
    changes: Vec<Change>,
    /// The one that was told out of turn.
    told: Option<OrganizationId>,
    /// All up to this one have been told.
    upto: Option<OrganizationId>,
}

/// Records a person's change in the ledgers of their organizations, `first` among the first. While an earlier change is
/// still being told, all of it waits for that one: each ledger has them in their order.
pub async fn announce(
    tx: &mut AccountTx,
    user_id: UserId,
    changes: Vec<Change>,
    first: Option<OrganizationId>,
) -> Result<()> {
    let mut announcement = Announcement { user_id, changes, told: None, upto: None };
    let mut is_done = false;
    if !tx.has_job(ANNOUNCEMENT, user_id.uuid()).await? {
        if let Some(first) = first {
            let its = Condition::all().add(membership::Column::OrganizationId.eq(first));
            tell(tx, &announcement, its, 1).await?;
            announcement.told = Some(first);
        }
        is_done = !tell_next(tx, &mut announcement).await?;
    }
    if !is_done {
        tx.enqueue(ANNOUNCEMENT, user_id.uuid(), ActorRef::user(user_id), announcement).await?;
    }
    Ok(())
}

/// Tells the next organizations; what is left to tell.
pub async fn announce_more(
    mut tx: AccountTx,
    mut announcement: Announcement,
) -> Result<(AccountTx, Option<Announcement>)> {
    let has_more = tell_next(&mut tx, &mut announcement).await?;
    Ok((tx, has_more.then_some(announcement)))
}

/// Whether there may be more.
async fn tell_next(tx: &mut AccountTx, announcement: &mut Announcement) -> Result<bool> {
    let mut next = Condition::all();
    if let Some(upto) = announcement.upto {
        next = next.add(membership::Column::OrganizationId.gt(upto));
    }
    if let Some(told) = announcement.told {
        next = next.add(membership::Column::OrganizationId.ne(told));
    }
    let last = tell(tx, announcement, next, CHUNK).await?;
    announcement.upto = last.or(announcement.upto);
    Ok(last.is_some())
}

/// The last organization, of a whole chunk.
async fn tell(
    tx: &mut AccountTx,
    announcement: &Announcement,
    which: Condition,
    limit: u64,
) -> Result<Option<OrganizationId>> {
    let active = which.add(membership::Column::Status.eq(MembershipStatus::Active));
    let memberships = tx.memberships(announcement.user_id, active, limit).await?;
    for membership in &memberships {
        let event = NewEvent::new(EventType::MemberUpdated, membership.id.any(), announcement.changes.clone());
        tx.record_in(membership.organization_id, event);
    }
    let is_whole = memberships.len() as u64 == limit;
    Ok(memberships.last().filter(|_| is_whole).map(|membership| membership.organization_id))
}
