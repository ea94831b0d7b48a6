//! How many e-mails one mailbox gets: a limit an hour, whoever causes them and whichever instance sends them. Counted in
//! the database.
//!
//! An e-mail over the limit is left out. Only what says nothing about accounts is refused beforehand (see [`check_room`]).

use sea_orm::{ActiveValue::Set, ExprTrait as _, prelude::*, sea_query::SimpleExpr};

use crate::{
    base::{
        clock::Instant,
        error::{Code, Refusal, Result},
    },
    data::{
        actor::Origin,
        db::{AccountTx, Db, filter::email_key, retention::EMAIL_WINDOW, retrying},
        entity::{
            ActorRef,
            sent_email::{ActiveModel, Column, Entity},
        },
    },
};

/// What an e-mail counts as. Apart, so that nobody fills a mailbox with invitations to keep a reset or a warning from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Anybody can have it sent to any mailbox: invitations, tokens that prove an address.
    Asked = 0,
    /// Password resets, which go to accounts alone.
    Reset = 1,
    /// Something was changed.
    Notice = 2,
}

/// E-mails to `a+anything@b.example` are all in one mailbox.
fn mailbox_key(to: &str) -> String {
    let key = email_key(to);
    match key.rsplit_once('@') {
        Some((local, domain)) => {
            let name = local.split_once('+').map_or(local, |(name, _)| if name.is_empty() { local } else { name });
            format!("{name}@{domain}")
        }
        None => key,
    }
}

fn recent(to: &str, budget: Budget, now: Instant) -> SimpleExpr {
    let of_mailbox = Column::MailboxKey.eq(mailbox_key(to)).and(Column::Budget.eq(budget as i16));
    of_mailbox.and(Column::CreatedAt.gt(now - EMAIL_WINDOW))
}

/// Counts an e-mail; false for one too many, which does not count.
pub async fn take(db: &Db, limit: u64, id: Uuid, to: &str, budget: Budget) -> Result<bool> {
    if limit == 0 {
        return Ok(true);
    }
    let (now, origin) = (db.clock().now(), Origin::command("mail"));
    retrying(|| async {
        let tx = AccountTx::begin(db, &origin).await?;
        let (mailbox_key, budget) = (Set(mailbox_key(to)), Set(budget as i16));
        tx.insert(ActiveModel { id: Set(id), mailbox_key, budget, created_at: Set(now) }).await?;
        tx.commit(ActorRef::SYSTEM, ()).await
    })
    .await?;
    // Read after the commit: of two e-mails at once, at least one sees both.
    let others = db.find_global::<Entity>(recent(to, budget, now).and(Column::Id.ne(id))).await?;
    if (others.len() as u64) < limit {
        return Ok(true);
    }
    retrying(|| async {
        let tx = AccountTx::begin(db, &origin).await?;
        tx.delete_where::<Entity>(Column::Id.eq(id)).await?;
        tx.commit(ActorRef::SYSTEM, ()).await
    })
    .await?;
    Ok(false)
}

/// RATE_LIMITED when a mailbox has had its e-mails of [`Budget::Asked`]. Those of the others are never told: a reset is
/// mailed only where there is an account.
pub async fn check_room(db: &Db, limit: u64, to: &str) -> Result<()> {
    if limit == 0 {
        return Ok(());
    }
    let now = db.clock().now();
    let mut earlier: Vec<Instant> =
        db.find_global::<Entity>(recent(to, Budget::Asked, now)).await?.into_iter().map(|row| row.created_at).collect();
    earlier.sort_unstable();
    let Some(free) = earlier.len().checked_sub(usize::try_from(limit).unwrap_or(usize::MAX)) else { return Ok(()) };
    let seconds = earlier.get(free).map_or(0, |at| ((*at + EMAIL_WINDOW - now).num_milliseconds() + 999) / 1000);
    let message = "This address has had as many e-mails as it may within an hour; try again later.";
    Err(Refusal::new(Code::RateLimited, message).details(serde_json::json!({ "retryAfterSeconds": seconds })).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagged_addresses_are_one_mailbox() {
        for address in ["a@b.example", " A+1@B.example ", "a+x+y@b.example"] {
            assert_eq!(mailbox_key(address), "a@b.example");
        }
        assert_eq!(mailbox_key("+a@b.example"), "+a@b.example");
    }
}
