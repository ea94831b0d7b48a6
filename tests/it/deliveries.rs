//! Workers: who sends for which webhook, what a dead or late one may do, and that nothing is lost or sent to where it must
//! not go.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use chrono::TimeDelta;
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};
use todo_platform::{
    auth::actor::Origin,
    db::{
        OrgScope,
        deliveries::{Next, Outcome},
    },
    entity::{event, webhook_attempt},
    id::OrganizationId,
};
use tokio_util::sync::CancellationToken;

use crate::{
    databases,
    support::{
        app::TestApp,
        receiver::{Answer, Receiver},
        world::Company,
    },
};

/// How long anything may take before a test gives up on it; far more than a busy machine needs.
const DEADLINE: Duration = Duration::from_secs(60);

async fn webhook(app: &TestApp, company: &Company, url: &str) -> String {
    app.create(company, &company.owner, "webhook", json!({ "url": url, "eventTypes": ["ITEM_CREATED"] })).await
}

/// How many deliveries there are in each status.
async fn statuses(app: &TestApp, company: &Company) -> HashMap<String, usize> {
    let query = "{ organization { webhooks(first: 8) { nodes { deliveries(first: 20) { nodes { status } } } } } }";
    let data = app.call(company, &company.owner, query).data().await;
    let mut found = HashMap::new();
    for webhook in data["organization"]["webhooks"]["nodes"].as_array().expect("webhooks") {
        for delivery in webhook["deliveries"]["nodes"].as_array().expect("deliveries") {
            *found.entry(delivery["status"].as_str().expect("a status").to_owned()).or_default() += 1;
        }
    }
    found
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("it came to pass in time");
}

fn outcome(app: &TestApp, lane: todo_platform::db::deliveries::Lane, id: &str) -> Outcome {
    let at = app.clock.now();
    let attempt = webhook_attempt::Model {
        organization_id: lane.organization_id,
        delivery_id: id.parse().expect("an id"),
        number: 1,
        started_at: at,
        duration_ms: 1,
        response_status: Some(200),
        response_body: None,
        error: None,
    };
    Outcome { lane, attempt, next: Next::Delivered, at, was_sent: true }
}

databases! {
    /// The fencing token: whoever held a lane too long has nothing to say of it any more.
    async fn a_late_worker_writes_nothing(app: TestApp) {
        let acme = app.company("acme").await;
        webhook(&app, &acme, "http://127.0.0.1:1/").await;
        app.item(&acme, "One").await;
        let db = &app.state.db;
        let lease = Duration::from_secs(2);
        let first = db.claim_lanes(9, lease).await.expect("a look");
        assert_eq!(first.len(), 1);
        assert!(db.claim_lanes(9, lease).await.expect("a look").is_empty(), "it is held");
        let mut second = Vec::new();
        until(async || {
            second = db.claim_lanes(9, DEADLINE).await.expect("a look");
            !second.is_empty()
        }).await;
        assert_ne!(first, second, "another holder, another token");

        let log = "{ organization { webhooks { nodes { deliveries { nodes { id } } } } } }";
        let log = app.call(&acme, &acme.owner, log).data().await;
        let id = log["organization"]["webhooks"]["nodes"][0]["deliveries"]["nodes"][0]["id"].as_str().expect("an id").to_owned();
        let standing = db.record_outcomes(&[outcome(&app, first[0], &id)]).await.expect("an answer");
        assert!(standing.is_empty(), "the lane was lost");
        assert_eq!(statuses(&app, &acme).await, HashMap::from([("PENDING".to_owned(), 1)]));
        // Nor does it give back what is not its own.
        db.release_lane(first[0]).await.expect("an answer");
        assert!(db.claim_lanes(9, lease).await.expect("a look").is_empty(), "the second still holds it");
        let standing = db.record_outcomes(&[outcome(&app, second[0], &id)]).await.expect("an answer");
        assert_eq!(standing.len(), 1);
        assert_eq!(statuses(&app, &acme).await, HashMap::from([("DELIVERED".to_owned(), 1)]));
    }

    /// Three workers on one database: everything arrives once.
    async fn several_workers_share_the_work(app: TestApp) {
        let acme = app.company("acme").await;
        let receiver = Receiver::start().await;
        for _ in 0..6 {
            webhook(&app, &acme, &receiver.url()).await;
        }
        for number in 0..15 {
            app.item(&acme, &format!("Item {number}")).await;
        }
        let others = [app.another_instance(|_| {}).await, app.another_instance(|_| {}).await];
        tokio::join!(app.worker.drain(), others[0].worker.drain(), others[1].worker.drain());
        // Whoever found all lanes held has left; the holders went on.
        app.worker.drain().await;
        let received = receiver.take();
        assert_eq!(received.len(), 6 * 15);
        let ids: std::collections::HashSet<&str> = received.iter().map(|one| one.id()).collect();
        assert_eq!(ids.len(), received.len(), "each once");
        for other in others {
            other.state.db.close().await;
        }
    }

    /// A running worker hears of a commit at once, its own instance's and, by looking, others'.
    async fn a_worker_is_woken(app: TestApp) {
        let acme = app.company("acme").await;
        let receiver = Receiver::start().await;
        webhook(&app, &acme, &receiver.url()).await;
        let stop = CancellationToken::new();
        let running = tokio::spawn(app.worker.clone().run(stop.clone()));
        app.item(&acme, "Here").await;
        until(async || receiver.received().len() == 1).await;
        let elsewhere = app.another_instance(|_| {}).await;
        elsewhere.item(&acme, "There").await;
        until(async || receiver.received().len() == 2).await;
        stop.cancel();
        running.await.expect("it ends");
        elsewhere.state.db.close().await;
    }

    /// Receivers that hang, dawdle, flood, lie or are not there hold up nobody else, and get four requests at a time.
    async fn bad_receivers_hold_up_nobody(app: TestApp) {
        let acme = app.company("acme").await;
        let good = Receiver::start().await;
        webhook(&app, &acme, &good.url()).await;
        let mut bad = Vec::new();
        for number in 0..20 {
            let receiver = Receiver::start().await;
            receiver.answers(move |_| match number % 4 {
                0 => Answer::status(200).after(Duration::from_secs(3600)),
                1 => Answer::status(500),
                2 => Answer::status(200).body("x".repeat(10 << 20)),
                _ => Answer::status(307).header("location", "http://169.254.169.254/latest/meta-data/"),
            });
            webhook(&app, &acme, &receiver.url()).await;
            bad.push(receiver);
        }
        let stop = CancellationToken::new();
        let running = tokio::spawn(app.worker.clone().run(stop.clone()));
        for number in 0..40 {
            app.item(&acme, &format!("Item {number}")).await;
        }
        until(async || good.received().len() == 40).await;
        assert!(bad.iter().all(|receiver| receiver.most_at_once() <= 4), "four at a time");
        stop.cancel();
        running.abort();
    }

    /// Nothing goes to where it must not: said when it is set up, when it is changed, and looked at again when it is sent.
    async fn nothing_goes_inside(app: TestApp) {
        let acme = app.company("acme").await;
        let receiver = Receiver::start().await;
        let allowed = webhook(&app, &acme, &receiver.url()).await;
        let strict = app.another_instance(|config| config.webhooks.allowed_cidrs.clear()).await;
        let port = receiver.url().rsplit(':').next().expect("a port").to_owned();
        let hosts = ["127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]",
            "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254", "10.0.0.1", "100.64.0.1", "0.0.0.0", "240.0.0.1"];
        let create = "mutation($url: Url!) { webhookCreate(input: {url: $url}) { userErrors { code path message } } }";
        let update = "mutation($id: ID!, $url: Url!) { webhookUpdate(input: {id: $id, patch: {url: $url}}) { userErrors { code path message } } }";
        for host in hosts {
            let url = format!("http://{host}:{port}");
            let made = strict.call(&acme, &acme.owner, create).vars(json!({ "url": url })).data().await;
            let errors = &made["webhookCreate"]["userErrors"];
            assert_eq!((&errors[0]["code"], &errors[0]["path"]), (&json!("INVALID"), &json!(["input", "url"])), "{host}");
            let changed = strict.call(&acme, &acme.owner, update).vars(json!({ "id": allowed, "url": url })).data().await;
            let errors = &changed["webhookUpdate"]["userErrors"];
            assert_eq!((&errors[0]["code"], &errors[0]["path"]), (&json!("INVALID"), &json!(["input", "patch", "url"])), "{host}");
        }
        // One that was set up while it was allowed is not called any more.
        app.item(&acme, "Secret").await;
        strict.worker.drain().await;
        assert!(receiver.received().is_empty(), "no connection");
        let log = "{ organization { webhooks(first: 1) { nodes { deliveries(first: 1) { nodes { status attempts { error responseStatus } } } } } } }";
        let log = strict.call(&acme, &acme.owner, log).data().await;
        let delivery = &log["organization"]["webhooks"]["nodes"][0]["deliveries"]["nodes"][0];
        assert_eq!(delivery["status"], "RETRYING");
        assert_eq!(delivery["attempts"][0], json!({ "error": "the URL's host has an address that is not public", "responseStatus": Value::Null }));
        strict.state.db.close().await;
    }

    /// An event that is no longer kept can't be sent: its delivery is given up, which is no fault of the receiver.
    async fn what_is_no_longer_kept_is_given_up(app: TestApp) {
        let acme = app.company("acme").await;
        let receiver = Receiver::start().await;
        webhook(&app, &acme, &receiver.url()).await;
        app.item(&acme, "Old").await;
        let id: OrganizationId = acme.id.parse().expect("an id");
        app.state.db.delete_events(id, 1_000).await.expect("deleted");
        app.worker.drain().await;
        assert!(receiver.received().is_empty());
        assert_eq!(statuses(&app, &acme).await, HashMap::from([("DEAD".to_owned(), 1)]));
    }

    /// What can't be shown, of whatever cause, holds up nothing else, and is tried again: the cause may pass.
    async fn what_can_not_be_shown_holds_up_nothing(app: TestApp) {
        let acme = app.company("acme").await;
        let receiver = Receiver::start().await;
        webhook(&app, &acme, &receiver.url()).await;
        for title in ["First", "Broken", "Last"] {
            app.item(&acme, title).await;
        }
        let scope = OrgScope::of_system(&app.state.db, acme.id.parse().expect("an id"), Origin::command("test")).await.expect("a scope");
        let newest = scope.find::<event::Entity>().order_by_desc(event::Column::Sequence).limit(2);
        let broken = newest.all().await.expect("a query").remove(1);
        let becomes = async |changes: Value| {
            let tx = scope.write_as_member().await.expect("a write");
            tx.update(event::ActiveModel { changes: Set(changes), ..broken.clone().into() }).await.expect("changed");
            tx.commit(()).await.expect("committed");
        };
        becomes(json!("no list")).await;
        app.worker.drain().await;
        let titles = || {
            let titles = receiver.take().into_iter().map(|got| got.json()["data"]["subject"]["title"].as_str().expect("a title").to_owned());
            titles.collect::<BTreeSet<_>>()
        };
        assert_eq!(titles(), BTreeSet::from(["First", "Last"].map(str::to_owned)));
        assert_eq!(statuses(&app, &acme).await, HashMap::from([("DELIVERED".to_owned(), 2), ("RETRYING".to_owned(), 1)]));
        becomes(broken.changes.clone()).await;
        app.clock.advance(TimeDelta::seconds(7));
        app.worker.drain().await;
        assert_eq!(titles(), BTreeSet::from(["Broken".to_owned()]));
        assert_eq!(statuses(&app, &acme).await, HashMap::from([("DELIVERED".to_owned(), 3)]));
    }

    /// An organization whose plan has no webhooks any more has nothing queued.
    async fn a_plan_without_webhooks_sends_none(app: TestApp) {
        use todo_platform::entity::enums::PlanTier;
        let acme = app.company("acme").await;
        let receiver = Receiver::start().await;
        webhook(&app, &acme, &receiver.url()).await;
        let scope = OrgScope::of_system(&app.state.db, acme.id.parse().expect("an id"), Origin::command("test")).await.expect("a scope");
        let tx = scope.write_as_member().await.expect("a write");
        tx.lock_head().await.expect("locked");
        tx.set_plan(PlanTier::Starter, Default::default()).await.expect("a plan");
        tx.commit(()).await.expect("committed");
        app.item(&acme, "Unsent").await;
        app.worker.drain().await;
        assert!(receiver.received().is_empty());
        let create = "mutation { webhookCreate(input: {url: \"http://127.0.0.1:1/\"}) { userErrors { code } } }";
        assert_eq!(app.call(&acme, &acme.owner, create).error_code().await, "NOT_IN_PLAN");
    }
}
