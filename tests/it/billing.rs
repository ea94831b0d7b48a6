//! The payment provider's callbacks decide on plans.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    inbound_hooks::hexadecimal_hmac,
    support::{
        app::TestApp,
        client::{Reply, problem},
        world::Company,
    },
};
use todo_test_macros::databases;

const SECRET: &str = "whsec_of_the_payment_provider";

async fn with_billing(app: &TestApp) -> TestApp {
    let price = |text: &str| text.parse().expect("a price");
    app.another_instance(|config| {
        config.billing.webhook_secret = Some(SECRET.to_owned());
        config.billing.prices = vec![price("price_pro=PROFESSIONAL"), price("price_start=STARTER")];
        config.billing.portal_url = Some("https://pay.example.com/portal".to_owned());
    })
    .await
}

fn subscription(company: &Company, id: &str, created: i64, kind: &str, price: &str, status: &str) -> Value {
    of_subscription("sub_1", company, id, created, kind, price, status)
}

#[allow(clippy::too_many_arguments, reason = "an event's fields")]
fn of_subscription(
    sub: &str,
    company: &Company,
    id: &str,
    created: i64,
    kind: &str,
    price: &str,
    status: &str,
) -> Value {
    json!({
        "id": id, "type": format!("customer.subscription.{kind}"), "created": created,
        "data": { "object": { "id": sub, "status": status, "metadata": { "organization_id": company.id },
            "items": { "data": [{ "price": { "id": price } }] } } },
    })
}

async fn say(app: &TestApp, event: &Value) -> Reply {
    let (body, at) = (event.to_string(), app.clock.now().timestamp());
    let header = format!("t={at},v1={}", hexadecimal_hmac(SECRET, &format!("{at}.{body}")));
    app.post("/callbacks/billing", &[("stripe-signature", &header)], &body).await
}

async fn plan(app: &TestApp, company: &Company) -> String {
    let query = "{ organization { plan { tier billingPortalUrl } } }";
    let data = app.call(company, &company.owner, query).data().await;
    assert_eq!(data["organization"]["plan"]["billingPortalUrl"], "https://pay.example.com/portal");
    data["organization"]["plan"]["tier"].as_str().expect("a tier").to_owned()
}

#[databases]
async fn a_subscription_sets_the_plan(app: TestApp) {
    let acme = app.company("acme").await;
    let app = with_billing(&app).await;
    let created = say(&app, &subscription(&acme, "evt_1", 1000, "created", "price_pro", "active")).await;
    assert_eq!(
        (created.status, created.json()),
        (StatusCode::OK, json!({ "outcome": "APPLIED", "plan": "PROFESSIONAL" }))
    );
    assert_eq!(plan(&app, &acme).await, "PROFESSIONAL");
    // Late, twice, and out of order.
    say(&app, &subscription(&acme, "evt_3", 3000, "updated", "price_start", "active")).await;
    let late = say(&app, &subscription(&acme, "evt_2", 2000, "updated", "price_pro", "active")).await;
    assert_eq!((late.status, &late.json()["outcome"]), (StatusCode::OK, &json!("IGNORED")));
    assert_eq!(plan(&app, &acme).await, "STARTER");
    say(&app, &subscription(&acme, "evt_4", 3000, "updated", "price_pro", "past_due")).await;
    assert_eq!(plan(&app, &acme).await, "PROFESSIONAL", "of the same second: by their ids");
    let twice = say(&app, &subscription(&acme, "evt_3", 3000, "updated", "price_start", "active")).await;
    assert_eq!(twice.json(), json!({ "outcome": "DUPLICATE" }));
    assert_eq!(plan(&app, &acme).await, "PROFESSIONAL");
    say(&app, &subscription(&acme, "evt_5", 4000, "deleted", "price_pro", "canceled")).await;
    assert_eq!(plan(&app, &acme).await, "FREE");
    let events = "{ events(last: 1) { nodes { type actor { displayName } } } }";
    let events = app.call(&acme, &acme.owner, events).data().await;
    assert_eq!(events["events"]["nodes"][0], json!({ "type": "PLAN_CHANGED", "actor": { "displayName": "System" } }));
    app.state.db.close().await;
}

/// Events of one second, in both orders: the same plan.
#[databases]
async fn events_of_one_second_come_in_any_order(app: TestApp) {
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    let app = with_billing(&app).await;
    let mut plans = Vec::new();
    for (company, is_reversed) in [(&acme, false), (&rival, true)] {
        let mut events = [
            subscription(company, "evt_9", 1000, "created", "price_start", "active"),
            subscription(company, "evt_1", 1000, "updated", "price_pro", "active"),
            of_subscription("sub_2", company, "evt_2", 2000, "created", "price_start", "active"),
            subscription(company, "evt_3", 2000, "deleted", "price_pro", "canceled"),
        ];
        if is_reversed {
            events.reverse();
        }
        for event in &events[..2] {
            say(&app, event).await;
        }
        let halfway = plan(&app, company).await;
        for event in &events[2..] {
            say(&app, event).await;
        }
        plans.push((halfway, plan(&app, company).await));
    }
    assert_eq!(plans[0], ("PROFESSIONAL".to_owned(), "STARTER".to_owned()));
    assert_eq!(plans[1], ("STARTER".to_owned(), "STARTER".to_owned()));
    app.state.db.close().await;
}

/// When the plan is paid for again: of the subscription's first item, or of the subscription as older versions say it.
#[databases]
async fn a_plan_says_when_it_renews(app: TestApp) {
    let acme = app.company("acme").await;
    let app = with_billing(&app).await;
    let renews_at = async || {
        let data = app.call(&acme, &acme.owner, "{ organization { plan { renewsAt } } }").data().await;
        data["organization"]["plan"]["renewsAt"].clone()
    };
    assert_eq!(renews_at().await, Value::Null, "nothing is known yet");
    let said = async |id: &str, at: i64, change: fn(&mut Value)| {
        let mut event = subscription(&acme, id, at, "updated", "price_pro", "active");
        change(&mut event["data"]["object"]);
        assert_eq!(say(&app, &event).await.json()["outcome"], "APPLIED");
        renews_at().await
    };
    let of_item = |object: &mut Value| object["items"]["data"][0]["current_period_end"] = json!(1_798_761_600);
    assert_eq!(said("evt_1", 1000, of_item).await, "2027-01-01T00:00:00.000Z");
    let of_older = |object: &mut Value| object["current_period_end"] = json!(1_801_440_000);
    assert_eq!(said("evt_2", 2000, of_older).await, "2027-02-01T00:00:00.000Z");
    let events = "{ events(last: 1) { nodes { type changes { field before after } } } }";
    let events = app.call(&acme, &acme.owner, events).data().await;
    let change =
        json!({ "field": "planRenewsAt", "before": "2027-01-01T00:00:00.000Z", "after": "2027-02-01T00:00:00.000Z" });
    assert_eq!(events["events"]["nodes"][0], json!({ "type": "PLAN_CHANGED", "changes": [change] }));
    let ending = |object: &mut Value| {
        object["current_period_end"] = json!(1_801_440_000);
        object["cancel_at_period_end"] = json!(true);
    };
    assert_eq!(said("evt_3", 3000, ending).await, Value::Null, "it ends then");
    app.state.db.close().await;
}

/// Whoever moves to another subscription has the old one ended afterwards: that is no end.
#[databases]
async fn the_end_of_a_former_subscription_changes_nothing(app: TestApp) {
    let acme = app.company("acme").await;
    let app = with_billing(&app).await;
    say(&app, &subscription(&acme, "evt_1", 1000, "created", "price_start", "active")).await;
    say(&app, &of_subscription("sub_2", &acme, "evt_2", 2000, "created", "price_pro", "active")).await;
    let ended = say(&app, &subscription(&acme, "evt_3", 2001, "deleted", "price_start", "canceled")).await;
    assert_eq!(ended.json()["outcome"], "IGNORED");
    assert_eq!(plan(&app, &acme).await, "PROFESSIONAL");
    say(&app, &of_subscription("sub_2", &acme, "evt_4", 3000, "updated", "price_pro", "paused")).await;
    assert_eq!(plan(&app, &acme).await, "FREE", "a state that is not known to be paid for");
    app.state.db.close().await;
}

/// Who does not pay keeps what is there, and adds nothing.
#[databases]
async fn a_downgrade_can_not_be_refused(app: TestApp) {
    let acme = app.company("acme").await;
    app.join(&acme.owner, "acme", "fifth", "MEMBER").await;
    app.create(&acme, &acme.owner, "team", json!({ "name": "Core" })).await;
    let app = with_billing(&app).await;
    say(&app, &subscription(&acme, "evt_1", 1000, "deleted", "price_pro", "canceled")).await;
    assert_eq!(plan(&app, &acme).await, "FREE");
    let teams = app.call(&acme, &acme.owner, "{ organization { teams { totalCount } } }").data().await;
    assert_eq!(teams["organization"]["teams"]["totalCount"], 1);
    let create = "mutation { teamCreate(input: {name: \"More\"}) { userErrors { code } } }";
    assert_eq!(app.call(&acme, &acme.owner, create).error_code().await, "NOT_IN_PLAN");
    app.state.db.close().await;
}

#[databases]
async fn what_is_not_the_providers_is_turned_away(app: TestApp) {
    let acme = app.company("acme").await;
    let app = with_billing(&app).await;
    let event = subscription(&acme, "evt_1", 1000, "created", "price_start", "active").to_string();
    let now = app.clock.now().timestamp();
    let signed = |at: i64| format!("t={at},v1={}", hexadecimal_hmac(SECRET, &format!("{at}.{event}")));
    for (header, code) in
        [(String::new(), "BAD_SIGNATURE"), (format!("t={now},v1=00"), "BAD_SIGNATURE"), (signed(now - 301), "BAD_TIME")]
    {
        let reply = app.post("/callbacks/billing", &[("stripe-signature", &header)], &event).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (StatusCode::UNAUTHORIZED, &json!(code)));
    }
    assert_eq!(plan(&app, &acme).await, "ENTERPRISE");
    // What the operator must set right is sent again; what concerns nobody here is not.
    let unknown = say(&app, &subscription(&acme, "evt_2", 1000, "created", "price_of_old", "active")).await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    let mut foreign = subscription(&acme, "evt_3", 1000, "created", "price_pro", "active");
    foreign["data"]["object"]["metadata"] = json!({});
    let other = json!({ "id": "evt_4", "type": "invoice.paid", "created": 1000, "data": { "object": {} } });
    for event in [foreign, other, subscription(&acme, "evt_5", 1000, "created", "price_pro", "incomplete")] {
        let reply = say(&app, &event).await;
        assert_eq!((reply.status, &reply.json()["outcome"]), (StatusCode::OK, &json!("IGNORED")));
    }
    assert_eq!(plan(&app, &acme).await, "ENTERPRISE");
    app.state.db.close().await;
}

#[databases]
async fn nobody_else_changes_plans_then(app: TestApp) {
    let acme = app.company("acme").await;
    let app = with_billing(&app).await;
    let change = "mutation { planChange(input: {tier: STARTER}) { userErrors { code path message details } } }";
    let data = app.call(&acme, &acme.owner, change).data().await;
    let error = &data["planChange"]["userErrors"][0];
    assert_eq!(
        (&error["code"], &error["details"]),
        (&json!("INVALID_STATE"), &json!({ "portalUrl": "https://pay.example.com/portal" }))
    );
    assert_eq!(app.call(&acme, &acme.owner, change).refused().await, problem("INVALID_STATE", "input.tier"));
    app.state.db.close().await;
}
