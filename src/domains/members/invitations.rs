//! Invitations. Each has two tokens: the mailed one proves the address of whoever accepts with it, the shown one is for
//! its maker to hand on and proves nothing. An invitation is worth what its maker may grant at the moment it is accepted.

use std::collections::BTreeSet;

use chrono::Duration;
use sea_orm::{ActiveValue::Set, prelude::*};

use super::{
    input::{InvitationAcceptInput, InvitationCreateInput},
    service::{admit, check_teams, reaches},
};
use crate::{
    base::{
        clock::Instant,
        enums::{ActorKind, MembershipStatus, QuotaResource},
        error::{Error, Problem, ProblemCode, Result},
        id::{InvitationId, OrganizationId, TeamId},
        plan::{self, Plan},
        policy::{Permission, Permissions},
        secret::{hash_token, new_token},
    },
    data::{
        actor::{Origin, Person},
        db::{
            AccountTx, Committed, OrgScope, WriteTx,
            filter::{email_key, shown_email},
            id_taken,
        },
        entity::{ActorRef, EventType, api_key, invitation, invitation_team, ledger_head, membership, user},
        ledger::{Fields, NewEvent, changes},
    },
    domains::teams,
    platform::{mail::Email, state::State},
};

fn fields(row: &invitation::Model) -> Fields {
    let invitation::Model {
        organization_id: _,
        id: _,
        email,
        email_key: _,
        role,
        token_hash: _,
        mailed_token_hash: _,
        invited_by_kind: _,
        invited_by_id: _,
        created_at: _,
        expires_at: _,
    } = row;
    vec![("email", email.as_str().into()), ("role", serde_json::json!(role))]
}

/// QUOTA_EXCEEDED when the plan has no room for another member. Only early advice: the unit is taken, and counted for good,
/// by whoever accepts.
async fn check_room(tx: &WriteTx) -> Result<()> {
    let Some(head) = tx.find::<ledger_head::Entity>().one().await? else { return Ok(()) };
    let used = head.used(QuotaResource::Members);
    match Plan::of(head.plan_tier).members {
        Some(limit) if used >= limit => {
            Err(plan::exceeded(head.plan_tier, QuotaResource::Members, used, 1, &["input"]).into())
        }
        _ => Ok(()),
    }
}

/// An invitation with the token that its maker is shown.
pub type Shown = (invitation::Model, Option<String>);

/// The tokens of one invitation; only their hashes are stored.
struct Tokens {
    mailed: String,
    shown: String,
}

impl Tokens {
    fn new() -> Result<Self> {
        Ok(Self { mailed: new_token()?, shown: new_token()? })
    }
}

/// Invites an address. An earlier invitation to it is replaced.
pub async fn invite(state: &State, scope: &OrgScope, input: &InvitationCreateInput) -> Result<Committed<Shown>> {
    input.validate()?;
    reaches(scope, input.role, &["input", "role"], "You can't grant a role above your own.")?;
    scope.require(Permission::MemberManage)?;
    state.mailer.check_room(&input.email).await?;
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
        return Err(id_taken(vec!["input".to_owned(), "id".to_owned()]).into());
    }
    let teams: BTreeSet<TeamId> = input.team_ids.iter().flatten().copied().collect();
    check_teams(&tx, &teams, &["input", "teamIds"]).await?;
    let earlier = invitation::Column::EmailKey.eq(email_key.as_str());
    if let Some(earlier) = tx.find::<invitation::Entity>().filter(earlier.clone()).one().await? {
        let message = "They are invited to a role above your own.";
        reaches(scope, earlier.role, &["input", "email"], message)?;
    }
    tx.delete_where::<invitation::Entity>(earlier).await?;
    let tokens = Tokens::new()?;
    let now = scope.clock().now();
    let organization_id = scope.organization_id();
    let row = invitation::Model {
        organization_id,
        id: input.id.unwrap_or_else(|| scope.clock().new_id()),
        email: shown_email(&input.email),
        email_key,
        role: input.role,
        token_hash: hash_token(&tokens.shown),
        mailed_token_hash: Some(hash_token(&tokens.mailed)),
        invited_by_kind: scope.actor().kind,
        invited_by_id: scope.actor().id,
        created_at: now,
        expires_at: now + ttl(state)?,
    };
    let event = |row: &invitation::Model| {
        NewEvent::new(EventType::MemberInvited, row.id.any(), changes(None, Some(&fields(row))))
    };
    let row = tx.create(row, event).await?;
    let link = |team_id| invitation_team::Model { organization_id, invitation_id: row.id, team_id };
    tx.insert_many(teams.into_iter().map(link).collect()).await?;
    let invited = tx.commit((row, Some(tokens.shown))).await?;
    mail(state, scope, &invited.value.0, &tokens.mailed);
    Ok(invited)
}

fn mail(state: &State, scope: &OrgScope, row: &invitation::Model, token: &str) {
    let organization = &scope.organization().name;
    state.mailer.post(Email::invitation(&row.email, organization, token, state.config.auth.invitation_ttl));
}

fn ttl(state: &State) -> Result<Duration> {
    Duration::from_std(state.config.auth.invitation_ttl).map_err(Error::internal)
}

pub async fn revoke(scope: &OrgScope, id: InvitationId) -> Result<Committed<InvitationId>> {
    let mut tx = scope.write(Permission::MemberManage).await?;
    let path = ["input", "id"];
    let found = tx.locked_or_gone::<invitation::Entity>(id, &path, EventType::InvitationRevoked).await?;
    let Some(row) = found else { return tx.commit(id).await };
    reaches(scope, row.role, &path, "The invitation is to a role above your own.")?;
    tx.delete_where::<invitation::Entity>(invitation::Column::Id.eq(id)).await?;
    tx.record(NewEvent::new(EventType::InvitationRevoked, id.any(), changes(Some(&fields(&row)), None)));
    tx.commit(id).await
}

/// New tokens with a new term; the old ones are void. From now on it is the caller's invitation: it stands on their
/// rights.
pub async fn resend(state: &State, scope: &OrgScope, id: InvitationId) -> Result<Committed<Shown>> {
    let mut tx = scope.write(Permission::MemberManage).await?;
    let row: invitation::Model = tx.locked::<invitation::Entity>(id, &["input", "id"]).await?;
    reaches(scope, row.role, &["input", "id"], "The invitation is to a role above your own.")?;
    state.mailer.check_room(&row.email).await?;
    let tokens = Tokens::new()?;
    let row = tx
        .update(invitation::ActiveModel {
            id: Set(id),
            token_hash: Set(hash_token(&tokens.shown)),
            mailed_token_hash: Set(Some(hash_token(&tokens.mailed))),
            invited_by_kind: Set(scope.actor().kind),
            invited_by_id: Set(scope.actor().id),
            expires_at: Set(scope.clock().now() + ttl(state)?),
            ..Default::default()
        })
        .await?;
    tx.record(NewEvent::new(EventType::MemberInvited, id.any(), Vec::new()));
    let invited = tx.commit((row, Some(tokens.shown))).await?;
    mail(state, scope, &invited.value.0, &tokens.mailed);
    Ok(invited)
}

/// Whether an invitation's maker may grant its role now. `membership`: theirs, or that of the member who made the API
/// key which invited.
pub fn stands(
    row: &invitation::Model,
    membership: Option<&membership::Model>,
    key: Option<&api_key::Model>,
    now: Instant,
) -> bool {
    let member_grants = membership.is_some_and(|maker| {
        maker.status == MembershipStatus::Active
            && maker.role >= row.role
            && Permissions::of(maker.role).contains(Permission::MemberManage)
    });
    match row.invited_by_kind {
        ActorKind::System => true,
        ActorKind::User => member_grants,
        ActorKind::ApiKey => {
            member_grants
                && key.is_some_and(|key| {
                    key.revoked_at.is_none()
                        && key.expires_at.is_none_or(|end| end > now)
                        && Permissions::named(&key.scopes).contains(Permission::MemberManage)
                })
        }
        ActorKind::InboundHook => false,
    }
}

/// An invitation that somebody may redeem, and by what.
pub struct Ticket {
    organization_id: OrganizationId,
    id: InvitationId,
    by: By,
}

enum By {
    MailedToken(Vec<u8>),
    ShownToken(Vec<u8>),
    /// Found among the invitations to their proven address.
    Address,
}

impl Ticket {
    /// Whether redeeming it proves the address of the account.
    pub const fn proves_address(&self) -> bool {
        matches!(self.by, By::MailedToken(_))
    }
}

fn absent(path: &[&str]) -> Error {
    Problem::not_found(path, "invitation").into()
}

/// The invitation that a token names, wherever it is. An invitation of before there were two tokens has the shown one
/// alone, also in its e-mail: what may have been shown proves nothing.
pub async fn by_token(tx: &AccountTx, token: &str, path: &[&str]) -> Result<Ticket> {
    let hash = hash_token(token);
    let row = tx.find_invitation(&hash).await?.ok_or_else(|| absent(path))?;
    let is_mailed = row.mailed_token_hash.as_ref() == Some(&hash);
    let by = if is_mailed { By::MailedToken(hash) } else { By::ShownToken(hash) };
    Ok(Ticket { organization_id: row.organization_id, id: row.id, by })
}

/// One of the open invitations to a person's proven address. Clients make ids, and each organization's are its own: an id
/// that two of them gave is refused, so that nobody joins another organization than the one they looked at.
async fn listed(state: &State, user: &user::Model, id: InvitationId) -> Result<Ticket> {
    let path = ["input", "id"];
    if user.email_verified_at.is_none() {
        return Err(absent(&path));
    }
    let open = state.db.invitations_to(&user.email_key, state.clock().now(), Some(id)).await?;
    match open.as_slice() {
        [] => Err(absent(&path)),
        [only] => Ok(Ticket { organization_id: only.organization.id, id, by: By::Address }),
        _ => {
            let message = "Several organizations gave their invitation this id; accept by the token in the e-mail.";
            Err(Problem::new(ProblemCode::InvalidState, &path, message).into())
        }
    }
}

/// Accepts an invitation: by one of its tokens, or by its id with an address proven before.
pub async fn accept(
    state: &State,
    origin: &Origin,
    person: &Person,
    input: &InvitationAcceptInput,
) -> Result<Committed<membership::Model>> {
    let user = &person.user;
    match input {
        InvitationAcceptInput::Token(token) => {
            let path = ["input", "token"];
            let tx = AccountTx::begin(&state.db, origin).await?;
            let ticket = by_token(&tx, token, &path).await?;
            redeem(tx, user, &ticket, &path).await
        }
        InvitationAcceptInput::Id(id) => {
            let ticket = listed(state, user, *id).await?;
            let tx = AccountTx::begin(&state.db, origin).await?;
            redeem(tx, user, &ticket, &["input", "id"]).await
        }
    }
}

/// Turns an invitation into a membership. It must be to the account's address; the mailed token proves that address.
pub async fn redeem(
    tx: AccountTx,
    user: &user::Model,
    ticket: &Ticket,
    path: &[&str],
) -> Result<Committed<membership::Model>> {
    let mut tx = tx.join(ticket.organization_id, ActorRef::user(user.id)).await?;
    // Whoever takes rights from the inviter locks it too: their invitations end before, or are redeemed before.
    tx.lock_organization().await?;
    let invitation: invitation::Model = tx.locked::<invitation::Entity>(ticket.id, path).await?;
    let now = tx.scope().clock().now();
    // As it is now: the caller may have been read a second ago.
    let user = tx.find_global::<user::Entity>(user::Column::Id.eq(user.id)).await?.pop();
    let user = user.ok_or_else(|| absent(path))?;
    let is_held = match &ticket.by {
        By::MailedToken(hash) => invitation.mailed_token_hash.as_ref() == Some(hash),
        By::ShownToken(hash) => invitation.token_hash == *hash,
        By::Address => user.email_verified_at.is_some() && invitation.email_key == user.email_key,
    };
    if !is_held {
        return Err(absent(path));
    }
    if invitation.expires_at <= now {
        return Err(Problem::new(ProblemCode::Expired, path, "The invitation has expired; ask for another.").into());
    }
    if invitation.email_key != user.email_key {
        let message = "The invitation is to another address than your account's.";
        return Err(Problem::new(ProblemCode::Forbidden, path, message).into());
    }
    if !maker_grants(&tx, &invitation, now).await? {
        return Err(absent(path));
    }
    let teams: BTreeSet<TeamId> = tx
        .find::<invitation_team::Entity>()
        .filter(invitation_team::Column::InvitationId.eq(invitation.id))
        .column(invitation_team::Column::TeamId)
        .await?
        .into_iter()
        .collect();
    if ticket.proves_address() && user.email_verified_at.is_none() {
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

/// [`stands`], of rows read within the transaction that admits.
async fn maker_grants(tx: &WriteTx, row: &invitation::Model, now: Instant) -> Result<bool> {
    let maker = ActorRef { kind: row.invited_by_kind, id: row.invited_by_id };
    let key = match maker.api_key_id() {
        // Locked, so that it is not revoked meanwhile.
        Some(id) => tx.find::<api_key::Entity>().filter(api_key::Column::Id.eq(id)).for_update().one().await?,
        None => None,
    };
    let membership = match maker.user_id().or(key.as_ref().map(|key| key.created_by_id)) {
        Some(id) => tx.find::<membership::Entity>().filter(membership::Column::UserId.eq(id)).one().await?,
        None => None,
    };
    Ok(stands(row, membership.as_ref(), key.as_ref(), now))
}
