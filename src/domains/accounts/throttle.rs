//! How often a password or a mailed token may be tried: per account and address, and per address alone; and how many
//! accounts an address may register. An IPv6 address counts as its network (/64). Counted in the
//! database, so that aliases, batches and other instances are no way around.
//!
//! A try is counted before anything is looked at, so that trying in parallel is no way around either; who succeeds
//! takes the try back.

use chrono::Duration;
use sea_orm::{ActiveValue::Set, ExprTrait as _, prelude::*};

use crate::{
    base::{
        clock::Instant,
        error::{Code, Error, Refusal, Result},
    },
    data::{
        actor::{Origin, network_of},
        db::{AccountTx, filter::email_key, retention::SIGN_IN_WINDOW, retrying},
        entity::{
            ActorRef,
            sign_in_failure::{ActiveModel, Column, Entity},
        },
    },
    platform::state::State,
};

/// How long a try counts against an account from one address.
const ACCOUNT_WINDOW: Duration = Duration::minutes(15);
/// How long it counts against the address.
const ADDRESS_WINDOW: Duration = SIGN_IN_WINDOW;

/// Longest address of a mailbox; what is longer names no account.
const LONGEST_EMAIL: usize = 254;

/// What an account is counted under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account(String);

impl Account {
    /// The account of an address, known or not.
    pub fn of(email: &str) -> Self {
        Self(email_key(email).chars().take(LONGEST_EMAIL).collect())
    }

    /// Requests for a reset count apart, so that whoever forgot their password may still ask for another after the last
    /// wrong one. No address has a space.
    pub fn reset_of(email: &str) -> Self {
        Self(format!("reset {}", Self::of(email).0))
    }

    /// None yet: registrations of an address, whether they succeed or not. No key of another account starts with a space.
    pub fn registration() -> Self {
        Self(" registration".to_owned())
    }

    fn is_registration(&self) -> bool {
        *self == Self::registration()
    }

    /// None yet, or not known: only the address counts.
    pub fn none() -> Self {
        Self(String::new())
    }
}

/// A try that was let through.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Counted(Option<Uuid>);

impl Counted {
    /// Takes the try back, as part of what it led to.
    pub async fn take_back(self, tx: &AccountTx) -> Result<()> {
        if let Some(id) = self.0 {
            tx.delete_where::<Entity>(Column::Id.eq(id)).await?;
        }
        Ok(())
    }
}

/// Counts a try, and refuses one too many (RATE_LIMITED, with the seconds until the next is let through). A refused one
/// does not count.
pub async fn count(state: &State, origin: &Origin, account: &Account) -> Result<Counted> {
    let limits = &state.config.auth;
    let is_off = match account.is_registration() {
        true => limits.registrations_per_address == 0,
        false => limits.sign_ins_per_address == 0 || limits.sign_ins_per_account == 0,
    };
    if is_off {
        return Ok(Counted(None));
    }
    let origin = origin.unclaimed();
    let now = state.clock().now();
    let ip = address(&origin);
    let id = state.clock().new_uuid();
    final_write(|| async {
        let tx = AccountTx::begin(&state.db, &origin).await?;
        let row =
            ActiveModel { id: Set(id), account_key: Set(account.0.clone()), ip: Set(ip.clone()), created_at: Set(now) };
        tx.insert(row).await?;
        tx.commit(ActorRef::SYSTEM, ()).await
    })
    .await?;
    // Read after the commit: of two tries at once, at least one sees both.
    let mut earlier = state.db.find_global::<Entity>(Column::Ip.eq(ip.as_str())).await?;
    let registration = Account::registration();
    earlier.retain(|row| row.id != id && (row.account_key == registration.0) == account.is_registration());
    earlier.sort_by_key(|row| row.created_at);
    let of_address =
        if account.is_registration() { limits.registrations_per_address } else { limits.sign_ins_per_address };
    let by_address = wait(earlier.iter().map(|row| row.created_at), of_address, ADDRESS_WINDOW, now);
    let is_named = *account != Account::none() && !account.is_registration();
    let of_account = earlier.iter().filter(|row| is_named && row.account_key == account.0);
    let by_account = wait(of_account.map(|row| row.created_at), limits.sign_ins_per_account, ACCOUNT_WINDOW, now);
    let Some(seconds) = Ord::max(by_address, by_account) else { return Ok(Counted(Some(id))) };
    final_write(|| async {
        let tx = AccountTx::begin(&state.db, &origin).await?;
        Counted(Some(id)).take_back(&tx).await?;
        tx.commit(ActorRef::SYSTEM, ()).await
    })
    .await?;
    Err(Refusal::new(Code::RateLimited, "Too many tries; try again later.")
        .details(serde_json::json!({ "retryAfterSeconds": seconds }))
        .into())
}

/// Forgets the tries at an account from one address: whoever comes from there has proven that it is theirs.
pub async fn forget(tx: &AccountTx, origin: &Origin, email: &str) -> Result<()> {
    let tries = Column::Ip.eq(address(origin)).and(Column::AccountKey.eq(Account::of(email).0));
    tx.delete_where::<Entity>(tries).await?;
    Ok(())
}

fn address(origin: &Origin) -> String {
    origin.ip.map_or_else(|| "unknown".to_owned(), |ip| network_of(ip).to_string())
}

/// Seconds until a try is let through after `earlier` ones, oldest first; `None` when it is now. Fewer than `limit` may
/// have been made within the window.
fn wait(earlier: impl Iterator<Item = Instant>, limit: u64, window: Duration, now: Instant) -> Option<i64> {
    let counting: Vec<Instant> = earlier.filter(|at| *at + window > now).collect();
    let too_many = counting.len().checked_sub(usize::try_from(limit).unwrap_or(usize::MAX))?;
    let free = *counting.get(too_many)? + window - now;
    // Rounded up: at that second it is let through.
    Some((free.num_milliseconds() + 999) / 1000)
}

/// Runs the last transaction of a throttled mutation, again where the database gives way. What still gives way is final:
/// running the whole mutation again would count its try again.
pub async fn final_write<T, F>(attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    retrying(attempt).await.map_err(|error| match error {
        Error::Retry(cause) => {
            tracing::warn!(error = %cause.chain(), "a write met a conflict three times");
            Refusal::new(Code::Unavailable, "Too much is being written at once; try again shortly.").into()
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise the mutation would be run again, and count its try again.
    #[tokio::test]
    async fn what_conflicts_three_times_is_final() {
        let tries = std::cell::Cell::new(0);
        let attempt = final_write(|| async {
            tries.set(tries.get() + 1);
            Err::<(), _>(Error::retry("busy"))
        });
        let Err(error) = attempt.await else { panic!("a conflict") };
        assert!(matches!(&error, Error::Refused(refusal) if refusal.code == Code::Unavailable), "{}", error.describe());
        assert_eq!(tries.get(), 3);
    }

    #[test]
    fn the_wait_ends_when_the_oldest_counted_try_leaves_the_window() {
        let now: Instant = "2026-03-02T09:00:00Z".parse().expect("an instant");
        let ago = |seconds: &[i64]| {
            let tries: Vec<Instant> = seconds.iter().map(|seconds| now - Duration::seconds(*seconds)).collect();
            wait(tries.into_iter(), 3, Duration::seconds(60), now)
        };
        assert_eq!(ago(&[]), None);
        assert_eq!(ago(&[50, 20]), None);
        assert_eq!(ago(&[50, 20, 10]), Some(10));
        assert_eq!(ago(&[60, 20, 10]), None, "it has just left");
        assert_eq!(ago(&[50, 40, 20, 10]), Some(20), "two must leave");
    }
}
