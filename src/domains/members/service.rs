//! Memberships. Nobody grants above their own role, nobody acts on someone above it, and an organization
//! keeps an owner.

use std::collections::BTreeSet;

use sea_orm::{ActiveValue::Set, ExprTrait as _, prelude::*};
use serde::{Deserialize, Serialize};

use super::input::{MembershipRemoveInput, MembershipUpdateInput};
use crate::{
    base::{
        clock::Instant,
        enums::{MembershipStatus, QuotaResource, Role},
        error::{Problem, ProblemCode, Rejected, Result},
        id::{MembershipId, TeamId, UserId},
        policy::Permission,
    },
    data::{
        db::{Committed, OrgScope, WriteTx, at_version, changed},
        entity::{EventType, membership, team},
        ledger::{Fields, NewEvent, changes},
    },
    domains::{api_keys, items, teams},
};

/// The fields of a membership that events show.
pub fn fields(row: &membership::Model) -> Fields {
    let membership::Model {
        organization_id: _,
        id: _,
        user_id,
        role,
        status,
        joined_at: _,
        last_active_at: _,
        version: _,
        removed_at: _,
    } = row;
    vec![
        ("userId", user_id.to_string().into()),
        ("role", serde_json::json!(role)),
        ("status", serde_json::json!(status)),
    ]
}

/// A refusal unless the caller stands at least as high as `role`.
pub fn reaches(scope: &OrgScope, role: Role, path: &[&str], message: &str) -> Result<()> {
    if scope.role().is_none_or(|own| own >= role) {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::Forbidden, path, message).details(serde_json::json!({ "role": role })).into())
}

/// Teams named by an input, all of this organization.
pub async fn check_teams(tx: &WriteTx, ids: &BTreeSet<TeamId>, path: &[&str]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let found = tx.find::<team::Entity>().filter(team::Column::Id.is_in(ids.iter().copied())).count().await?;
    if found == ids.len() as u64 { Ok(()) } else { Err(Problem::not_found(path, "team").into()) }
}

/// Makes somebody a member, as part of a write. `active_at`: when they were last there, if they are.
pub async fn admit(
    tx: &mut WriteTx,
    user_id: UserId,
    role: Role,
    active_at: Option<Instant>,
) -> Result<membership::Model> {
    if tx.is_being_removed::<membership::Entity>(membership::Column::UserId.eq(user_id)).await? {
        let message = "They were a member before, and are still being taken off their items; try again shortly.";
        return Err(Problem::new(ProblemCode::InvalidState, &["input"], message).into());
    }
    let clock = tx.scope().clock();
    let row = membership::Model {
        organization_id: tx.organization_id(),
        id: clock.new_id(),
        user_id,
        role,
        status: MembershipStatus::Active,
        joined_at: clock.now(),
        last_active_at: active_at,
        version: 1,
        removed_at: None,
    };
    tx.count(QuotaResource::Members, 1);
    let event = |row: &membership::Model| {
        NewEvent::new(EventType::MemberJoined, row.id.any(), changes(None, Some(&fields(row))))
    };
    tx.create(row, event).await
}

/// Makes somebody an active owner, as part of a write of the server's operator: a new member, or one raised.
pub async fn make_owner(tx: &mut WriteTx, user_id: UserId) -> Result<membership::Model> {
    tx.lock_organization().await?;
    let present = tx.find::<membership::Entity>().filter(membership::Column::UserId.eq(user_id)).for_update().one();
    let Some(before) = present.await? else { return admit(tx, user_id, Role::Owner, None).await };
    let mut after = before.clone();
    after.role = Role::Owner;
    after.status = MembershipStatus::Active;
    let event = |row: &membership::Model, changed| NewEvent::new(EventType::MemberUpdated, row.id.any(), changed);
    tx.save(before, after, fields, event).await
}

/// Changes role, status or teams.
pub async fn update(
    scope: &OrgScope,
    input: &MembershipUpdateInput,
) -> Result<Committed<membership::Model>, Rejected<membership::Model>> {
    input.patch.validate()?;
    let mut tx = scope.write(Permission::MemberManage).await?;
    // One at a time, so that two owners can't demote each other at once.
    tx.lock_organization().await?;
    let before: membership::Model = tx.locked::<membership::Entity>(input.id, &["input", "id"]).await?;
    reaches(scope, before.role, &["input", "id"], "Their role is above your own.")?;
    let before = at_version(before, input.if_version)?;
    let mut after = before.clone();
    input.patch.apply(&mut after);
    reaches(scope, after.role, &["input", "patch", "role"], "You can't grant a role above your own.")?;
    let was_owner = before.role == Role::Owner && before.status == MembershipStatus::Active;
    let is_owner = after.role == Role::Owner && after.status == MembershipStatus::Active;
    if was_owner && !is_owner {
        keep_an_owner(&tx, &before, &["input", "patch"]).await?;
    }
    let teams_before = teams::service::of_member(&tx, before.user_id).await?;
    let teams_after = match input.patch.teams.value() {
        Some(patch) => patch.apply(&teams_before, &["input", "patch", "teams"], 50)?,
        None => teams_before.clone(),
    };
    let joined: BTreeSet<TeamId> = teams_after.difference(&teams_before).copied().collect();
    check_teams(&tx, &joined, &["input", "patch", "teams"]).await?;
    let show = |(row, teams): &(&membership::Model, &BTreeSet<TeamId>)| {
        let mut fields = fields(row);
        fields.push(("teamIds", serde_json::json!(teams)));
        fields
    };
    let Some(changed) = changed(&(&before, &teams_before), &(&after, &teams_after), show)? else {
        return Ok(tx.commit(before).await?);
    };
    teams::service::move_member(&mut tx, after.user_id, &teams_before, &teams_after).await?;
    let event = |row: &membership::Model| NewEvent::new(EventType::MemberUpdated, row.id.any(), changed);
    let after = tx.write_next(after, event).await?;
    Ok(tx.commit(after).await?)
}

/// Whether the organization would be left without an active owner.
pub async fn is_last_owner(tx: &WriteTx, leaving: &membership::Model) -> Result<bool> {
    if leaving.role != Role::Owner || leaving.status != MembershipStatus::Active {
        return Ok(false);
    }
    let others = tx
        .find::<membership::Entity>()
        .filter(membership::Column::Role.eq(Role::Owner))
        .filter(membership::Column::Status.eq(MembershipStatus::Active))
        .filter(membership::Column::Id.ne(leaving.id))
        .count()
        .await?;
    Ok(others == 0)
}

/// LAST_OWNER unless another active owner stays.
async fn keep_an_owner(tx: &WriteTx, leaving: &membership::Model, path: &[&str]) -> Result<()> {
    if !is_last_owner(tx, leaving).await? {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::LastOwner, path, "The organization would be left without an owner.").into())
}

/// Removes a member (MEMBER_MANAGE), or lets the caller leave.
pub async fn remove(scope: &OrgScope, input: &MembershipRemoveInput) -> Result<Committed<MembershipId>> {
    let mut tx = scope.write_as_member().await?;
    tx.lock_organization().await?;
    let own = scope.membership().is_some_and(|membership| membership.id == input.id);
    if !own {
        scope.require(Permission::MemberManage)?;
    }
    let path = ["input", "id"];
    let found = tx.locked_or_gone::<membership::Entity>(input.id, &path, EventType::MemberRemoved).await?;
    let Some(row) = found else { return tx.commit(input.id).await };
    reaches(scope, row.role, &path, "Their role is above your own.")?;
    keep_an_owner(&tx, &row, &["input", "id"]).await?;
    if let Some(new_assignee) = input.reassign_to_id {
        let path = ["input", "reassignToId"];
        let active =
            membership::Column::UserId.eq(new_assignee).and(membership::Column::Status.eq(MembershipStatus::Active));
        if new_assignee == row.user_id || tx.find::<membership::Entity>().filter(active).one().await?.is_none() {
            return Err(Problem::not_found(&path, "member").into());
        }
    }
    take_out(&mut tx, &row, input.reassign_to_id).await?;
    tx.commit(row.id).await
}

/// Takes a member out with all that hangs on the membership: assignments (`new_assignee` takes the open ones), teams, and
/// the API keys they made. The organization is locked, the membership too, and an owner stays.
pub async fn take_out(tx: &mut WriteTx, row: &membership::Model, new_assignee: Option<UserId>) -> Result<()> {
    let teams = teams::service::of_member(tx, row.user_id).await?;
    teams::service::move_member(tx, row.user_id, &teams, &BTreeSet::new()).await?;
    let removal = Removal { membership_id: row.id, user_id: row.user_id, replacement: new_assignee };
    // Somebody who leaves many organizations at once has one chunk in all of them; each one's job does the rest.
    let is_removed = tx.recorded() < items::sweep::CHUNK && remove_more(tx, removal).await?;
    api_keys::service::revoke_of(tx, row.user_id).await?;
    if !is_removed {
        tx.update(membership::ActiveModel {
            id: Set(row.id),
            // Whoever asks for active members alone, as every credential does, finds none.
            status: Set(MembershipStatus::Suspended),
            removed_at: Set(Some(tx.scope().clock().now())),
            ..Default::default()
        })
        .await?;
        tx.enqueue(REMOVAL, row.id.uuid(), removal).await?;
    }
    tx.count(QuotaResource::Members, -1);
    tx.record(NewEvent::new(EventType::MemberRemoved, row.id.any(), changes(Some(&fields(row)), None)));
    Ok(())
}

/// The kind of job that takes a removed member off the items that are left.
pub const REMOVAL: &str = "member.removal";

/// What the job reads.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Removal {
    membership_id: MembershipId,
    user_id: UserId,
    /// Who takes over the open items.
    replacement: Option<UserId>,
}

impl Removal {
    /// Of a member whose items nobody takes over.
    pub fn of(row: &membership::Model) -> Self {
        Self { membership_id: row.id, user_id: row.user_id, replacement: None }
    }
}

/// Takes a removed member off the next items, and deletes the membership when they were the last; whether they were.
pub async fn remove_more(tx: &mut WriteTx, removal: Removal) -> Result<bool> {
    let is_last = items::sweep::reassign(tx, removal.user_id, removal.replacement).await?
        && items::watching::stop_watching(tx, removal.user_id).await?;
    if is_last {
        tx.delete_where::<membership::Entity>(membership::Column::Id.eq(removal.membership_id)).await?;
    }
    Ok(is_last)
}
