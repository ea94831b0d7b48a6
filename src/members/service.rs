//! Invitations and memberships. Nobody grants above their own role, nobody acts on someone above it, and an organization
//! keeps an owner.

use std::collections::BTreeSet;

use chrono::Duration;
use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, ExprTrait as _, IntoActiveModel, prelude::*};
use serde::{Deserialize, Serialize};

use super::input::{InvitationAcceptInput, InvitationCreateInput, MembershipRemoveInput, MembershipUpdateInput};
use crate::{
    api_keys,
    auth::{
        actor::{ActorRef, Origin, Person},
        plan::{self, Plan},
        policy::Permission,
        secret::{hash_token, new_token},
    },
    clock::Instant,
    db::{
        AccountTx, Committed, OrgScope, WriteTx,
        filter::{email_key, shown_email},
    },
    entity::{
        enums::{MembershipStatus, QuotaResource, Role},
        invitation, invitation_team, ledger_head, membership, team, user,
    },
    error::{Error, Problem, ProblemCode, Rejected, Result},
    id::{InvitationId, MembershipId, TeamId, UserId},
    items,
    ledger::{EventType, Fields, NewEvent, changes},
    mail::Letter,
    state::State,
    teams,
};

/// The fields of a membership that events show.
pub fn fields(row: &membership::Model) -> Fields {
    vec![
        ("userId", row.user_id.to_string().into()),
        ("role", serde_json::json!(row.role)),
        ("status", serde_json::json!(row.status)),
    ]
}

fn invitation_fields(row: &invitation::Model) -> Fields {
    vec![("email", row.email.as_str().into()), ("role", serde_json::json!(row.role))]
}

/// A refusal unless the caller stands at least as high as `role`.
fn reaches(scope: &OrgScope, role: Role, path: &[&str], message: &str) -> Result<()> {
    if scope.role().is_none_or(|own| own >= role) {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::Forbidden, path, message).details(serde_json::json!({ "role": role })).into())
}

/// Teams named by an input, all of this organization.
async fn check_teams(tx: &WriteTx, ids: &BTreeSet<TeamId>, path: &[&str]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let found = tx.find::<team::Entity>().filter(team::Column::Id.is_in(ids.iter().copied())).count().await?;
    if found == ids.len() as u64 { Ok(()) } else { Err(Problem::not_found(path, "team").into()) }
}

/// QUOTA_EXCEEDED when there is no place for another member. Only early advice: the place is taken, and counted for good,
/// by whoever accepts.
async fn check_room(tx: &WriteTx) -> Result<()> {
    let Some(head) = tx.find::<ledger_head::Entity>().one().await? else { return Ok(()) };
    let used = plan::used(&head, QuotaResource::Members);
    match Plan::of(head.plan_tier).members {
        Some(limit) if used >= limit => {
            Err(plan::exceeded(head.plan_tier, QuotaResource::Members, used, 1, &["input"]).into())
        }
        _ => Ok(()),
    }
}

/// Invites an address. An earlier invitation to it is replaced.
pub async fn invite(
    state: &State,
    scope: &OrgScope,
    input: &InvitationCreateInput,
) -> Result<Committed<(invitation::Model, Option<String>)>> {
    input.validate()?;
    reaches(scope, input.role, &["input", "role"], "You can't grant a role above your own.")?;
    let mut tx = scope.write(Permission::MemberManage).await?;
    let email_key = email_key(&input.email);
    let member = tx.find_global::<user::Entity>(user::Column::EmailKey.eq(email_key.as_str())).await?.pop();
    if let Some(user) = member {
        let joined = membership::Column::UserId.eq(user.id);
        if tx.find::<membership::Entity>().filter(joined).one().await?.is_some() {
            let message = "Already a member of the organization.";
            return Err(Problem::new(ProblemCode::Taken, &["input", "email"], message).into());
        }
    }
    check_room(&tx).await?;
    if let Some(id) = input.id
        && tx.find::<invitation::Entity>().filter(invitation::Column::Id.eq(id)).one().await?.is_some()
    {
        return Err(Problem::new(ProblemCode::Taken, &["input", "id"], "The id is in use.").into());
    }
    let teams: BTreeSet<TeamId> = input.team_ids.iter().flatten().copied().collect();
    check_teams(&tx, &teams, &["input", "teamIds"]).await?;
    let earlier = invitation::Column::EmailKey.eq(email_key.as_str());
    if let Some(earlier) = tx.find::<invitation::Entity>().filter(earlier.clone()).one().await? {
        let message = "They are invited to a role above your own.";
        reaches(scope, earlier.role, &["input", "email"], message)?;
    }
    tx.delete_where::<invitation::Entity>(earlier).await?;
    let token = new_token()?;
    let now = scope.clock().now();
    let row = tx
        .insert(invitation::ActiveModel {
            id: Set(input.id.unwrap_or_else(|| scope.clock().new_id())),
            email: Set(shown_email(&input.email)),
            email_key: Set(email_key),
            role: Set(input.role),
            token_hash: Set(hash_token(&token)),
            invited_by_kind: Set(scope.actor().kind),
            invited_by_id: Set(scope.actor().id),
            created_at: Set(now),
            expires_at: Set(now + ttl(state)?),
            ..Default::default()
        })
        .await?;
    let links = teams.into_iter().map(|team_id| invitation_team::ActiveModel {
        invitation_id: Set(row.id),
        team_id: Set(team_id),
        ..Default::default()
    });
    tx.insert_many(links.collect()).await?;
    tx.record(NewEvent::new(EventType::MemberInvited, row.id.any(), changes(None, Some(&invitation_fields(&row)))));
    let invited = tx.commit((row, Some(token))).await?;
    mail_invitation(state, scope, &invited);
    Ok(invited)
}

fn mail_invitation(state: &State, scope: &OrgScope, invited: &Committed<(invitation::Model, Option<String>)>) {
    let (row, Some(token)) = &invited.value else { return };
    let organization = &scope.organization().name;
    state.mailer.post(Letter::invitation(&row.email, organization, token, state.config.auth.invitation_ttl));
}

fn ttl(state: &State) -> Result<Duration> {
    Duration::from_std(state.config.auth.invitation_ttl).map_err(Error::internal)
}

pub async fn revoke_invitation(scope: &OrgScope, id: InvitationId) -> Result<Committed<InvitationId>> {
    let mut tx = scope.write(Permission::MemberManage).await?;
    let path = ["input", "id"];
    let found = tx.locked_or_gone::<invitation::Entity>(id, &path, EventType::InvitationRevoked).await?;
    let Some(row) = found else { return tx.commit(id).await };
    reaches(scope, row.role, &path, "The invitation is to a role above your own.")?;
    tx.delete_where::<invitation::Entity>(invitation::Column::Id.eq(id)).await?;
    let gone = changes(Some(&invitation_fields(&row)), None);
    tx.record(NewEvent::new(EventType::InvitationRevoked, id.any(), gone));
    tx.commit(id).await
}

/// A new token with a new term; the old one is void.
pub async fn resend_invitation(
    state: &State,
    scope: &OrgScope,
    id: InvitationId,
) -> Result<Committed<(invitation::Model, Option<String>)>> {
    let mut tx = scope.write(Permission::MemberManage).await?;
    let row: invitation::Model = tx.locked::<invitation::Entity>(id, &["input", "id"]).await?;
    reaches(scope, row.role, &["input", "id"], "The invitation is to a role above your own.")?;
    let token = new_token()?;
    let row = tx
        .update(invitation::ActiveModel {
            id: Set(id),
            token_hash: Set(hash_token(&token)),
            expires_at: Set(scope.clock().now() + ttl(state)?),
            ..Default::default()
        })
        .await?;
    tx.record(NewEvent::new(EventType::MemberInvited, id.any(), Vec::new()));
    let invited = tx.commit((row, Some(token))).await?;
    mail_invitation(state, scope, &invited);
    Ok(invited)
}

/// Accepts an invitation: by its token, which proves the address, or by its id with an address proven before.
pub async fn accept(
    state: &State,
    origin: &Origin,
    person: &Person,
    input: &InvitationAcceptInput,
) -> Result<Committed<membership::Model>> {
    let user = &person.user;
    match input {
        InvitationAcceptInput::Token(token) => {
            let tx = AccountTx::begin(&state.db, origin).await?;
            redeem(tx, user, &hash_token(token), &["input", "token"]).await
        }
        InvitationAcceptInput::Id(id) => {
            let to_caller =
                invitation::Column::Id.eq(*id).and(invitation::Column::EmailKey.eq(user.email_key.as_str()));
            let found = match user.email_verified_at {
                Some(_) => state.db.find_invitation(to_caller).await?,
                None => None,
            };
            let invitation = found.ok_or_else(|| Problem::not_found(&["input", "id"], "invitation"))?;
            let tx = AccountTx::begin(&state.db, origin).await?;
            redeem(tx, user, &invitation.token_hash, &["input", "id"]).await
        }
    }
}

/// Turns the invitation with this token into a membership. Its address must be the account's, which is thereby proven.
pub async fn redeem(
    tx: AccountTx,
    user: &user::Model,
    token_hash: &[u8],
    path: &[&str],
) -> Result<Committed<membership::Model>> {
    let absent = || Problem::not_found(path, "invitation");
    let invitation = tx.find_invitation(token_hash).await?.ok_or_else(absent)?;
    let mut tx = tx.join(invitation.organization_id, ActorRef::user(user.id)).await?;
    let invitation: invitation::Model = tx.locked::<invitation::Entity>(invitation.id, path).await?;
    let now = tx.scope().clock().now();
    if invitation.token_hash != token_hash {
        return Err(absent().into());
    }
    if invitation.expires_at <= now {
        return Err(Problem::new(ProblemCode::Expired, path, "The invitation has expired; ask for another.").into());
    }
    if invitation.email_key != user.email_key {
        let message = "The invitation is to another address than your account's.";
        return Err(Problem::new(ProblemCode::Forbidden, path, message).into());
    }
    let teams: BTreeSet<TeamId> = tx
        .find::<invitation_team::Entity>()
        .filter(invitation_team::Column::InvitationId.eq(invitation.id))
        .column(invitation_team::Column::TeamId)
        .await?
        .into_iter()
        .collect();
    if user.email_verified_at.is_none() {
        tx.update_global(user::ActiveModel {
            id: Set(user.id),
            email_verified_at: Set(Some(now)),
            ..Default::default()
        })
        .await?;
    }
    let row = admit(&mut tx, user.id, invitation.role, Some(now)).await?;
    teams::service::move_member(&mut tx, user.id, &BTreeSet::new(), &teams).await?;
    tx.delete_where::<invitation::Entity>(invitation::Column::Id.eq(invitation.id)).await?;
    tx.commit(row).await
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
    let row = tx
        .insert(membership::ActiveModel {
            id: Set(clock.new_id()),
            user_id: Set(user_id),
            role: Set(role),
            status: Set(MembershipStatus::Active),
            joined_at: Set(clock.now()),
            last_active_at: Set(active_at),
            version: Set(1),
            ..Default::default()
        })
        .await?;
    tx.count(QuotaResource::Members, 1);
    tx.record(NewEvent::new(EventType::MemberJoined, row.id.any(), changes(None, Some(&fields(&row)))));
    Ok(row)
}

/// Makes somebody an active owner, as part of a write of the server's operator: a new member, or one raised.
pub async fn make_owner(tx: &mut WriteTx, user_id: UserId) -> Result<membership::Model> {
    tx.lock_organization().await?;
    let present = tx.find::<membership::Entity>().filter(membership::Column::UserId.eq(user_id)).for_update().one();
    let Some(before) = present.await? else { return admit(tx, user_id, Role::Owner, None).await };
    let mut after = before.clone();
    after.role = Role::Owner;
    after.status = MembershipStatus::Active;
    let changed = changes(Some(&fields(&before)), Some(&fields(&after)));
    if changed.is_empty() {
        return Ok(before);
    }
    after.version += 1;
    let after = tx.update(after.into_active_model().reset_all()).await?;
    tx.record(NewEvent::new(EventType::MemberUpdated, after.id.any(), changed));
    Ok(after)
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
    if input.if_version.is_some_and(|version| version != before.version) {
        let version = before.version;
        return Err(Rejected::conflict(before, version));
    }
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
    let show = |row: &membership::Model, teams: &BTreeSet<TeamId>| {
        let mut fields = fields(row);
        fields.push(("teamIds", serde_json::json!(teams)));
        fields
    };
    let changed = changes(Some(&show(&before, &teams_before)), Some(&show(&after, &teams_after)));
    if changed.is_empty() {
        return Ok(tx.commit(before).await?);
    }
    after.version += 1;
    let after = tx.update(after.into_active_model().reset_all()).await?;
    teams::service::move_member(&mut tx, after.user_id, &teams_before, &teams_after).await?;
    tx.record(NewEvent::new(EventType::MemberUpdated, after.id.any(), changed));
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
    if let Some(heir) = input.reassign_to_id {
        let path = ["input", "reassignToId"];
        let active = membership::Column::UserId.eq(heir).and(membership::Column::Status.eq(MembershipStatus::Active));
        if heir == row.user_id || tx.find::<membership::Entity>().filter(active).one().await?.is_none() {
            return Err(Problem::not_found(&path, "member").into());
        }
    }
    take_out(&mut tx, &row, input.reassign_to_id).await?;
    tx.commit(row.id).await
}

/// Takes a member out with all that hangs on the membership: assignments (`heir` takes over the open ones), teams, and
/// the API keys they made. The organization is locked, the membership too, and an owner stays.
pub async fn take_out(tx: &mut WriteTx, row: &membership::Model, heir: Option<UserId>) -> Result<()> {
    let teams = teams::service::of_member(tx, row.user_id).await?;
    teams::service::move_member(tx, row.user_id, &teams, &BTreeSet::new()).await?;
    api_keys::service::revoke_of(tx, row.user_id).await?;
    let removal = Removal { membership_id: row.id, user_id: row.user_id, replacement: heir };
    if !remove_more(tx, removal).await? {
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
    let is_last = items::sweep::reassign(tx, removal.user_id, removal.replacement).await?;
    if is_last {
        tx.delete_where::<membership::Entity>(membership::Column::Id.eq(removal.membership_id)).await?;
    }
    Ok(is_last)
}
