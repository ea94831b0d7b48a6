//! Accounts and sessions. Answers and timings are the same for a known and an unknown account.

use std::sync::Arc;

use chrono::Duration;
use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, ExprTrait as _, IntoActiveModel, prelude::*};

use super::{
    announce::announce,
    email_tokens,
    input::{SessionRevokeInput, UserRegisterInput, UserUpdateInput},
    throttle::{self, Account, final_write},
};
use crate::{
    base::{
        clock::Instant,
        enums::{SecurityEventKind, TokenPurpose},
        error::{Error, Problem, ProblemCode, Refusal, Rejected, Result},
        id::{AnyId, OrganizationId, SessionId, UserId},
        secret::{hash_token, new_token},
    },
    data::{
        actor::{Origin, Person},
        db::{
            AccountTx, Committed, at_version, changed,
            filter::{email_key, fold, shown_email},
        },
        entity::{ActorRef, Findable, Versioned as _, credential, refresh_token, security_event, session, user},
        ledger::Fields,
    },
    domains::members::{self, invitations::Ticket},
    platform::{mail::Email, state::State},
};

/// What a client keeps: an access token for minutes, a refresh token for the session.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: String,
    pub expires_at: Instant,
    pub session_id: SessionId,
    pub user_id: UserId,
}

/// Tokens are given once.
impl Findable for Tokens {
    fn any_id(&self) -> Option<AnyId> {
        None
    }
}

/// Starts a session. Throttled by account and address.
pub async fn sign_in(state: &State, origin: &Origin, email: &str, password: &str) -> Result<Committed<Tokens>> {
    let counted = throttle::count(state, origin, &Account::of(email)).await?;
    let found = state.db.find_global::<user::Entity>(user::Column::EmailKey.eq(email_key(email))).await?.pop();
    let user_id = found.as_ref().map_or(UserId::from_uuid(Uuid::nil()), |user| user.id);
    let stored = state.db.find_global::<credential::Entity>(credential::Column::UserId.eq(user_id)).await?.pop();
    let stored = stored.map(|credential| credential.password_hash);
    let matches = state.passwords.verify(password, stored.as_deref()).await?;
    let wrong = || Problem::new(ProblemCode::BadCredentials, &["input"], "Wrong e-mail or password.");
    let (Some(user), Some(stored), true) = (&found, stored, matches) else {
        if let Some(user) = found {
            log_failure(state, origin, user.id);
        }
        return Err(wrong().into());
    };
    let rehashed =
        if state.passwords.is_outdated(&stored) { Some(state.passwords.hash(password).await?) } else { None };
    let tokens = final_write(|| async {
        let tx = AccountTx::begin(&state.db, origin).await?;
        if !is_still(&tx, user.id, &stored).await? {
            return Err(wrong().into());
        }
        counted.take_back(&tx).await?;
        if let Some(hash) = &rehashed {
            tx.update(credential_row(user.id, hash.clone(), state.clock().now())).await?;
        }
        let tokens = start_session(&tx, state, origin, user.id).await?;
        log(&tx, state, origin, user.id, SecurityEventKind::SignedIn).await?;
        let (tokens, _) = tx.commit(ActorRef::user(user.id), tokens).await?;
        Ok(tokens)
    })
    .await?;
    Ok(Committed { value: tokens, cursor: None })
}

/// After the answer, which would otherwise take longer for an account that exists.
fn log_failure(state: &State, origin: &Origin, user_id: UserId) {
    let origin = origin.unclaimed();
    state.later("logging a failed sign-in", move |state| {
        let origin = origin.clone();
        async move {
            let tx = AccountTx::begin(&state.db, &origin).await?;
            log(&tx, &state, &origin, user_id, SecurityEventKind::SignInFailed).await?;
            tx.commit(ActorRef::SYSTEM, ()).await.map(drop)
        }
    });
}

/// Whether the password that was verified is the person's now that nobody else can change it. Hashing happens outside the
/// transaction, and a reset meanwhile has ended what the old one was good for.
pub(super) async fn is_still(tx: &AccountTx, user_id: UserId, verified: &str) -> Result<bool> {
    let unchanged = credential::Column::UserId.eq(user_id).and(credential::Column::PasswordHash.eq(verified));
    Ok(!tx.find::<credential::Entity>(unchanged).await?.is_empty())
}

pub(super) fn credential_row(user_id: UserId, password_hash: String, now: Instant) -> credential::ActiveModel {
    credential::ActiveModel { user_id: Set(user_id), password_hash: Set(password_hash), updated_at: Set(now) }
}

pub(super) async fn start_session(tx: &AccountTx, state: &State, origin: &Origin, user_id: UserId) -> Result<Tokens> {
    let now = state.clock().now();
    let span = |ttl| Duration::from_std(ttl).map_err(Error::internal);
    let session_id: SessionId = state.clock().new_id();
    tx.insert(session::ActiveModel {
        id: Set(session_id),
        user_id: Set(user_id),
        user_agent: Set(origin.user_agent.as_deref().map(|agent| agent.chars().take(200).collect())),
        ip: Set(origin.ip.map(|ip| ip.to_string())),
        created_at: Set(now),
        last_seen_at: Set(now),
        expires_at: Set(now + span(state.config.auth.session_idle)?),
        absolute_expires_at: Set(now + span(state.config.auth.session_absolute)?),
        revoked_at: Set(None),
    })
    .await?;
    issue(tx, state, user_id, session_id, new_token()?).await
}

/// A fresh access token for a session, with the refresh token that is stored here.
async fn issue(
    tx: &AccountTx,
    state: &State,
    user_id: UserId,
    session_id: SessionId,
    refresh_token: String,
) -> Result<Tokens> {
    tx.mark_active(user_id).await?;
    tx.insert(refresh_token::ActiveModel {
        hash: Set(hash_token(&refresh_token)),
        session_id: Set(session_id),
        issued_at: Set(state.clock().now()),
        used_at: Set(None),
    })
    .await?;
    sign(state, user_id, session_id, refresh_token)
}

fn sign(state: &State, user_id: UserId, session_id: SessionId, refresh_token: String) -> Result<Tokens> {
    let (access_token, expires_at) = state.keys.sign(user_id, session_id, state.config.auth.access_ttl)?;
    Ok(Tokens { access_token, refresh_token, expires_at, session_id, user_id })
}

/// Trades a refresh token for its successor, of which there is one: within a short overlap (two tabs, a lost answer) the
/// same is answered again, until it has been traded itself. A token that comes back after the overlap has been stolen or
/// replayed: its whole session ends.
pub async fn refresh(state: &State, origin: &Origin, token: &str) -> Result<Committed<Tokens>> {
    let refused = || {
        Problem::new(
            ProblemCode::BadCredentials,
            &["input", "refreshToken"],
            "The refresh token is not valid any more; sign in again.",
        )
    };
    let now = state.clock().now();
    let tx = AccountTx::begin(&state.db, origin).await?;
    let row = tx.find::<refresh_token::Entity>(refresh_token::Column::Hash.eq(hash_token(token))).await?.pop();
    let row = row.ok_or_else(refused)?;
    let session = tx.find::<session::Entity>(session::Column::Id.eq(row.session_id)).await?.pop();
    let session = session.filter(|s| s.revoked_at.is_none() && s.expires_at > now).ok_or_else(refused)?;
    let overlap = Duration::from_std(state.config.auth.refresh_overlap).map_err(Error::internal)?;
    match row.used_at {
        Some(used_at) if now - used_at > overlap => {
            end_sessions(&tx, session::Column::Id.eq(session.id), now).await?;
            log(&tx, state, origin, session.user_id, SecurityEventKind::RefreshReused).await?;
            tx.commit(ActorRef::SYSTEM, ()).await?;
            tracing::warn!(session = %session.id, "a refresh token came twice; its session was ended");
            return Err(refused().into());
        }
        Some(_) => {
            let successor = unused_successor(&tx, state, token).await?.ok_or_else(refused)?;
            let tokens = sign(state, session.user_id, session.id, successor)?;
            tx.commit(ActorRef::user(session.user_id), ()).await?;
            return Ok(Committed { value: tokens, cursor: None });
        }
        None => {
            let used =
                refresh_token::ActiveModel { hash: Set(row.hash), used_at: Set(Some(now)), ..Default::default() };
            tx.update(used).await?;
        }
    }
    let idle = Duration::from_std(state.config.auth.session_idle).map_err(Error::internal)?;
    tx.update(session::ActiveModel {
        id: Set(session.id),
        last_seen_at: Set(now),
        expires_at: Set(Ord::min(session.absolute_expires_at, now + idle)),
        ..Default::default()
    })
    .await?;
    let tokens = issue(&tx, state, session.user_id, session.id, state.secret.successor(token)).await?;
    tx.commit(ActorRef::user(session.user_id), ()).await?;
    Ok(Committed { value: tokens, cursor: None })
}

/// The successor of a traded token, while it has not been traded itself. It may have been made under an earlier
/// `SECRET_KEY`.
async fn unused_successor(tx: &AccountTx, state: &State, token: &str) -> Result<Option<String>> {
    for successor in state.secret.successors(token) {
        let unused =
            refresh_token::Column::Hash.eq(hash_token(&successor)).and(refresh_token::Column::UsedAt.is_null());
        if !tx.find::<refresh_token::Entity>(unused).await?.is_empty() {
            return Ok(Some(successor));
        }
    }
    Ok(None)
}

/// Ends a session of the caller's, or all of them. Of a session that is not theirs nothing is said.
pub async fn revoke(
    state: &State,
    origin: &Origin,
    person: &Person,
    input: &SessionRevokeInput,
) -> Result<Committed<SessionId>> {
    let id = input.id.unwrap_or(person.session_id);
    let mine = session::Column::UserId.eq(person.user.id);
    let tx = AccountTx::begin(&state.db, origin).await?;
    if !input.everywhere && tx.find::<session::Entity>(mine.clone().and(session::Column::Id.eq(id))).await?.is_empty() {
        return Err(Problem::not_found(&["input", "id"], "session").into());
    }
    let which = if input.everywhere { mine } else { mine.and(session::Column::Id.eq(id)) };
    let ended = end_sessions(&tx, which, state.clock().now()).await?;
    let signs_out = !input.everywhere && id == person.session_id;
    let kind = if signs_out { SecurityEventKind::SignedOut } else { SecurityEventKind::SessionsRevoked };
    if ended > 0 {
        log(&tx, state, origin, person.user.id, kind).await?;
    }
    tx.commit(ActorRef::user(person.user.id), ()).await?;
    Ok(Committed { value: id, cursor: None })
}

/// Ends those of the sessions that have not ended; says how many.
pub(super) async fn end_sessions(tx: &AccountTx, which: sea_orm::sea_query::SimpleExpr, now: Instant) -> Result<u64> {
    let live = which.and(session::Column::RevokedAt.is_null());
    tx.update_where::<session::Entity>(live, vec![(session::Column::RevokedAt, Expr::value(now))]).await
}

/// Adds to a person's security log.
pub(super) async fn log(
    tx: &AccountTx,
    state: &State,
    origin: &Origin,
    user_id: UserId,
    kind: SecurityEventKind,
) -> Result<()> {
    tx.insert(security_event::ActiveModel {
        id: Set(state.clock().new_id()),
        user_id: Set(user_id),
        kind: Set(kind),
        ip: Set(origin.ip.map(|ip| ip.to_string())),
        user_agent: Set(origin.user_agent.as_deref().map(|agent| agent.chars().take(200).collect())),
        created_at: Set(state.clock().now()),
    })
    .await?;
    Ok(())
}

/// Registers a person and signs them in. With an invitation's token they also join its organization, in one transaction.
/// The token of its e-mail proves the address; otherwise a token that proves it is mailed.
pub async fn register(state: &State, origin: &Origin, input: &UserRegisterInput) -> Result<Committed<Tokens>> {
    input.validate()?;
    // Never taken back: each is an account and perhaps an e-mail to somebody, and a failed one says TAKEN.
    let _ = throttle::count(state, origin, &Account::registration()).await?;
    let password_hash = state.passwords.hash(&input.password).await?;
    let purpose = TokenPurpose::EmailVerification;
    let (registered, message) = final_write(|| async {
        let tx = AccountTx::begin(&state.db, origin).await?;
        let user = add_person(&tx, state, input, password_hash.clone(), None).await?;
        let tokens = start_session(&tx, state, origin, user.id).await?;
        log(&tx, state, origin, user.id, SecurityEventKind::SignedIn).await?;
        let path = ["input", "invitationToken"];
        let ticket = match &input.invitation_token {
            Some(token) => Some(members::invitations::by_token(&tx, token, &path).await?),
            None => None,
        };
        let message = if ticket.as_ref().is_some_and(Ticket::proves_address) {
            None
        } else {
            let token = email_tokens::issue(&tx, state, user.id, purpose, &user.email).await?;
            Some(Email::verification(&user, &token, email_tokens::ttl(state, purpose)))
        };
        let registered = match &ticket {
            Some(ticket) => members::invitations::redeem(tx, &user, ticket, &path).await?.map(|_| tokens),
            None => {
                let (tokens, _) = tx.commit(ActorRef::user(user.id), tokens).await?;
                Committed { value: tokens, cursor: None }
            }
        };
        Ok((registered, message))
    })
    .await?;
    if let Some(message) = message {
        state.mailer.post(message);
    }
    Ok(registered)
}

/// A person and their password, as part of a write; address and username must be free. `verified_at`: when the address
/// was proven.
pub async fn add_person(
    tx: &AccountTx,
    state: &State,
    input: &UserRegisterInput,
    password_hash: String,
    verified_at: Option<Instant>,
) -> Result<user::Model> {
    let now = state.clock().now();
    let UserRegisterInput { email, username, password: _, full_name, time_zone, invitation_token: _ } = input.clone();
    for (column, key, field) in
        [(user::Column::EmailKey, email_key(&email), "email"), (user::Column::UsernameKey, fold(&username), "username")]
    {
        if !tx.find::<user::Entity>(column.eq(key)).await?.is_empty() {
            return Err(Problem::new(ProblemCode::Taken, &["input", field], "Already in use.").into());
        }
    }
    let user = tx
        .insert(user::ActiveModel {
            id: Set(state.clock().new_id()),
            email_key: Set(email_key(&email)),
            email: Set(shown_email(&email)),
            username_key: Set(fold(&username)),
            username: Set(username.trim().to_owned()),
            full_name_key: Set(full_name.as_deref().map(fold)),
            full_name: Set(full_name.map(|name| name.trim().to_owned())),
            avatar_url: Set(None),
            time_zone: Set(time_zone.unwrap_or_else(|| "UTC".to_owned())),
            email_verified_at: Set(verified_at),
            created_at: Set(now),
            updated_at: Set(now),
            version: Set(1),
        })
        .await?;
    tx.insert(credential_row(user.id, password_hash, now)).await?;
    Ok(user)
}

/// Ends all sessions of a person, for the server's operator; says how many there were.
pub async fn end_all_sessions(state: &State, origin: &Origin, user_id: UserId) -> Result<u64> {
    let tx = AccountTx::begin(&state.db, origin).await?;
    let ended = end_sessions(&tx, session::Column::UserId.eq(user_id), state.clock().now()).await?;
    log(&tx, state, origin, user_id, SecurityEventKind::SessionsRevoked).await?;
    tx.commit(ActorRef::SYSTEM, ()).await?;
    Ok(ended)
}

/// The fields of a person that events show; the address is not among them.
fn fields(user: &user::Model) -> Fields {
    let user::Model {
        id: _,
        email: _,
        email_key: _,
        username,
        username_key: _,
        full_name,
        full_name_key: _,
        avatar_url,
        time_zone,
        email_verified_at: _,
        created_at: _,
        updated_at: _,
        version: _,
    } = user;
    vec![
        ("username", username.as_str().into()),
        ("fullName", full_name.as_deref().into()),
        ("avatarUrl", avatar_url.as_deref().into()),
        ("timeZone", time_zone.as_str().into()),
    ]
}

/// Updates the caller's profile, and says so in the ledger of every organization they belong to; beyond the first ones that
/// is left to a job.
pub async fn update(
    state: &State,
    origin: &Origin,
    person: &Person,
    current: Option<OrganizationId>,
    input: &UserUpdateInput,
) -> Result<Committed<Arc<user::Model>>, Rejected<Arc<user::Model>>> {
    input.validate()?;
    let mut tx = AccountTx::begin(&state.db, origin).await?;
    let before = tx.find::<user::Entity>(user::Column::Id.eq(person.user.id)).await?.pop();
    let before = before.ok_or_else(Refusal::unauthenticated)?;
    let before = at_version(before, input.if_version).map_err(|rejected| rejected.map(Arc::new))?;
    let mut after = before.clone();
    input.patch.clone().apply(&mut after);
    let Some(changed) = changed(&before, &after, fields)? else {
        let (before, _) = tx.commit(ActorRef::user(person.user.id), before).await?;
        return Ok(Committed { value: Arc::new(before), cursor: None });
    };
    if after.username_key != before.username_key
        && !tx.find::<user::Entity>(user::Column::UsernameKey.eq(after.username_key.as_str())).await?.is_empty()
    {
        let path = ["input", "patch", "username"];
        return Err(Problem::new(ProblemCode::Taken, &path, "Already in use.").into());
    }
    after.advance(state.clock().now());
    let after = tx.update(after.into_active_model().reset_all()).await?;
    announce(&mut tx, person.user.id, changed, current).await?;
    let (after, sequences) = tx.commit(ActorRef::user(person.user.id), after).await?;
    let cursor = current.and_then(|organization_id| {
        let sequence = *sequences.get(&organization_id)?;
        Some(state.db.cursor(organization_id, sequence))
    });
    Ok(Committed { value: Arc::new(after), cursor })
}
