//! The end of the trash: what has been there for long enough is deleted for good, as by whoever deletes it `permanently`.

use std::time::Duration;

use super::{input::ItemDeleteInput, trees};
use crate::{
    base::{
        error::{Error, Result},
        id::{ItemId, OrganizationId},
    },
    data::{
        actor::Origin,
        db::{Db, OrgScope},
    },
};

/// Trees purged between two looks at what is due, each in a transaction of its own or by a job.
const CHUNK: u64 = 100;

/// Purges what went to the trash longer ago than `kept`, the oldest first. What can't be purged now, because a job works on
/// it or another instance is at it, is left for the next time. Several instances may do it at the same time.
pub async fn purge(db: &Db, kept: Duration) -> Result<()> {
    let Some(before) = chrono::Duration::from_std(kept).ok().and_then(|kept| db.clock().ago(kept)) else {
        return Ok(());
    };
    let (mut after, mut outcome) = (None, Ok(()));
    loop {
        let trees = db.deleted_trees(before, after, CHUNK).await?;
        for (organization_id, id, _) in &trees {
            match purge_tree(db, *organization_id, *id).await {
                Ok(()) | Err(Error::Invalid(_) | Error::Retry(_)) => {}
                // One tree's failure does not hold up the others.
                Err(error) => outcome = Err(error),
            }
        }
        let Some(last) = trees.last().filter(|_| trees.len() as u64 == CHUNK) else { return outcome };
        after = Some((last.2, last.1));
    }
}

async fn purge_tree(db: &Db, organization_id: OrganizationId, id: ItemId) -> Result<()> {
    let scope = OrgScope::of_system(db, organization_id, Origin::command("trash")).await?;
    let tree = ItemDeleteInput { id, if_version: None, permanently: true };
    trees::purge(&scope, &tree).await.map(drop).map_err(|rejected| rejected.error)
}
