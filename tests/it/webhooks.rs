//! Webhooks: what is sent, to whom, how often; and what it takes to set one up.

use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::ColumnTrait as _;
use serde_json::{Value, json};
use todo_platform::{
    base::enums::DeliveryStatus,
    data::{actor::Origin, db::OrgScope, entity::webhook_delivery},
    domains::webhooks::service::purge,
};

use crate::support::{
    app::TestApp,
    client::problem,
    receiver::{Answer, Receiver},
    world::{Company, Person},
};
use todo_test_macros::databases;

/// A webhook as its maker has it.
struct Hook {
    id: String,
    secret: String,
}

impl TestApp {
    /// A webhook of the company's owner, with `input` besides the URL.
    async fn webhook(&self, company: &Company, receiver: &Receiver, input: Value) -> Hook {
        let mut input = input;
        input["url"] = json!(receiver.url());
        let create = "mutation($input: WebhookCreateInput!) { webhookCreate(input: $input) { webhook { id } secret \
                      userErrors { code path message } } }";
        let made = self.call(company, &company.owner, create).vars(json!({ "input": input })).done().await;
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        Hook { id: text(&made["webhook"]["id"]), secret: text(&made["secret"]) }
    }

    /// Fields of a webhook, as the owner sees them.
    async fn see(&self, company: &Company, hook: &Hook, fields: &str) -> Value {
        let query = format!("query($id: ID!) {{ node(id: $id) {{ ... on Webhook {{ {fields} }} }} }}");
        let seen = self.call(company, &company.owner, &query).vars(json!({ "id": hook.id })).data().await;
        seen["node"].clone()
    }

    async fn update_webhook(&self, company: &Company, hook: &Hook, patch: Value) -> Value {
        let update = "mutation($input: WebhookUpdateInput!) { webhookUpdate(input: $input) { webhook { state version } \
                      cursor userErrors { code path message } } }";
        let input = json!({ "id": hook.id, "patch": patch });
        self.call(company, &company.owner, update).vars(json!({ "input": input })).done().await
    }

    /// All deliveries, oldest first: `status`, number of attempts.
    async fn log(&self, company: &Company, hook: &Hook) -> Vec<(String, usize)> {
        let fields = "deliveries(last: 100) { nodes { status attempts { number } } }";
        let seen = self.see(company, hook, fields).await;
        let mut log: Vec<(String, usize)> = seen["deliveries"]["nodes"]
            .as_array()
            .expect("deliveries")
            .iter()
            .map(|delivery| {
                let attempts = delivery["attempts"].as_array().expect("attempts").len();
                (delivery["status"].as_str().expect("a status").to_owned(), attempts)
            })
            .collect();
        log.reverse();
        log
    }

    /// The company after time has passed: its owner and its member signed in anew.
    async fn later(&self, company: &Company) -> Company {
        let (owner, member) = (self.sign_in(&company.owner).await, self.sign_in(&company.member).await);
        Company { owner, member, ..company.clone() }
    }

    async fn rename(&self, company: &Company, person: &Person, item: &str, title: &str) {
        let update = "mutation($id: ID!, $title: String!) { itemUpdate(input: {id: $id, patch: {title: $title}}) { \
                      userErrors { code } } }";
        self.call(company, person, update).vars(json!({ "id": item, "title": title })).done().await;
    }
}

fn delivered(times: usize) -> Vec<(String, usize)> {
    vec![("DELIVERED".to_owned(), 1); times]
}

/// What a receiver gets: the event as the API shows it, its subject as it is, signed.
#[databases]
async fn an_event_arrives_signed(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let hook = app
        .webhook(
            &acme,
            &receiver,
            json!({ "name": "Mirror", "isOrdered": true, "eventTypes": ["ITEM_CREATED", "ITEM_UPDATED"] }),
        )
        .await;
    let item = app.item(&acme, "Write it down").await;
    app.rename(&acme, &acme.admin, &item, "Write it up").await;
    app.worker.drain().await;

    let received = receiver.take();
    assert_eq!(received.iter().map(|one| one.kind()).collect::<Vec<_>>(), ["item.created", "item.updated"]);
    for one in &received {
        assert!(one.is_signed_with(&hook.secret), "{:?}", one.headers);
        assert_eq!(one.header("content-type"), "application/json");
        assert_eq!(one.header("webhook-timestamp"), app.clock.now().timestamp().to_string());
        assert_eq!(one.header("webhook-ordering-key"), item);
        assert!(one.id().starts_with("whd_") && one.header("user-agent").starts_with("todo-platform/"));
    }
    let body = received[1].json();
    let events = app
        .call(&acme, &acme.owner, "{ events(last: 1) { nodes { id sequence cursor type occurredAt } } }")
        .data()
        .await;
    let event = &body["data"]["event"];
    for field in ["id", "sequence", "cursor", "type", "occurredAt"] {
        assert_eq!(event[field], events["events"]["nodes"][0][field], "{field}");
    }
    assert_eq!(received[1].header("webhook-sequence"), event["sequence"].as_str().expect("a sequence"));
    assert_eq!(body["timestamp"], event["occurredAt"]);
    assert_eq!((&event["subjectId"], &event["itemId"]), (&json!(item), &json!(item)));
    assert_eq!(event["actor"], json!({ "__typename": "User", "id": acme.admin.id, "displayName": "acme-admin" }));
    assert_eq!(event["changes"], json!([{ "field": "title", "before": "Write it down", "after": "Write it up" }]));
    let subject = &body["data"]["subject"];
    assert_eq!((&subject["__typename"], &subject["identifier"]), (&json!("Item"), &json!("ACME-1")));
    assert_eq!(subject["title"], "Write it up");
    // As it is now, not as it was.
    assert_eq!(received[0].json()["data"]["subject"]["title"], "Write it up");
    assert_eq!(app.log(&acme, &hook).await, delivered(2));
}

/// Whatever changes data is told: each kind of event, with a subject that the document knows, or none where it is gone.
#[databases]
async fn every_kind_of_change_is_told(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let hook = app.webhook(&acme, &receiver, json!({})).await;
    let owner = &acme.owner;
    let team = app.create(&acme, owner, "team", json!({ "name": "Core" })).await;
    let tag = app.create(&acme, owner, "tag", json!({ "name": "bug" })).await;
    let item = app.create(&acme, owner, "item", json!({ "title": "One", "teamId": team, "tagIds": [tag] })).await;
    app.create(&acme, owner, "comment", json!({ "itemId": item, "body": "hello" })).await;
    app.api_key(&acme, owner, &["ITEM_READ"]).await;
    app.join(owner, "acme", "newcomer", "VIEWER").await;
    let rename = "mutation { organizationUpdate(input: {patch: {name: \"Acme Corp\"}}) { userErrors { code } } }";
    app.call(&acme, owner, rename).done().await;
    app.worker.drain().await;
    // What goes then has no subject any more.
    let delete = "mutation($id: ID!) { tagDelete(input: {id: $id}) { userErrors { code } } }";
    app.call(&acme, owner, delete).vars(json!({ "id": tag })).done().await;
    app.worker.drain().await;

    let received = receiver.take();
    let events = app.call(&acme, owner, "{ events(last: 100) { nodes { id type sequence } } }").data().await;
    let told: Vec<String> =
        received.iter().map(|one| one.json()["data"]["event"]["id"].as_str().expect("an id").to_owned()).collect();
    let after_creation: Vec<&Value> = events["events"]["nodes"]
        .as_array()
        .expect("events")
        .iter()
        .skip_while(|event| event["type"] != "WEBHOOK_CREATED")
        .collect();
    for event in &after_creation {
        assert!(told.iter().any(|id| event["id"] == id.as_str()), "{event} was not told");
    }
    assert_eq!(told.len(), after_creation.len());
    for one in &received {
        let (kind, body) = (one.kind(), one.json());
        let subject = &body["data"]["subject"];
        if kind.ends_with(".deleted") {
            assert!(subject.is_null(), "{kind}");
        } else if kind != "member.invited" {
            let fields = subject.as_object().unwrap_or_else(|| panic!("{kind} without a subject"));
            assert!(fields.len() > 3, "{kind} says nothing of its subject: {subject}");
        }
    }
    assert_eq!(app.log(&acme, &hook).await.len(), received.len());
}

/// A change that did not happen is told to nobody, nor is one from before the webhook, or of another organization.
#[databases]
async fn what_did_not_happen_is_not_told(app: TestApp) {
    let acme = app.company("acme").await;
    let rival = app.company("rival").await;
    app.item(&acme, "Before").await;
    let receiver = Receiver::start().await;
    app.webhook(&acme, &receiver, json!({ "eventTypes": ["ITEM_CREATED", "ITEM_UPDATED"] })).await;
    app.item(&rival, "Theirs").await;
    let refused = "mutation { itemCreate(input: {title: \"\"}) { userErrors { code } } }";
    app.call(&acme, &acme.member, refused).refused().await;
    app.worker.drain().await;
    assert_eq!(receiver.take_kinds(), Vec::<String>::new());
}

#[databases]
async fn types_and_teams_narrow(app: TestApp) {
    let acme = app.company("acme").await;
    let core = app.create(&acme, &acme.owner, "team", json!({ "name": "Core" })).await;
    let other = app.create(&acme, &acme.owner, "team", json!({ "name": "Other" })).await;
    let receiver = Receiver::start().await;
    let hook = app.webhook(&acme, &receiver, json!({ "teamIds": [core], "isOrdered": true, "eventTypes": ["ITEM_CREATED", "ITEM_UPDATED", "COMMENT_CREATED"] })).await;
    let item = app.create(&acme, &acme.member, "item", json!({ "title": "Theirs", "teamId": core })).await;
    app.create(&acme, &acme.member, "comment", json!({ "itemId": item, "body": "hello" })).await;
    app.create(&acme, &acme.member, "item", json!({ "title": "Elsewhere", "teamId": other })).await;
    app.item(&acme, "Nobody's").await;
    app.worker.drain().await;
    assert_eq!(receiver.take_kinds(), ["item.created", "comment.created"]);

    // What leaves the team is told; what happens to it then is not.
    let to = "mutation($id: ID!, $team: ID) { itemUpdate(input: {id: $id, patch: {teamId: $team}}) { userErrors { code } } }";
    app.call(&acme, &acme.member, to).vars(json!({ "id": item, "team": other })).done().await;
    app.rename(&acme, &acme.member, &item, "Far away").await;
    app.worker.drain().await;
    assert_eq!(receiver.take_kinds(), ["item.updated"]);

    // Another choice holds from the next event on.
    app.update_webhook(&acme, &hook, json!({ "teams": { "add": [other] }, "eventTypes": ["ITEM_DELETED"] })).await;
    let delete = "mutation($id: ID!) { itemDelete(input: {id: $id}) { userErrors { code } } }";
    app.call(&acme, &acme.owner, delete).vars(json!({ "id": item })).done().await;
    app.worker.drain().await;
    assert_eq!(receiver.take_kinds(), ["item.deleted"]);
    let seen = app.see(&acme, &hook, "teams { name } eventTypes").await;
    assert_eq!(seen["teams"].as_array().map(Vec::len), Some(2));
    app.update_webhook(&acme, &hook, json!({ "teams": null, "eventTypes": null })).await;
    assert_eq!(app.see(&acme, &hook, "teams { name } eventTypes").await, json!({ "teams": null, "eventTypes": null }));
}

/// The schedule, with the same id each time, until it is given up; and every attempt is on record.
#[databases]
async fn a_failure_is_tried_again_and_at_last_given_up(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let hook = app.webhook(&acme, &receiver, json!({ "eventTypes": ["ITEM_CREATED"] })).await;
    receiver.answers(|_| Answer::status(500).body("x".repeat(10_000)));
    app.item(&acme, "Unheard").await;
    let hours = [0.0, 5.0 / 3600.0, 1.0 / 12.0, 0.5, 2.0, 5.0, 10.0, 14.0, 20.0, 24.0];
    for (made, wait) in hours.iter().enumerate() {
        // A little before the earliest: nothing yet.
        let millis = |factor: f64| TimeDelta::milliseconds((wait * 3_600_000.0 * factor) as i64);
        if made > 0 {
            app.clock.advance(millis(0.79));
            app.worker.drain().await;
            assert_eq!(receiver.received().len(), made, "too early after {made}");
        }
        app.clock.advance(millis(0.42));
        app.worker.drain().await;
        assert_eq!(receiver.received().len(), made + 1, "the attempt after {made}");
    }
    app.clock.advance(TimeDelta::days(2));
    app.worker.drain().await;
    let received = receiver.take();
    assert_eq!(received.len(), 10);
    assert!(received.iter().all(|one| one.id() == received[0].id() && one.body == received[0].body));
    assert!(received.iter().all(|one| one.is_signed_with(&hook.secret)), "each signed anew");

    let acme = app.later(&acme).await;
    let fields = "pendingCount deliveries(first: 1) { nodes { id status nextAttemptAt attempts { number \
                  startedAt durationMs responseStatus responseBody error } } }";
    let seen = app.see(&acme, &hook, fields).await;
    let delivery = &seen["deliveries"]["nodes"][0];
    assert_eq!(
        (&delivery["status"], &delivery["nextAttemptAt"], &delivery["id"]),
        (&json!("DEAD"), &Value::Null, &json!(received[0].id()))
    );
    let attempts = delivery["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 10);
    for (index, attempt) in attempts.iter().enumerate() {
        assert_eq!((&attempt["number"], &attempt["responseStatus"]), (&json!(index + 1), &json!(500)));
        assert_eq!(attempt["responseBody"].as_str().map(str::len), Some(4096));
    }
    assert_eq!(seen["pendingCount"], 0);
}

#[databases]
async fn a_receiver_asks_for_patience(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    app.webhook(&acme, &receiver, json!({ "eventTypes": ["ITEM_CREATED"] })).await;
    receiver.answers(|_| Answer::status(429).header("retry-after", "3600"));
    app.item(&acme, "Later").await;
    app.worker.drain().await;
    receiver.answers(|_| Answer::status(200));
    for minutes in [1, 58] {
        app.clock.advance(TimeDelta::minutes(minutes));
        app.worker.drain().await;
        assert_eq!(receiver.received().len(), 1, "it asked for an hour");
    }
    app.clock.advance(TimeDelta::minutes(2));
    app.worker.drain().await;
    assert_eq!(receiver.received().len(), 2);
}

/// 410 ends it at once, days of failure end it, and the owners are told.
#[databases]
async fn what_is_gone_is_disabled(app: TestApp) {
    let acme = app.company("acme").await;
    let (gone, failing) = (Receiver::start().await, Receiver::start().await);
    let first = app.webhook(&acme, &gone, json!({ "name": "Gone", "eventTypes": ["ITEM_CREATED"] })).await;
    gone.answers(|_| Answer::status(410));
    app.item(&acme, "One").await;
    app.worker.drain().await;
    let seen = app.see(&acme, &first, "state disabledReason pendingCount").await;
    assert_eq!(
        seen,
        json!({ "state": "DISABLED", "disabledReason": "The receiver answered 410 (gone).", "pendingCount": 0 })
    );
    let message = app.email(&acme.owner.email, "A webhook of acme was disabled").await;
    assert!(message.text.contains("The webhook Gone of acme") && message.text.contains("410"), "{}", message.text);
    assert!(
        app.emails_to(&acme.admin.email).await.iter().all(|message| !message.header("subject").contains("webhook"))
    );

    let second = app.webhook(&acme, &failing, json!({ "name": "Failing", "eventTypes": ["ITEM_CREATED"] })).await;
    failing.answers(|_| Answer::status(503));
    // One event a day: each is tried, none is accepted.
    for day in 0..6 {
        let acme = app.later(&acme).await;
        assert_eq!(app.see(&acme, &second, "state").await["state"], "ENABLED", "day {day}");
        app.item(&acme, "Again").await;
        app.worker.drain().await;
        app.clock.advance(TimeDelta::days(1));
    }
    let owner = app.sign_in(&acme.owner).await;
    let acme = Company { owner, ..acme };
    let seen = app.see(&acme, &second, "state disabledReason pendingCount").await;
    assert_eq!(
        seen,
        json!({ "state": "DISABLED", "disabledReason": "Nothing was accepted for 5 days.", "pendingCount": 0 })
    );
    let events = "{ events(last: 1, filter: {types: [WEBHOOK_DISABLED]}) { nodes { subjectId actor { displayName } changes { field after } } } }";
    let events = app.call(&acme, &acme.owner, events).data().await;
    let event = &events["events"]["nodes"][0];
    assert_eq!((&event["subjectId"], &event["actor"]["displayName"]), (&json!(second.id), &json!("System")));

    // Enabled again it begins anew: what comes is sent, and a failure is no reason yet.
    app.update_webhook(&acme, &second, json!({ "isEnabled": true })).await;
    app.create(&acme, &acme.owner, "item", json!({ "title": "Once more" })).await;
    app.worker.drain().await;
    assert_eq!(
        app.see(&acme, &second, "state disabledReason").await,
        json!({ "state": "ENABLED", "disabledReason": null })
    );
}

/// With `isOrdered` an item's later events wait for its earlier ones; other items' don't.
#[databases]
async fn an_items_events_wait_for_each_other(app: TestApp) {
    let acme = app.company("acme").await;
    let (ordered, free) = (Receiver::start().await, Receiver::start().await);
    let types = json!(["ITEM_CREATED", "ITEM_UPDATED"]);
    app.webhook(&acme, &ordered, json!({ "isOrdered": true, "eventTypes": types })).await;
    app.webhook(&acme, &free, json!({ "eventTypes": types })).await;
    let stuck = app.item(&acme, "Stuck").await;
    for receiver in [&ordered, &free] {
        receiver.answers(|one| {
            Answer::status(if one.kind() == "item.created" && one.json()["data"]["subject"]["title"] == "Moved" {
                500
            } else {
                200
            })
        });
    }
    app.rename(&acme, &acme.member, &stuck, "Moved").await;
    let other = app.item(&acme, "Other").await;
    app.rename(&acme, &acme.member, &other, "Another").await;
    app.worker.drain().await;
    let pairs = |receiver: &Receiver| -> Vec<(String, String)> {
        receiver.take().iter().map(|one| (one.kind(), one.header("webhook-ordering-key").to_owned())).collect()
    };
    let told = pairs(&ordered);
    assert!(!told.contains(&("item.updated".to_owned(), stuck.clone())), "it waits: {told:?}");
    assert!(told.contains(&("item.updated".to_owned(), other.clone())), "others don't: {told:?}");
    assert!(pairs(&free).contains(&("item.updated".to_owned(), stuck.clone())), "nor without the order");

    ordered.answers(|_| Answer::status(200));
    app.clock.advance(TimeDelta::seconds(7));
    app.worker.drain().await;
    let expected = ["item.created", "item.updated"].map(|kind| (kind.to_owned(), stuck.clone()));
    assert_eq!(pairs(&ordered), expected);
}

/// For the grace after a rotation both secrets' signatures are sent.
#[databases]
async fn a_rotation_overlaps(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let hook = app.webhook(&acme, &receiver, json!({ "eventTypes": ["ITEM_CREATED"] })).await;
    let rotate = "mutation($id: ID!, $hours: Int!) { webhookRotateSecret(input: {id: $id, graceHours: $hours}) { secret userErrors { code path } } }";
    let rotated = app.call(&acme, &acme.owner, rotate).vars(json!({ "id": hook.id, "hours": 2 })).done().await;
    let fresh = rotated["secret"].as_str().expect("a secret");
    assert!(fresh.starts_with("whsec_") && fresh != hook.secret);
    let signed = async || {
        app.item(&acme, "Signed").await;
        app.worker.drain().await;
        let received = receiver.take();
        (received[0].is_signed_with(&hook.secret), received[0].is_signed_with(fresh))
    };
    assert_eq!(signed().await, (true, true));
    app.clock.advance(TimeDelta::hours(2));
    let acme = app.later(&acme).await;
    app.item(&acme, "Signed").await;
    app.worker.drain().await;
    let received = receiver.take();
    assert_eq!((received[0].is_signed_with(&hook.secret), received[0].is_signed_with(fresh)), (false, true));
    let wrong = app.call(&acme, &acme.owner, rotate).vars(json!({ "id": hook.id, "hours": 721 })).refused().await;
    assert_eq!(wrong, problem("OUT_OF_RANGE", "input.graceHours"));
}

/// A test is sent while its caller waits, also by a paused webhook, and only once.
#[databases]
async fn a_test_says_what_came_of_it(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let hook = app.webhook(&acme, &receiver, json!({ "eventTypes": ["ITEM_CREATED"] })).await;
    app.update_webhook(&acme, &hook, json!({ "isEnabled": false })).await;
    let test = "mutation($id: ID!) { webhookTest(input: {id: $id}) { delivery { id status event { id } nextAttemptAt \
                attempts { number responseStatus responseBody error } webhook { id } } userErrors { code path } } }";
    let vars = json!({ "id": hook.id });
    receiver.answers(|_| Answer::status(200).body("thanks"));
    let tested = app.call(&acme, &acme.owner, test).vars(vars.clone()).done().await;
    let delivery = &tested["delivery"];
    assert_eq!(
        delivery["attempts"],
        json!([{ "number": 1, "responseStatus": 200, "responseBody": "thanks", "error": null }])
    );
    assert_eq!((&delivery["status"], &delivery["event"]), (&json!("DELIVERED"), &Value::Null));
    let received = receiver.take();
    assert_eq!((received[0].kind().as_str(), received[0].id()), ("ping", delivery["id"].as_str().expect("an id")));
    assert!(received[0].is_signed_with(&hook.secret) && received[0].header("webhook-sequence").is_empty());

    receiver.answers(|_| Answer::status(302).header("location", "http://169.254.169.254/"));
    let tested = app.call(&acme, &acme.owner, test).vars(vars.clone()).done().await;
    let attempt = &tested["delivery"]["attempts"][0];
    assert_eq!((&tested["delivery"]["status"], &attempt["responseStatus"]), (&json!("DEAD"), &json!(302)));
    assert_eq!(attempt["error"], "redirects are not followed: change the URL");
    app.clock.advance(TimeDelta::days(1));
    app.worker.drain().await;
    assert_eq!(receiver.take().len(), 1, "never tried again");

    // A repeat under its key is not sent again.
    receiver.answers(|_| Answer::status(200));
    let acme = app.later(&acme).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let call = app.call(&acme, &acme.owner, test).vars(vars.clone()).header("idempotency-key", "test-1");
        ids.push(call.done().await["delivery"]["id"].clone());
    }
    assert_eq!((ids[0] == ids[1], receiver.take().len()), (true, 1));
}

/// Pausing holds what waits and queues nothing; the cursor stays where a replay makes up for it.
#[databases]
async fn a_pause_loses_nothing(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let hook = app.webhook(&acme, &receiver, json!({ "eventTypes": ["ITEM_CREATED"] })).await;
    app.item(&acme, "Waits").await;
    let seen = app.see(&acme, &hook, "pendingCount").await;
    assert_eq!(seen["pendingCount"], 1);
    app.update_webhook(&acme, &hook, json!({ "isEnabled": false })).await;
    app.item(&acme, "Missed").await;
    app.item(&acme, "Missed, too").await;
    app.worker.drain().await;
    assert!(receiver.take().is_empty(), "nothing is sent");
    assert_eq!(app.see(&acme, &hook, "pendingCount").await["pendingCount"], 1);

    app.update_webhook(&acme, &hook, json!({ "isEnabled": true })).await;
    app.worker.drain().await;
    assert_eq!(receiver.take().len(), 1, "what waited");
    // Paused again, its cursor is where it stopped.
    app.update_webhook(&acme, &hook, json!({ "isEnabled": false })).await;
    let stopped = app.see(&acme, &hook, "cursor").await["cursor"].clone();
    app.item(&acme, "Missed again").await;
    app.item(&acme, "And again").await;
    assert_eq!(app.see(&acme, &hook, "cursor").await["cursor"], stopped);
    let replay = "mutation($input: WebhookReplayInput!) { webhookReplay(input: $input) { webhook { pendingCount } userErrors { code path } } }";
    let input = json!({ "id": hook.id, "after": stopped });
    let paused = app.call(&acme, &acme.owner, replay).vars(json!({ "input": input })).refused().await;
    assert_eq!(paused, problem("INVALID_STATE", "input.id"));
    app.update_webhook(&acme, &hook, json!({ "isEnabled": true })).await;
    let replayed = app.call(&acme, &acme.owner, replay).vars(json!({ "input": input })).done().await;
    assert_eq!(replayed["webhook"]["pendingCount"], 2);
    app.worker.drain().await;
    let titles: Vec<Value> = receiver.take().iter().map(|one| one.json()["data"]["subject"]["title"].clone()).collect();
    assert_eq!(titles.len(), 2);
    assert!(titles.contains(&json!("Missed again")) && titles.contains(&json!("And again")));
    let seen = app.see(&acme, &hook, "cursor pendingCount").await;
    let newest = app.call(&acme, &acme.owner, "{ events(last: 1) { nodes { cursor } } }").data().await;
    assert_eq!(seen, json!({ "cursor": newest["events"]["nodes"][0]["cursor"], "pendingCount": 0 }));
}

/// A stretch of the ledger again: new deliveries, the same events.
#[databases]
async fn a_replay_sends_the_same_events(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let hook = app.webhook(&acme, &receiver, json!({ "eventTypes": ["ITEM_CREATED", "COMMENT_CREATED"] })).await;
    let items = [app.item(&acme, "One").await, app.item(&acme, "Two").await, app.item(&acme, "Three").await];
    app.create(&acme, &acme.member, "comment", json!({ "itemId": items[2], "body": "hello" })).await;
    app.worker.drain().await;
    let mut first = receiver.take();
    first.sort_by_key(|one| one.header("webhook-sequence").parse::<i64>().expect("a number"));
    let events: Vec<Value> = first.iter().map(|one| one.json()["data"]["event"].clone()).collect();
    let replay = "mutation($input: WebhookReplayInput!) { webhookReplay(input: $input) { webhook { id } userErrors { code path details } } }";
    let again = async |input: Value| {
        let mut input = input;
        input["id"] = json!(hook.id);
        app.call(&acme, &acme.owner, replay).vars(json!({ "input": input })).done().await;
        app.worker.drain().await;
        receiver.take()
    };
    // After the first, before the last.
    let between = again(json!({ "after": events[0]["cursor"], "before": events[3]["cursor"] })).await;
    let ids = |received: &[crate::support::receiver::Received]| -> Vec<Value> {
        let mut ids: Vec<Value> = received.iter().map(|one| one.json()["data"]["event"]["id"].clone()).collect();
        ids.sort_by_key(Value::to_string);
        ids
    };
    assert_eq!(ids(&between), [events[1]["id"].clone(), events[2]["id"].clone()]);
    assert!(between.iter().all(|one| first.iter().all(|earlier| earlier.id() != one.id())), "deliveries of their own");
    let comments = again(json!({ "after": events[0]["cursor"], "eventTypes": ["COMMENT_CREATED"] })).await;
    assert_eq!(ids(&comments), [events[3]["id"].clone()]);

    let call =
        |after: &str| app.call(&acme, &acme.owner, replay).vars(json!({ "input": { "id": hook.id, "after": after } }));
    assert_eq!(call("nonsense").error_code().await, "INVALID_CURSOR");
    let rival = app.company("rival").await;
    let theirs = app.call(&rival, &rival.owner, "{ events(last: 1) { nodes { cursor } } }").data().await;
    assert_eq!(
        call(theirs["events"]["nodes"][0]["cursor"].as_str().expect("a cursor")).error_code().await,
        "INVALID_CURSOR"
    );
}

/// By hand: what failed, what was given up, and what was delivered.
#[databases]
async fn a_delivery_is_tried_by_hand(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let hook = app.webhook(&acme, &receiver, json!({ "eventTypes": ["ITEM_CREATED"] })).await;
    receiver.answers(|_| Answer::status(500));
    app.item(&acme, "One").await;
    app.worker.drain().await;
    let log = app.see(&acme, &hook, "deliveries { nodes { id } }").await;
    let id = log["deliveries"]["nodes"][0]["id"].as_str().expect("an id").to_owned();
    let retry = "mutation($id: ID!) { webhookDeliveryRetry(input: {id: $id}) { delivery { status } userErrors { code path } } }";
    let again = async || app.call(&acme, &acme.owner, retry).vars(json!({ "id": id })).done().await;
    assert_eq!(again().await["delivery"]["status"], "RETRYING");
    receiver.answers(|_| Answer::status(200));
    app.worker.drain().await;
    assert_eq!(app.log(&acme, &hook).await, [("DELIVERED".to_owned(), 2)]);
    again().await;
    app.worker.drain().await;
    assert_eq!(app.log(&acme, &hook).await, [("DELIVERED".to_owned(), 3)]);
    assert!(receiver.take().iter().all(|one| one.id() == id));
    for _ in 3..20 {
        again().await;
        app.worker.drain().await;
    }
    let enough = app.call(&acme, &acme.owner, retry).vars(json!({ "id": id })).refused().await;
    assert_eq!(enough, problem("INVALID_STATE", "input.id"));
    app.update_webhook(&acme, &hook, json!({ "isEnabled": false })).await;
    let paused = app.call(&acme, &acme.owner, retry).vars(json!({ "id": id })).refused().await;
    assert_eq!(paused, problem("INVALID_STATE", "input.id"));
}

/// The log, page by page and filtered.
#[databases]
async fn the_log_is_filtered_and_paged(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let hook = app.webhook(&acme, &receiver, json!({ "eventTypes": ["ITEM_CREATED", "ITEM_UPDATED"] })).await;
    receiver.answers(|one| Answer::status(if one.kind() == "item.updated" { 500 } else { 200 }));
    let item = app.item(&acme, "One").await;
    app.clock.advance(TimeDelta::minutes(1));
    let later = app.clock.now().to_rfc3339();
    app.item(&acme, "Two").await;
    app.rename(&acme, &acme.member, &item, "First").await;
    app.worker.drain().await;
    let count = async |filter: Value| {
        let query = "query($id: ID!, $filter: DeliveryFilter) { node(id: $id) { ... on Webhook { deliveries(filter: $filter) \
                     { totalCount nodes { id event { type } } } } } }";
        let data = app.call(&acme, &acme.owner, query).vars(json!({ "id": hook.id, "filter": filter })).data().await;
        let deliveries = data["node"]["deliveries"].clone();
        assert_eq!(deliveries["totalCount"].as_u64(), deliveries["nodes"].as_array().map(|nodes| nodes.len() as u64));
        deliveries["totalCount"].clone()
    };
    assert_eq!(count(json!({})).await, 3);
    assert_eq!(count(json!({ "statuses": ["DELIVERED"] })).await, 2);
    assert_eq!(count(json!({ "statuses": ["RETRYING", "DEAD"] })).await, 1);
    assert_eq!(count(json!({ "eventTypes": ["ITEM_CREATED"], "createdAt": { "gte": later } })).await, 1);
    let page = "query($id: ID!, $after: Cursor) { node(id: $id) { ... on Webhook { deliveries(first: 2, after: $after) { \
                nodes { event { sequence } } pageInfo { hasNextPage endCursor } } } } }";
    let mut sequences = Vec::new();
    let mut after = Value::Null;
    loop {
        let data = app.call(&acme, &acme.owner, page).vars(json!({ "id": hook.id, "after": after })).data().await;
        let deliveries = &data["node"]["deliveries"];
        sequences.extend(
            deliveries["nodes"]
                .as_array()
                .expect("nodes")
                .iter()
                .map(|node| node["event"]["sequence"].as_str().expect("a number").parse::<i64>().expect("a number")),
        );
        if deliveries["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = deliveries["pageInfo"]["endCursor"].clone();
    }
    assert!(sequences.len() == 3 && sequences.is_sorted_by(|a, b| a > b), "newest first: {sequences:?}");
}

#[databases]
async fn bad_input_is_named(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let create = "mutation($input: WebhookCreateInput!) { webhookCreate(input: $input) { webhook { id } userErrors { code path message } } }";
    let refused =
        async |input: Value| app.call(&acme, &acme.owner, create).vars(json!({ "input": input })).refused().await;
    let url = receiver.url();
    assert_eq!(refused(json!({ "url": "" })).await, problem("REQUIRED", "input.url"));
    assert_eq!(refused(json!({ "url": "not a url" })).await, problem("INVALID", "input.url"));
    assert_eq!(refused(json!({ "url": "ftp://example.com/" })).await, problem("INVALID", "input.url"));
    assert_eq!(
        refused(json!({ "url": format!("https://example.com/{}", "x".repeat(2000)) })).await,
        problem("TOO_LONG", "input.url")
    );
    assert_eq!(refused(json!({ "url": url, "name": " " })).await, problem("REQUIRED", "input.name"));
    assert_eq!(refused(json!({ "url": url, "eventTypes": [] })).await, problem("REQUIRED", "input.eventTypes"));
    assert_eq!(refused(json!({ "url": url, "teamIds": [] })).await, problem("REQUIRED", "input.teamIds"));
    assert_eq!(
        refused(json!({ "url": url, "teamIds": ["tem_01jd0000000000000000000000"] })).await,
        problem("NOT_FOUND", "input.teamIds")
    );
    let hook = app.webhook(&acme, &receiver, json!({})).await;
    let update = "mutation($input: WebhookUpdateInput!) { webhookUpdate(input: $input) { webhook { version } userErrors { code path message } } }";
    let refused = async |patch: Value, version: i32| {
        let input = json!({ "id": hook.id, "ifVersion": version, "patch": patch });
        app.call(&acme, &acme.owner, update).vars(json!({ "input": input })).refused().await
    };
    assert_eq!(refused(json!({ "url": null }), 1).await, problem("REQUIRED", "input.patch.url"));
    assert_eq!(refused(json!({ "url": "http://10.0.0.1/" }), 1).await, problem("INVALID", "input.patch.url"));
    assert_eq!(refused(json!({ "isEnabled": null, "isOrdered": null }), 1).await.len(), 2);
    assert_eq!(refused(json!({ "teams": { "set": [] } }), 1).await, problem("REQUIRED", "input.patch.teams"));
    assert_eq!(refused(json!({ "name": "Late" }), 7).await, problem("CONFLICT", "input.ifVersion"));
    // Saying what is so already changes nothing.
    let same = app.update_webhook(&acme, &hook, json!({ "isEnabled": true, "isOrdered": false })).await;
    assert_eq!(same["webhook"], json!({ "state": "ENABLED", "version": 1 }));
}

/// Who may set one up: a key only for what it may read itself.
#[databases]
async fn nobody_has_sent_what_they_may_not_read(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let create = "mutation($input: WebhookCreateInput!) { webhookCreate(input: $input) { webhook { id } userErrors { code path } } }";
    let input = |types: &[&str]| json!({ "input": { "url": receiver.url(), "eventTypes": types } });
    let (_, blind) = app.api_key(&acme, &acme.owner, &["WEBHOOK_MANAGE"]).await;
    let (_, reader) = app.api_key(&acme, &acme.owner, &["WEBHOOK_MANAGE", "ITEM_READ"]).await;
    let refused = app.gql(create).key(&blind).vars(input(&["ITEM_CREATED"])).refused().await;
    assert_eq!(refused, problem("FORBIDDEN", "input.eventTypes"));
    let every = json!({ "input": { "url": receiver.url() } });
    assert_eq!(app.gql(create).key(&reader).vars(every).refused().await, problem("FORBIDDEN", "input.eventTypes"));
    let made = app.gql(create).key(&reader).vars(input(&["ITEM_CREATED"])).done().await;
    let update = "mutation($id: ID!, $patch: WebhookPatch!) { webhookUpdate(input: {id: $id, patch: $patch}) { userErrors { code path } } }";
    for patch in [json!({ "eventTypes": null }), json!({ "url": "http://127.0.0.1:1/" })] {
        let key = if patch.get("url").is_some() { &blind } else { &reader };
        let call = app.gql(update).key(key).vars(json!({ "id": made["webhook"]["id"], "patch": patch }));
        assert_eq!(call.refused().await, problem("FORBIDDEN", "input.patch"), "{patch}");
    }
    for person in [&acme.member, &acme.viewer] {
        let call = app.call(&acme, person, create).vars(input(&["ITEM_CREATED"]));
        assert_eq!(call.error_code().await, "FORBIDDEN");
    }
}

/// Gone with all that waits; the id is free in the ledger's eyes, and repeating is harmless.
#[databases]
async fn a_webhook_is_deleted_with_what_waits(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let hook = app.webhook(&acme, &receiver, json!({})).await;
    app.item(&acme, "Unsent").await;
    let delete = "mutation($id: ID!) { webhookDelete(input: {id: $id}) { deletedId userErrors { code } } }";
    for _ in 0..2 {
        let deleted = app.call(&acme, &acme.owner, delete).vars(json!({ "id": hook.id })).done().await;
        assert_eq!(deleted["deletedId"], hook.id);
    }
    app.item(&acme, "Unqueued").await;
    app.worker.drain().await;
    assert!(receiver.take().is_empty());
    assert_eq!(app.see(&acme, &hook, "id").await, Value::Null);
}

/// Old deliveries leave the log once they are done, chunk by chunk; never what waits, nor what is a day younger.
#[databases]
async fn the_log_forgets(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let hook = app.webhook(&acme, &receiver, json!({ "eventTypes": ["ITEM_CREATED"] })).await;
    receiver.answers(|got| Answer::status(if got.json()["data"]["subject"]["title"] == "Waits" { 500 } else { 204 }));
    app.item(&acme, "Waits").await;
    app.item(&acme, "Delivered").await;
    app.worker.drain().await;
    let scope = OrgScope::of_system(&app.state.db, acme.id.parse().expect("an id"), Origin::command("test"))
        .await
        .expect("a scope");
    let of = async |status: DeliveryStatus| {
        let these = scope.find::<webhook_delivery::Entity>().filter(webhook_delivery::Column::Status.eq(status));
        these.all().await.expect("rows")
    };
    let delivered = of(DeliveryStatus::Delivered).await.remove(0);
    let many = (0..2_100).map(|_| webhook_delivery::Model { id: app.clock.new_id(), ..delivered.clone() });
    let tx = scope.write_as_member().await.expect("a write");
    tx.insert_many(many.collect()).await.expect("inserted");
    tx.commit_unrecorded((), "made by a test").await.expect("committed");
    app.clock.advance(TimeDelta::days(1));
    let acme = app.later(&acme).await;
    app.item(&acme, "Younger").await;
    app.worker.drain().await;
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    app.clock.advance(TimeDelta::days(29));
    purge(&app.state.db, month).await.expect("purged");
    assert_eq!(of(DeliveryStatus::Delivered).await.len(), 2_102);
    app.clock.advance(TimeDelta::milliseconds(1));
    purge(&app.state.db, month).await.expect("purged");
    let acme = app.later(&acme).await;
    assert_eq!(app.log(&acme, &hook).await, [("RETRYING".to_owned(), 2), ("DELIVERED".to_owned(), 1)]);
}
