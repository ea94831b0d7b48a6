//! Workers: who sends for which webhook, what a dead or late one may do, and that nothing is lost or sent to where it must
//! not go.

use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};
use todo_platform::{
    base::id::OrganizationId,
    data::{
        actor::Origin,
        db::{
            OrgScope,
            deliveries::{DeliveryQueue, Next, Outcome},
        },
        entity::{event, webhook_attempt},
    },
    platform::outgoing::{Dependencies, Limits, Resolver},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::support::{
    app::TestApp,
    client::problem,
    receiver::{Answer, Receiver},
    world::Company,
};
use todo_test_macros::databases;

/// How long anything may take before a test gives up on it; far more than a busy machine needs.
const DEADLINE: Duration = Duration::from_secs(60);

pub async fn webhook(app: &TestApp, company: &Company, url: &str) -> String {
    app.create(company, &company.owner, "webhook", json!({ "url": url, "eventTypes": ["ITEM_CREATED"] })).await
}

/// The ids of a company's webhooks, newest first.
async fn webhooks(app: &TestApp, company: &Company) -> Vec<String> {
    let data = app.call(company, &company.owner, "{ organization { webhooks { nodes { id } } } }").data().await;
    let nodes = data["organization"]["webhooks"]["nodes"].as_array().expect("webhooks").clone();
    nodes.iter().map(|webhook| webhook["id"].as_str().expect("an id").to_owned()).collect()
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

/// Takes what there is to take.
pub async fn claim(app: &TestApp, term: Duration) -> Vec<DeliveryQueue> {
    let db = &app.state.db;
    let free = db.free_queues(Vec::new(), 9, 9).await.expect("a look");
    db.claim_queues(&free, term).await.expect("a claim").into_keys().collect()
}

fn outcome(app: &TestApp, queue: DeliveryQueue, id: &str) -> Outcome {
    let at = app.clock.now();
    let attempt = webhook_attempt::Model {
        organization_id: queue.organization_id,
        delivery_id: id.parse().expect("an id"),
        number: 1,
        started_at: at,
        duration_ms: 1,
        response_status: Some(200),
        response_body: None,
        error: None,
    };
    Outcome { queue, attempt, next: Next::Delivered, at, was_sent: true }
}

/// The fencing token: whoever held a queue too long has nothing to say of it any more.
#[databases]
async fn a_late_worker_writes_nothing(app: TestApp) {
    let acme = app.company("acme").await;
    webhook(&app, &acme, "http://127.0.0.1:1/").await;
    app.item(&acme, "One").await;
    let db = &app.state.db;
    let lease = Duration::from_secs(2);
    let first = claim(&app, lease).await;
    assert_eq!(first.len(), 1);
    assert!(claim(&app, lease).await.is_empty(), "it is held");
    let mut second = Vec::new();
    until(async || {
        second = claim(&app, DEADLINE).await;
        !second.is_empty()
    })
    .await;
    assert_ne!(first, second, "another holder, another token");

    let log = "{ organization { webhooks { nodes { deliveries { nodes { id } } } } } }";
    let log = app.call(&acme, &acme.owner, log).data().await;
    let id =
        log["organization"]["webhooks"]["nodes"][0]["deliveries"]["nodes"][0]["id"].as_str().expect("an id").to_owned();
    let failing_since = db.record_outcomes(&[outcome(&app, first[0], &id)]).await.expect("an answer");
    assert!(failing_since.is_empty(), "the queue was lost");
    assert_eq!(statuses(&app, &acme).await, HashMap::from([("PENDING".to_owned(), 1)]));
    // Nor does it give back what is not its own.
    db.release_queue(first[0]).await.expect("an answer");
    assert!(claim(&app, lease).await.is_empty(), "the second still holds it");
    let failing_since = db.record_outcomes(&[outcome(&app, second[0], &id)]).await.expect("an answer");
    assert_eq!(failing_since.len(), 1);
    assert_eq!(statuses(&app, &acme).await, HashMap::from([("DELIVERED".to_owned(), 1)]));
}

/// Three workers on one database: everything arrives once.
#[databases]
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
    // Whoever found all queues held has left; the holders went on.
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
#[databases]
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
#[databases]
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

/// Receivers of one organization that hang, more of them than it may have under way, and somebody else's good one.
#[databases]
async fn one_organizations_hanging_receivers_leave_room(app: TestApp) {
    let small = app
        .another_instance(|config| {
            config.webhooks.concurrency = 4;
            config.webhooks.organization_concurrency = 2;
        })
        .await;
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    let (tarpit, good) = (Receiver::start().await, Receiver::start().await);
    tarpit.answers(|_| Answer::status(200).after(Duration::from_secs(3600)));
    for _ in 0..8 {
        webhook(&app, &acme, &tarpit.url()).await;
    }
    webhook(&app, &rival, &good.url()).await;
    for number in 0..5 {
        app.item(&acme, &format!("Item {number}")).await;
    }
    let stop = CancellationToken::new();
    let running = tokio::spawn(small.worker.clone().run(stop.clone()));
    until(async || tarpit.received().len() >= 2).await;
    for number in 0..5 {
        app.item(&rival, &format!("Item {number}")).await;
        until(async || good.received().len() == number + 1).await;
    }
    assert!(tarpit.most_at_once() <= 2, "its share, and no more");
    stop.cancel();
    running.abort();
    small.state.db.close().await;
}

/// An attempt that is there already is left alone: nobody else's outcomes, written in the same transaction, fail with it.
#[databases]
async fn outcomes_of_one_webhook_fail_no_others(app: TestApp) {
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    let mut deliveries = HashMap::new();
    for company in [&acme, &rival] {
        webhook(&app, company, "http://127.0.0.1:1/").await;
        app.item(company, "One").await;
        let log = "{ organization { webhooks { nodes { deliveries { nodes { id } } } } } }";
        let log = app.call(company, &company.owner, log).data().await;
        let id = &log["organization"]["webhooks"]["nodes"][0]["deliveries"]["nodes"][0]["id"];
        deliveries.insert(company.id.clone(), id.as_str().expect("an id").to_owned());
    }
    let queues = claim(&app, DEADLINE).await;
    let outcomes: Vec<Outcome> =
        queues.iter().map(|queue| outcome(&app, *queue, &deliveries[&queue.organization_id.to_string()])).collect();
    let scope = OrgScope::of_system(&app.state.db, acme.id.parse().expect("an id"), Origin::command("test"))
        .await
        .expect("a scope");
    let planted = outcomes
        .iter()
        .find(|outcome| outcome.queue.organization_id.to_string() == acme.id)
        .expect("its outcome")
        .attempt
        .clone();
    let tx = scope.write_as_member().await.expect("a write");
    tx.insert(planted).await.expect("inserted");
    tx.commit_unrecorded((), "made by a test").await.expect("committed");
    let failing_since = app.state.db.record_outcomes(&outcomes).await.expect("written");
    assert_eq!(failing_since.len(), 2);
    for company in [&acme, &rival] {
        assert_eq!(statuses(&app, company).await, HashMap::from([("DELIVERED".to_owned(), 1)]));
    }
}

/// A test that hangs is asked for again: one attempt, and nobody else gets anything twice.
#[databases]
async fn a_test_under_way_is_not_tried_again(app: TestApp) {
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    let (tarpit, good) = (Receiver::start().await, Receiver::start().await);
    tarpit.answers(|_| Answer::status(200).after(Duration::from_secs(3)));
    let tested = webhook(&app, &acme, &tarpit.url()).await;
    webhook(&app, &rival, &good.url()).await;
    let test = "mutation($id: ID!) { webhookTest(input: {id: $id}) { delivery { id status attempts { number } } userErrors { code } } }";
    let (asking, company) = (app.clone(), acme.clone());
    let waiting =
        tokio::spawn(
            async move { asking.call(&company, &company.owner, test).vars(json!({ "id": tested })).done().await },
        );
    until(async || tarpit.received().len() == 1).await;
    let id = tarpit.received()[0].id().to_owned();
    let retry = "mutation($id: ID!) { webhookDeliveryRetry(input: {id: $id}) { delivery { id } userErrors { code path message } } }";
    let refused = app.call(&acme, &acme.owner, retry).vars(json!({ "id": id })).refused().await;
    assert_eq!(refused, problem("INVALID_STATE", "input.id"));
    for number in 0..10 {
        app.item(&rival, &format!("Item {number}")).await;
    }
    app.worker.drain().await;
    let ids: BTreeSet<String> = good.received().iter().map(|one| one.id().to_owned()).collect();
    assert_eq!((ids.len(), good.received().len()), (10, 10), "each once");
    let tested = waiting.await.expect("an answer");
    assert_eq!(tested["delivery"]["attempts"], json!([{ "number": 1 }]));
    assert_eq!(tarpit.received().len(), 1);
    // Once it is done it may be sent again, and its attempts go on counting.
    tarpit.answers(|_| Answer::status(200));
    app.call(&acme, &acme.owner, retry).vars(json!({ "id": id })).done().await;
    app.worker.drain().await;
    let log = "query($id: ID!) { node(id: $id) { ... on Webhook { deliveries(first: 9) { nodes { status attempts { number } } } } } }";
    let id = webhooks(&app, &acme).await.remove(0);
    let log = app.call(&acme, &acme.owner, log).vars(json!({ "id": id })).data().await;
    assert_eq!(
        log["node"]["deliveries"]["nodes"],
        json!([{ "status": "DELIVERED", "attempts": [{ "number": 1 }, { "number": 2 }] }])
    );
}

/// A name that could not be looked up for want of a place here: no attempt, no failure, tried again soon.
#[databases]
async fn a_busy_resolver_is_no_failure(app: TestApp) {
    let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tells, waits) = (asked.clone(), go_on.clone());
    let resolver = Resolver::new(move |host| {
        let (tells, waits) = (tells.clone(), waits.clone());
        async move {
            if host == "slow.example" {
                tells.notify_one();
                waits.notified().await;
            }
            Ok(vec![Ipv4Addr::LOCALHOST.into()])
        }
        .boxed()
    });
    let limits =
        Limits { lookups: 4, organization_lookups: 1, connect: DEADLINE, total: 2 * DEADLINE, ..Limits::default() };
    let busy = app.with_dependencies(Dependencies { resolver, limits, ..Dependencies::default() }).await;
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let port = receiver.url().rsplit(':').next().expect("a port").to_owned();
    let create = async |host: &str, types: &str| {
        let input = json!({ "url": format!("http://{host}.example:{port}"), "eventTypes": [types] });
        busy.create(&acme, &acme.owner, "webhook", input).await
    };
    go_on.notify_one();
    create("slow", "TAG_CREATED").await;
    create("good", "ITEM_CREATED").await;
    asked.notified().await;
    app.create(&acme, &acme.owner, "tag", json!({ "name": "slow" })).await;
    let worker = busy.worker.clone();
    let held = tokio::spawn(async move { worker.drain().await });
    asked.notified().await;
    let update = "mutation($id: ID!, $url: Url!) { webhookUpdate(input: {id: $id, patch: {url: $url}}) { userErrors { code } } }";
    let id = webhooks(&app, &acme).await.remove(0);
    let call =
        busy.call(&acme, &acme.owner, update).vars(json!({ "id": id, "url": format!("http://other.example:{port}") }));
    assert_eq!(call.error_code().await, "UNAVAILABLE", "not the URL's fault");
    app.item(&acme, "Postponed").await;
    busy.worker.drain().await;
    assert_eq!(statuses(&app, &acme).await, HashMap::from([("PENDING".to_owned(), 2)]));
    assert!(receiver.received().is_empty());
    go_on.notify_one();
    held.await.expect("it ends");
    app.clock.advance(TimeDelta::seconds(7));
    go_on.notify_one();
    busy.worker.drain().await;
    assert_eq!(statuses(&app, &acme).await, HashMap::from([("DELIVERED".to_owned(), 2)]));
    let attempts =
        "{ organization { webhooks(first: 2) { nodes { deliveries(first: 2) { nodes { attempts { number } } } } } } }";
    let attempts = app.call(&acme, &acme.owner, attempts).data().await.to_string();
    assert_eq!(attempts.matches("number").count(), 2, "{attempts}");
    busy.state.db.close().await;
}

/// Nothing goes to where it must not: said when it is set up, when it is changed, and looked at again when it is sent.
#[databases]
async fn nothing_goes_inside(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let allowed = webhook(&app, &acme, &receiver.url()).await;
    let strict = app.another_instance(|config| config.webhooks.allowed_cidrs.clear()).await;
    let port = receiver.url().rsplit(':').next().expect("a port").to_owned();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "240.0.0.1",
    ];
    let create = "mutation($url: Url!) { webhookCreate(input: {url: $url}) { userErrors { code path message } } }";
    let update = "mutation($id: ID!, $url: Url!) { webhookUpdate(input: {id: $id, patch: {url: $url}}) { userErrors { code path message } } }";
    for host in hosts {
        let url = format!("http://{host}:{port}");
        let made = strict.call(&acme, &acme.owner, create).vars(json!({ "url": url })).data().await;
        let errors = &made["webhookCreate"]["userErrors"];
        assert_eq!((&errors[0]["code"], &errors[0]["path"]), (&json!("INVALID"), &json!(["input", "url"])), "{host}");
        let changed = strict.call(&acme, &acme.owner, update).vars(json!({ "id": allowed, "url": url })).data().await;
        let errors = &changed["webhookUpdate"]["userErrors"];
        assert_eq!(
            (&errors[0]["code"], &errors[0]["path"]),
            (&json!("INVALID"), &json!(["input", "patch", "url"])),
            "{host}"
        );
    }
    // One that was set up while it was allowed is not called any more.
    app.item(&acme, "Secret").await;
    strict.worker.drain().await;
    assert!(receiver.received().is_empty(), "no connection");
    let log = "{ organization { webhooks(first: 1) { nodes { deliveries(first: 1) { nodes { status attempts { error responseStatus } } } } } } }";
    let log = strict.call(&acme, &acme.owner, log).data().await;
    let delivery = &log["organization"]["webhooks"]["nodes"][0]["deliveries"]["nodes"][0];
    assert_eq!(delivery["status"], "RETRYING");
    assert_eq!(
        delivery["attempts"][0],
        json!({ "error": "the URL's host has an address that is not public", "responseStatus": Value::Null })
    );
    strict.state.db.close().await;
}

/// An event that is no longer kept can't be sent: its delivery is given up, which is no fault of the receiver.
#[databases]
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
#[databases]
async fn what_can_not_be_shown_holds_up_nothing(app: TestApp) {
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    webhook(&app, &acme, &receiver.url()).await;
    for title in ["First", "Broken", "Last"] {
        app.item(&acme, title).await;
    }
    let scope = OrgScope::of_system(&app.state.db, acme.id.parse().expect("an id"), Origin::command("test"))
        .await
        .expect("a scope");
    let newest = scope.find::<event::Entity>().order_by_desc(event::Column::Sequence).limit(2);
    let broken = newest.all().await.expect("a query").remove(1);
    let becomes = async |changes: Value| {
        let tx = scope.write_as_member().await.expect("a write");
        tx.update(event::ActiveModel { changes: Set(changes), ..broken.clone().into() }).await.expect("changed");
        tx.commit_unrecorded((), "made by a test").await.expect("committed");
    };
    becomes(json!("no list")).await;
    app.worker.drain().await;
    let titles = || {
        let titles = receiver
            .take()
            .into_iter()
            .map(|got| got.json()["data"]["subject"]["title"].as_str().expect("a title").to_owned());
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
#[databases]
async fn a_plan_without_webhooks_sends_none(app: TestApp) {
    use todo_platform::base::enums::PlanTier;
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    webhook(&app, &acme, &receiver.url()).await;
    let scope = OrgScope::of_system(&app.state.db, acme.id.parse().expect("an id"), Origin::command("test"))
        .await
        .expect("a scope");
    let tx = scope.write_as_member().await.expect("a write");
    tx.lock_head().await.expect("locked");
    tx.set_plan(PlanTier::Starter, Default::default()).await.expect("a plan");
    tx.commit_unrecorded((), "made by a test").await.expect("committed");
    app.item(&acme, "Unsent").await;
    app.worker.drain().await;
    assert!(receiver.received().is_empty());
    let create = "mutation { webhookCreate(input: {url: \"http://127.0.0.1:1/\"}) { userErrors { code } } }";
    assert_eq!(app.call(&acme, &acme.owner, create).error_code().await, "NOT_IN_PLAN");
}
