//! What the payment provider says: callbacks signed as Stripe does (<https://docs.stripe.com/webhooks/signature>), whose
//! subscription decides on the organization's plan. Each event counts once.
//!
//! The provider sends events in any order, and their times are whole seconds. The plan is the same in whatever order they
//! come ([`Judgement`]): of each subscription its newest event counts, and of the subscriptions that go on the one with the
//! newest; without any the plan is FREE.

use chrono::DateTime;
use sea_orm::ColumnTrait as _;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use super::service::{self, Fit};
use crate::{
    base::{
        clock::{Instant, in_calendar},
        config::BillingConfig,
        enums::PlanTier,
        error::Result,
        id::OrganizationId,
        policy::Permission,
        signature::{Forged, hexadecimal_hmac, is_timely},
    },
    data::{
        actor::Origin,
        db::{Db, OrgScope, retrying},
        entity::{billing_event, organization},
    },
};

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Applied(PlanTier),
    Duplicate,
    /// Nothing that concerns plans, or not any more; why.
    Ignored(&'static str),
    /// What the operator must set right before it can count; the provider sends it again.
    Failed(String),
}

/// Checks `t=…,v1=…[,v1=…]`: HMAC-SHA256 of `t.body` in hexadecimal.
pub fn verify(secret: &str, header: &str, body: &[u8], now: Instant) -> Result<(), Forged> {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let time = parts().find(|(name, _)| *name == "t").map(|(_, time)| time).ok_or(Forged::Signature)?;
    let own = hexadecimal_hmac(secret.as_bytes(), &[time.as_bytes(), b".", body]).map_err(|_| Forged::Signature)?;
    let given = parts().filter(|(name, _)| *name == "v1");
    let is_right = given.fold(false, |found, (_, given)| found | bool::from(given.as_bytes().ct_eq(own.as_bytes())));
    match time.parse() {
        Ok(time) if is_right && is_timely(time, now) => Ok(()),
        Ok(_) if is_right => Err(Forged::Time),
        _ => Err(Forged::Signature),
    }
}

#[derive(Deserialize)]
struct Event {
    id: String,
    r#type: String,
    /// Seconds since 1970.
    created: i64,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: serde_json::Value,
}

/// Does what an event says.
pub async fn receive(db: &Db, config: &BillingConfig, origin: &Origin, event: serde_json::Value) -> Result<Outcome> {
    let Ok(Event { id, r#type, created, data: Data { object } }) = serde_json::from_value(event) else {
        return Ok(Outcome::Failed("the body is not an event".to_owned()));
    };
    let Some(occurred_at) = instant(created) else {
        return Ok(Outcome::Failed("`created` is no time".to_owned()));
    };
    let is_over = match r#type.as_str() {
        "customer.subscription.created" | "customer.subscription.updated" => {
            // What is not known to be paid for, or to be about to, is not: a new state gives no plan away.
            !["active", "trialing", "past_due"].contains(&object["status"].as_str().unwrap_or_default())
        }
        "customer.subscription.deleted" => true,
        _ => return Ok(Outcome::Ignored("not an event of a subscription")),
    };
    if object["status"] == "incomplete" {
        return Ok(Outcome::Ignored("the first payment is not there yet"));
    }
    let Some(organization) = object["metadata"]["organization_id"].as_str() else {
        tracing::warn!(event = id, "a subscription's metadata name no organization_id");
        return Ok(Outcome::Ignored("the subscription's metadata name no organization_id"));
    };
    let tier = if is_over {
        PlanTier::Free
    } else {
        let price = object["items"]["data"][0]["price"]["id"].as_str().unwrap_or_default();
        match config.prices.iter().find(|known| known.id == price) {
            Some(known) => known.tier,
            None => return Ok(Outcome::Failed(format!("no plan has the price `{price}` (TODO_BILLING_PRICES)"))),
        }
    };
    let id_of = organization.parse::<OrganizationId>();
    let found = match id_of {
        Ok(id) => db.find_global::<organization::Entity>(organization::Column::Id.eq(id)).await?,
        Err(_) => Vec::new(),
    };
    let Some(organization) = found.first() else {
        tracing::warn!(event = id, "a subscription's metadata name an organization that is not there");
        return Ok(Outcome::Ignored("there is no such organization"));
    };
    let scope = OrgScope::of_system(db, organization.id, origin.clone()).await?;
    let subscription_id = object["id"].as_str().unwrap_or_default().to_owned();
    let organization_id = organization.id;
    let precedence = match r#type.as_str() {
        "customer.subscription.created" => 0,
        "customer.subscription.deleted" => 2,
        _ => 1,
    };
    let (tier, renews_at) = if is_over { (None, None) } else { (Some(tier), renewal(&object)) };
    let event = billing_event::Model {
        organization_id,
        id,
        occurred_at,
        subscription_id,
        is_over,
        precedence,
        tier,
        renews_at,
    };
    retrying(|| apply(&scope, &event)).await
}

/// When a subscription's period ends and the next is paid for; `None` when it ends with it.
fn renewal(subscription: &serde_json::Value) -> Option<Instant> {
    // An item's since the provider's API of March 2025, the subscription's before.
    let of_item = &subscription["items"]["data"][0]["current_period_end"];
    let period_end = of_item.as_i64().or_else(|| subscription["current_period_end"].as_i64())?;
    let is_last = subscription["cancel_at_period_end"] == true
        || subscription["cancel_at"].as_i64().is_some_and(|end| end <= period_end);
    if is_last { None } else { instant(period_end) }
}

/// Seconds since the epoch as an instant that both databases hold.
fn instant(seconds: i64) -> Option<Instant> {
    DateTime::from_timestamp(seconds, 0).filter(|instant| in_calendar(*instant))
}

/// Events of an organization that are looked at, the newest ones: what a subscription is changed by in many years.
const MOST_EVENTS: u64 = 500;

async fn apply(scope: &OrgScope, event: &billing_event::Model) -> Result<Outcome> {
    use billing_event::Column;
    let mut tx = scope.write(Permission::BillingManage).await?;
    // Two events at a time would both find the other absent.
    let organization = tx.lock_organization().await?;
    if tx.find::<billing_event::Entity>().filter(Column::Id.eq(&event.id)).one().await?.is_some() {
        return Ok(Outcome::Duplicate);
    }
    let known = tx.find::<billing_event::Entity>().order_by_desc(Column::OccurredAt).limit(MOST_EVENTS).all().await?;
    tx.insert(event.clone()).await?;
    let (tier, renews_at) = match judge(&known, event) {
        Judgement::Decides(by) => match (by.is_over, by.tier) {
            (true, _) => (PlanTier::Free, None),
            (false, Some(tier)) => (tier, by.renews_at),
            // From before it was kept: the plan stays what that event has made it.
            (false, None) => (organization.plan_tier, organization.plan_renews_at),
        },
        Judgement::Ignored(reason) => {
            tx.commit_unrecorded((), "a payment provider's event that changes nothing").await?;
            return Ok(Outcome::Ignored(reason));
        }
    };
    // Who doesn't pay can't be asked to tidy up first: what is there stays, and nothing is added until it fits.
    service::change_in(&mut tx, organization, tier, renews_at, Fit::Ignored).await?;
    tx.commit_unrecorded((), "the plan may be the same already").await?;
    Ok(Outcome::Applied(tier))
}

/// What a new event comes to beside those that are known.
#[derive(Clone, Copy, Debug)]
enum Judgement<'e> {
    /// The plan is what this event says: the new one, or, when it ends the subscription that decided, another one's.
    Decides(&'e billing_event::Model),
    /// The plan stays as it is; why.
    Ignored(&'static str),
}

fn judge<'e>(known: &'e [billing_event::Model], new: &'e billing_event::Model) -> Judgement<'e> {
    let own = known.iter().filter(|event| event.subscription_id == new.subscription_id);
    if own.clone().any(|event| place(event) > place(new)) {
        return Judgement::Ignored("a later event has been applied");
    }
    let newest = |events: &mut dyn Iterator<Item = &'e billing_event::Model>| events.max_by_key(|event| place(event));
    let others = known.iter().filter(|event| event.subscription_id != new.subscription_id);
    let is_newest = |event: &&billing_event::Model| {
        let same = known.iter().filter(|other| other.subscription_id == event.subscription_id);
        same.map(place).max() == Some(place(event))
    };
    let other = newest(&mut others.filter(is_newest).filter(|event| !event.is_over));
    match other {
        None => Judgement::Decides(new),
        Some(other) if !new.is_over && place(new) > place(other) => Judgement::Decides(new),
        Some(_) if !new.is_over => Judgement::Ignored("a later event has been applied"),
        // Whoever moves to a new subscription has the old one ended afterwards.
        Some(other) => match newest(&mut own.into_iter()) {
            Some(before) if !before.is_over && place(before) > place(other) => Judgement::Decides(other),
            _ => Judgement::Ignored("another subscription has taken its place"),
        },
    }
}

/// The order of events: by their time, of the same second the beginning of a subscription, its changes, its end, then by
/// their ids.
fn place(event: &billing_event::Model) -> (Instant, i16, &str) {
    (event.occurred_at, event.precedence, &event.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(
        subscription: &str,
        id: &str,
        second: i64,
        precedence: i16,
        tier: Option<PlanTier>,
    ) -> billing_event::Model {
        billing_event::Model {
            organization_id: OrganizationId::from_uuid(uuid::Uuid::nil()),
            id: id.to_owned(),
            occurred_at: DateTime::from_timestamp(second, 0).expect("a time"),
            subscription_id: subscription.to_owned(),
            is_over: tier.is_none(),
            precedence,
            tier,
            renews_at: None,
        }
    }

    /// Every order of some events, and what the plan then is.
    fn plans(events: &[billing_event::Model]) -> Vec<Option<PlanTier>> {
        fn go(
            left: &[billing_event::Model],
            known: &[billing_event::Model],
            plan: Option<PlanTier>,
            into: &mut Vec<Option<PlanTier>>,
        ) {
            if left.is_empty() {
                into.push(plan);
            }
            for (index, new) in left.iter().enumerate() {
                let after = match judge(known, new) {
                    Judgement::Decides(by) => by.tier,
                    Judgement::Ignored(_) => plan,
                };
                let rest = [&left[..index], &left[index + 1..]].concat();
                go(&rest, &[known, std::slice::from_ref(new)].concat(), after, into);
            }
        }
        let mut found = Vec::new();
        go(events, &[], None, &mut found);
        found
    }

    #[test]
    fn the_plan_is_the_same_in_every_order() {
        let (starter, pro) = (Some(PlanTier::Starter), Some(PlanTier::Professional));
        let all = [
            // One second: it begins, changes, changes again.
            (vec![event("a", "9", 1, 0, starter), event("a", "5", 1, 1, pro), event("a", "6", 1, 1, starter)], starter),
            // One second: it changes and ends.
            (vec![event("a", "1", 1, 0, pro), event("a", "9", 2, 1, pro), event("a", "2", 2, 2, None)], None),
            // Another one takes its place in the second in which it ends, or before, or after.
            (vec![event("a", "1", 1, 0, starter), event("b", "2", 2, 0, pro), event("a", "3", 2, 2, None)], pro),
            (vec![event("a", "1", 1, 0, starter), event("a", "2", 2, 2, None), event("b", "3", 3, 0, pro)], pro),
            // The one that decided ends: what still goes on decides.
            (
                vec![
                    event("a", "1", 1, 0, starter),
                    event("b", "2", 2, 0, pro),
                    event("b", "3", 3, 2, None),
                    event("a", "4", 4, 1, starter),
                ],
                starter,
            ),
            (vec![event("a", "1", 1, 0, starter), event("b", "2", 2, 0, pro), event("b", "3", 3, 2, None)], starter),
            (
                vec![
                    event("a", "1", 1, 0, starter),
                    event("b", "2", 2, 0, pro),
                    event("b", "3", 3, 2, None),
                    event("a", "4", 3, 2, None),
                ],
                None,
            ),
        ];
        for (events, expected) in all {
            assert!(plans(&events).iter().all(|plan| *plan == expected), "{events:?}: {:?}", plans(&events));
        }
    }

    #[test]
    fn signatures_are_of_time_and_body() {
        let sign = |secret: &str, time: i64, body: &str| {
            hexadecimal_hmac(secret.as_bytes(), &[format!("{time}.{body}").as_bytes()]).expect("text")
        };
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let good = sign("whsec_test", 1_000_000, "{}");
        let check = |header: &str, body: &[u8]| verify("whsec_test", header, body, now);
        assert_eq!(check(&format!("t=1000000,v1={good}"), b"{}"), Ok(()));
        assert_eq!(check(&format!("t=1000000,v0=x,v1=old,v1={good}"), b"{}"), Ok(()), "one of several");
        assert_eq!(check(&format!("t=1000000,v1={good}"), b"{ }"), Err(Forged::Signature));
        assert_eq!(check(&format!("t=1000001,v1={good}"), b"{}"), Err(Forged::Signature));
        assert_eq!(check(&format!("t=1000000,v0={good}"), b"{}"), Err(Forged::Signature));
        assert_eq!(check("", b"{}"), Err(Forged::Signature));
        let late = sign("whsec_test", 999_000, "{}");
        assert_eq!(check(&format!("t=999000,v1={late}"), b"{}"), Err(Forged::Time));
    }
}
