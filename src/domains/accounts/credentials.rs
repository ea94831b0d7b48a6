//! What proves who a person is: their password and their address; and the end of the account. Knows neither
//! async-graphql nor axum.
//!
//! Each function counts its try first (see `throttle`), and runs its one transaction by `final_write`.

use std::sync::Arc;

use sea_orm::{ActiveValue::Set, ExprTrait as _, prelude::*};

use super::{
    announce::announce,
    departure, email_tokens,
    input::{
        EmailChangeRequestInput, EmailVerifyInput, PasswordChangeInput, PasswordResetCompleteInput, UserDeleteInput,
    },
    service::{Tokens, credential_row, end_sessions, is_still, log, start_session},
    throttle::{self, Account, Counted, final_write},
};
use crate::{
    base::{
        enums::{SecurityEventKind, TokenPurpose},
        error::{Problem, ProblemCode, Refusal, Result},
        id::UserId,
    },
    data::{
        actor::{Origin, Person},
        db::{
            AccountTx, Committed,
            filter::{email_key, shown_email},
        },
        entity::{ActorRef, account_token, credential, session, user},
    },
    platform::{mail::Email, state::State},
};

/// The caller's stored password, when `password` is it. A wrong one counts like one at sign-in; the try is taken back by
/// whatever succeeds.
async fn confirm(
    state: &State,
    origin: &Origin,
    person: &Person,
    password: &str,
    path: &[&str],
) -> Result<(Counted, String)> {
    let counted = throttle::count(state, origin, &Account::of(&person.user.email_key)).await?;
    let found = state.db.find_global::<credential::Entity>(credential::Column::UserId.eq(person.user.id)).await?;
    let stored = found.into_iter().next().map(|credential| credential.password_hash);
    if state.passwords.verify(password, stored.as_deref()).await?
        && let Some(stored) = stored
    {
        return Ok((counted, stored));
    }
    Err(wrong_password(path).into())
}

fn wrong_password(path: &[&str]) -> Problem {
    Problem::new(ProblemCode::BadCredentials, path, "Wrong password.")
}

/// The person's row, locked until the end. First in every transaction here, before their tokens and sessions, so that no
/// two wait for each other.
async fn lock_person(tx: &AccountTx, user_id: UserId) -> Result<Option<user::Model>> {
    Ok(tx.find::<user::Entity>(user::Column::Id.eq(user_id)).await?.pop())
}

/// Changes the caller's password, and ends their other sessions.
pub async fn change_password(
    state: &State,
    origin: &Origin,
    person: &Person,
    input: &PasswordChangeInput,
) -> Result<Committed<Arc<user::Model>>> {
    input.validate()?;
    let path = ["input", "currentPassword"];
    let (counted, stored) = confirm(state, origin, person, &input.current_password, &path).await?;
    let hash = state.passwords.hash(&input.new_password).await?;
    let user_id = person.user.id;
    let user = final_write(|| async {
        let now = state.clock().now();
        let tx = AccountTx::begin(&state.db, origin).await?;
        let user = lock_person(&tx, user_id).await?.ok_or_else(Refusal::unauthenticated)?;
        if !is_still(&tx, user_id, &stored).await? {
            return Err(wrong_password(&path).into());
        }
        tx.update(credential_row(user_id, hash.clone(), now)).await?;
        let others = session::Column::UserId.eq(user_id).and(session::Column::Id.ne(person.session_id));
        end_sessions(&tx, others, now).await?;
        email_tokens::void(&tx, user_id, &[TokenPurpose::PasswordReset, TokenPurpose::EmailChange]).await?;
        counted.take_back(&tx).await?;
        log(&tx, state, origin, user_id, SecurityEventKind::PasswordChanged).await?;
        let (user, _) = tx.commit(ActorRef::user(user_id), user).await?;
        Ok(user)
    })
    .await?;
    state.mailer.post(Email::password_changed(&user));
    Ok(Committed { value: Arc::new(user), cursor: None })
}

/// Mails a token for a new password, if there is such an account. Whether there is one is looked up after the answer, so
/// that neither its words nor its time tell.
pub async fn request_reset(state: &State, origin: &Origin, email: &str) -> Result<Committed<()>> {
    // Never taken back: each request may be an e-mail to somebody.
    let _ = throttle::count(state, origin, &Account::reset_of(email)).await?;
    let (origin, email_key) = (origin.unclaimed(), email_key(email));
    state.later("mailing a password reset", move |state| {
        let (origin, email_key) = (origin.clone(), email_key.clone());
        async move { mail_reset(&state, &origin, &email_key).await }
    });
    Ok(Committed { value: (), cursor: None })
}

async fn mail_reset(state: &State, origin: &Origin, email_key: &str) -> Result<()> {
    let purpose = TokenPurpose::PasswordReset;
    let tx = AccountTx::begin(&state.db, origin).await?;
    let Some(user) = tx.find::<user::Entity>(user::Column::EmailKey.eq(email_key)).await?.pop() else {
        return Ok(());
    };
    let token = email_tokens::issue(&tx, state, user.id, purpose, &user.email).await?;
    log(&tx, state, origin, user.id, SecurityEventKind::PasswordResetRequested).await?;
    tx.commit(ActorRef::SYSTEM, ()).await?;
    state.mailer.post(Email::password_reset(&user, &token, email_tokens::ttl(state, purpose)));
    Ok(())
}

/// Sets a new password by a mailed token, which proves the address too, and signs in. Every other session ends.
pub async fn complete_reset(
    state: &State,
    origin: &Origin,
    input: &PasswordResetCompleteInput,
) -> Result<Committed<Tokens>> {
    input.validate()?;
    let counted = throttle::count(state, origin, &Account::none()).await?;
    let purpose = [TokenPurpose::PasswordReset];
    // First, so that a token made up costs no hash.
    let user_id = email_tokens::peek(state, &input.token, &purpose).await?.user_id;
    let hash = state.passwords.hash(&input.new_password).await?;
    let (user, tokens) = final_write(|| async {
        let now = state.clock().now();
        let tx = AccountTx::begin(&state.db, origin).await?;
        let mut user = lock_person(&tx, user_id).await?.ok_or_else(email_tokens::not_valid)?;
        let token = email_tokens::redeem(&tx, state, &input.token, &purpose).await?;
        if token.email_key != user.email_key {
            return Err(email_tokens::not_valid().into());
        }
        tx.update(credential_row(user.id, hash.clone(), now)).await?;
        if user.email_verified_at.is_none() {
            let verified =
                user::ActiveModel { id: Set(user.id), email_verified_at: Set(Some(now)), ..Default::default() };
            user = tx.update(verified).await?;
            email_tokens::void(&tx, user.id, &[TokenPurpose::EmailVerification]).await?;
        }
        end_sessions(&tx, session::Column::UserId.eq(user.id), now).await?;
        // Whoever knew the old password may have asked for another address.
        email_tokens::void(&tx, user.id, &[TokenPurpose::EmailChange]).await?;
        counted.take_back(&tx).await?;
        throttle::forget(&tx, origin, &user.email_key).await?;
        log(&tx, state, origin, user.id, SecurityEventKind::PasswordReset).await?;
        let tokens = start_session(&tx, state, origin, user.id).await?;
        log(&tx, state, origin, user.id, SecurityEventKind::SignedIn).await?;
        let (done, _) = tx.commit(ActorRef::user(user.id), (user, tokens)).await?;
        Ok(done)
    })
    .await?;
    state.mailer.post(Email::password_changed(&user));
    Ok(Committed { value: tokens, cursor: None })
}

/// Mails a token to another address, which becomes the account's once the token comes back.
pub async fn request_email_change(
    state: &State,
    origin: &Origin,
    person: &Person,
    input: &EmailChangeRequestInput,
) -> Result<Committed<()>> {
    input.validate()?;
    let path = ["input", "password"];
    let (counted, stored) = confirm(state, origin, person, &input.password, &path).await?;
    let (user_id, purpose, email) = (person.user.id, TokenPurpose::EmailChange, shown_email(&input.new_email));
    let (user, token) = final_write(|| async {
        let tx = AccountTx::begin(&state.db, origin).await?;
        let user = lock_person(&tx, user_id).await?.ok_or_else(Refusal::unauthenticated)?;
        if !is_still(&tx, user_id, &stored).await? {
            return Err(wrong_password(&path).into());
        }
        // Not taken back: it tells that the address has an account.
        check_free(&tx, &email, &["input", "newEmail"]).await?;
        let token = email_tokens::issue(&tx, state, user_id, purpose, &email).await?;
        counted.take_back(&tx).await?;
        log(&tx, state, origin, user_id, SecurityEventKind::EmailChangeRequested).await?;
        let (done, _) = tx.commit(ActorRef::user(user_id), (user, token)).await?;
        Ok(done)
    })
    .await?;
    state.mailer.post(Email::email_change(&user, &email, &token, email_tokens::ttl(state, purpose)));
    Ok(Committed { value: (), cursor: None })
}

/// TAKEN for an address that an account has, be it the caller's own.
async fn check_free(tx: &AccountTx, email: &str, path: &[&str]) -> Result<()> {
    if tx.find::<user::Entity>(user::Column::EmailKey.eq(email_key(email))).await?.is_empty() {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::Taken, path, "Already in use.").into())
}

/// Takes the token that was mailed to an address as proof of it: of a new account's, or of the one that is to be.
pub async fn verify_email(
    state: &State,
    origin: &Origin,
    input: &EmailVerifyInput,
) -> Result<Committed<Arc<user::Model>>> {
    let counted = throttle::count(state, origin, &Account::none()).await?;
    let purposes = [TokenPurpose::EmailVerification, TokenPurpose::EmailChange];
    let user_id = email_tokens::peek(state, &input.token, &purposes).await?.user_id;
    let (before, after) = final_write(|| async {
        let mut tx = AccountTx::begin(&state.db, origin).await?;
        let before = lock_person(&tx, user_id).await?.ok_or_else(email_tokens::not_valid)?;
        let token = email_tokens::redeem(&tx, state, &input.token, &purposes).await?;
        let after = match token.purpose {
            TokenPurpose::EmailChange => change_email(&mut tx, state, &before, &token).await?,
            _ if token.email_key != before.email_key => return Err(email_tokens::not_valid().into()),
            _ => {
                let verified_at = before.email_verified_at.or(Some(state.clock().now()));
                let row =
                    user::ActiveModel { id: Set(before.id), email_verified_at: Set(verified_at), ..Default::default() };
                tx.update(row).await?
            }
        };
        counted.take_back(&tx).await?;
        log(&tx, state, origin, after.id, SecurityEventKind::EmailVerified).await?;
        let (done, _) = tx.commit(ActorRef::user(after.id), (before, after)).await?;
        Ok(done)
    })
    .await?;
    if after.email_key != before.email_key {
        state.mailer.post(Email::email_changed(&before));
    }
    Ok(Committed { value: Arc::new(after), cursor: None })
}

/// The new address becomes the account's. Fellow members see it, so their ledgers say that the person changed; which
/// addresses they were is not in a ledger.
async fn change_email(
    tx: &mut AccountTx,
    state: &State,
    before: &user::Model,
    token: &account_token::Model,
) -> Result<user::Model> {
    let now = state.clock().now();
    check_free(tx, &token.email, &["input", "token"]).await?;
    let after = tx
        .update(user::ActiveModel {
            id: Set(before.id),
            email: Set(token.email.clone()),
            email_key: Set(email_key(&token.email)),
            email_verified_at: Set(Some(now)),
            updated_at: Set(now),
            version: Set(before.version + 1),
            ..Default::default()
        })
        .await?;
    // What was mailed to the old address.
    email_tokens::void(tx, before.id, &[TokenPurpose::EmailVerification, TokenPurpose::PasswordReset]).await?;
    announce(tx, before.id, Vec::new(), None).await?;
    Ok(after)
}

/// Deletes the caller's account: out of every organization, with the keys they made there, then whatever hangs on the
/// person. What they did stays, done by somebody without a name. LAST_OWNER, with the organizations, while one would be
/// left without an owner.
pub async fn delete(
    state: &State,
    origin: &Origin,
    person: &Person,
    input: &UserDeleteInput,
) -> Result<Committed<UserId>> {
    let path = ["input", "password"];
    let (counted, stored) = confirm(state, origin, person, &input.password, &path).await?;
    let user_id = person.user.id;
    final_write(|| async {
        let tx = AccountTx::begin(&state.db, origin).await?;
        let mut tx = departure::depart(tx, user_id).await?;
        // Late, so that this person's own rows are locked after the organizations'.
        if !is_still(&tx, user_id, &stored).await? {
            return Err(wrong_password(&path).into());
        }
        counted.take_back(&tx).await?;
        departure::close(&mut tx, user_id).await?;
        tx.commit(ActorRef::user(user_id), ()).await
    })
    .await?;
    Ok(Committed { value: user_id, cursor: None })
}
