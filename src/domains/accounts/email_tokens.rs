//! Tokens that a person gets by mail: hashed, single use, short-lived; a new one voids those before it.

use chrono::Duration;
use sea_orm::{ActiveValue::Set, ExprTrait as _, prelude::*};

use crate::{
    base::{
        clock::Instant,
        enums::TokenPurpose,
        error::{Error, Problem, ProblemCode, Result},
        id::UserId,
        secret::{hash_token, new_token},
    },
    data::{
        db::{
            AccountTx,
            filter::{email_key, shown_email},
        },
        entity::account_token::{ActiveModel, Column, Entity, Model},
    },
    platform::state::State,
};

/// Where a token stands in every input that takes one.
const PATH: [&str; 2] = ["input", "token"];

/// How long a token of this purpose works.
pub fn ttl(state: &State, purpose: TokenPurpose) -> std::time::Duration {
    match purpose {
        TokenPurpose::PasswordReset => state.config.auth.reset_ttl,
        TokenPurpose::EmailVerification | TokenPurpose::EmailChange => state.config.auth.verification_ttl,
    }
}

/// A new token for what is mailed to `email`; the person's earlier ones of this purpose are void.
pub async fn issue(
    tx: &AccountTx,
    state: &State,
    user_id: UserId,
    purpose: TokenPurpose,
    email: &str,
) -> Result<String> {
    void(tx, user_id, &[purpose]).await?;
    let token = new_token()?;
    let now = state.clock().now();
    tx.insert(ActiveModel {
        hash: Set(hash_token(&token)),
        user_id: Set(user_id),
        purpose: Set(purpose),
        email: Set(shown_email(email)),
        email_key: Set(email_key(email)),
        created_at: Set(now),
        expires_at: Set(now + Duration::from_std(ttl(state, purpose)).map_err(Error::internal)?),
        used_at: Set(None),
    })
    .await?;
    Ok(token)
}

/// BAD_CREDENTIALS, the same for a token made up, used, voided, or of another purpose.
pub fn not_valid() -> Problem {
    Problem::new(ProblemCode::BadCredentials, &PATH, "The token is not valid, or not any more; ask for another.")
}

/// The row of a token that still works. Only who holds a token learns that it has expired.
pub fn usable(found: Option<Model>, purposes: &[TokenPurpose], now: Instant) -> Result<Model> {
    let row = found.filter(|row| row.used_at.is_none() && purposes.contains(&row.purpose)).ok_or_else(not_valid)?;
    if row.expires_at <= now {
        return Err(Problem::new(ProblemCode::Expired, &PATH, "The token has expired; ask for another.").into());
    }
    Ok(row)
}

/// Reads a token without using it.
pub async fn peek(state: &State, token: &str, purposes: &[TokenPurpose]) -> Result<Model> {
    let found = state.db.find_global::<Entity>(Column::Hash.eq(hash_token(token))).await?.pop();
    usable(found, purposes, state.clock().now())
}

/// Uses a token up: locked, so that of two that come at once only one finds it unused.
pub async fn redeem(tx: &AccountTx, state: &State, token: &str, purposes: &[TokenPurpose]) -> Result<Model> {
    let now = state.clock().now();
    let found = tx.find::<Entity>(Column::Hash.eq(hash_token(token))).await?.pop();
    let row = usable(found, purposes, now)?;
    tx.update(ActiveModel { hash: Set(row.hash.clone()), used_at: Set(Some(now)), ..Default::default() }).await?;
    Ok(row)
}

/// Takes away a person's unused tokens of these purposes. A used one stays on record until the next is made.
pub async fn void(tx: &AccountTx, user_id: UserId, purposes: &[TokenPurpose]) -> Result<()> {
    let of_person = Column::UserId.eq(user_id).and(Column::Purpose.is_in(purposes.iter().copied()));
    tx.delete_where::<Entity>(of_person).await?;
    Ok(())
}
