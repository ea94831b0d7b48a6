//! Workers as processes, killed: nothing is lost, and what comes twice is what was in flight.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    process::{KEY, Process, folder, gql, register},
    support::{
        postgres,
        receiver::{Answer, Received, Receiver},
    },
};

/// How long it may take until everything has arrived: a dead worker's queues are free after 30 s.
const PATIENCE: Duration = Duration::from_secs(240);
/// Attempts of one webhook that have begun and are not on record, at most; see `jobs::deliveries::queue`.
const UNRECORDED: usize = 16;

/// An organization by the API, with webhooks at `/0`, `/1` …; every second one is ordered.
struct World {
    url: String,
    token: String,
    webhooks: usize,
    secrets: Vec<String>,
}

impl World {
    async fn found(url: &str, receiver: &Receiver, webhooks: usize) -> Self {
        let token = register(url, "ann").await["accessToken"].as_str().expect("a token").to_owned();
        let mut world = Self { url: url.to_owned(), token, webhooks, secrets: Vec::new() };
        world
            .ask(
                "mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }",
                json!({}),
            )
            .await;
        for number in 0..webhooks {
            let query = "mutation($url: Url!, $ordered: Boolean!) { webhookCreate(input: {url: $url, isOrdered: $ordered, \
                         eventTypes: [ITEM_CREATED, ITEM_UPDATED]}) { secret userErrors { message } } }";
            let url = receiver.url_of(&number.to_string());
            let made = world.ask(query, json!({ "url": url, "ordered": number % 2 == 0 })).await;
            world.secrets.push(made["webhookCreate"]["secret"].as_str().expect("a secret").to_owned());
        }
        world
    }

    async fn ask(&self, query: &str, variables: Value) -> Value {
        let answer = gql(&self.url, Some(&self.token), query, variables).await;
        assert!(answer.get("errors").is_none(), "{answer:#}");
        answer["data"].clone()
    }

    /// Makes `items` items with two later changes each; the events of all.
    async fn write(&self, items: usize) -> usize {
        let create = "mutation($title: String!) { itemCreate(input: {title: $title}) { item { id } } }";
        let update = "mutation($id: ID!, $a: String!, $b: String!) { \
                      a: itemUpdate(input: {id: $id, patch: {title: $a}}) { userErrors { code } } \
                      b: itemUpdate(input: {id: $id, patch: {title: $b}}) { userErrors { code } } }";
        for number in 0..items {
            let made = self.ask(create, json!({ "title": format!("Item {number}") })).await;
            let id = &made["itemCreate"]["item"]["id"];
            self.ask(update, json!({ "id": id, "a": format!("{number} a"), "b": format!("{number} b") })).await;
        }
        items * 3
    }

    /// Waits until each webhook's receiver has accepted every event.
    async fn until_all_accepted(&self, receiver: &Receiver, events: usize) -> Vec<Received> {
        let until = Instant::now() + PATIENCE;
        loop {
            let received = receiver.received();
            let distinct: HashSet<(&str, &str)> =
                received.iter().map(|one| (one.path.as_str(), one.header("webhook-sequence"))).collect();
            if distinct.len() == events * self.webhooks {
                return received;
            }
            assert!(Instant::now() < until, "{} of {} arrived", distinct.len(), events * self.webhooks);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until nothing is waiting any more.
    async fn until_nothing_waits(&self) {
        let until = Instant::now() + PATIENCE;
        let query = "{ organization { webhooks(first: 50) { nodes { pendingCount } } } }";
        loop {
            let data = self.ask(query, json!({})).await;
            let webhooks = data["organization"]["webhooks"]["nodes"].as_array().expect("webhooks").clone();
            if webhooks.iter().all(|webhook| webhook["pendingCount"] == 0) {
                return;
            }
            assert!(Instant::now() < until, "{webhooks:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// One id for each webhook and event; an ordered webhook's events of an item in order, as they were first accepted.
    fn check(&self, received: &[Received]) {
        let mut ids: HashMap<(&str, &str), &str> = HashMap::new();
        let mut newest: HashMap<(&str, &str), i64> = HashMap::new();
        for one in received {
            let number: usize = one.path.trim_start_matches('/').parse().expect("a number");
            assert!(one.is_signed_with(&self.secrets[number]));
            let key = (one.path.as_str(), one.header("webhook-sequence"));
            let is_first = !ids.contains_key(&key);
            assert_eq!(*ids.entry(key).or_insert(one.id()), one.id(), "the same id on each attempt");
            if number.is_multiple_of(2) && is_first {
                let sequence: i64 = one.header("webhook-sequence").parse().expect("a number");
                let before = newest.insert((one.path.as_str(), one.header("webhook-ordering-key")), sequence);
                assert!(before.is_none_or(|before| before < sequence), "an item's events in order");
            }
        }
    }
}

/// Ids that came more than once, with when they came.
fn twice(received: &[Received]) -> Vec<Vec<Instant>> {
    let mut times: HashMap<&str, Vec<Instant>> = HashMap::new();
    for one in received {
        times.entry(one.id()).or_default().push(one.at);
    }
    times.into_values().filter(|times| times.len() > 1).collect()
}

/// A process that serves, and its URL.
fn start(folder: &Path, role: &str, database: &str) -> (Process, String) {
    let settings = [
        ("DATABASE_URL", database),
        ("SECRET_KEY", KEY),
        ("TODO_MODE", "embedded"),
        ("TODO_WEBHOOKS_ALLOWED_CIDRS", "127.0.0.0/8"),
        ("TODO_WEBHOOKS_ALLOW_HTTP", "on"),
        ("TODO_LIMITS_COST_PER_MINUTE", "0"),
        ("LOG_LEVEL", "warn"),
    ];
    let mut process = Process::spawn(folder, &["serve", "--role", role], &settings);
    let url = process.url();
    (process, url)
}

/// 10,000 deliveries, three workers, one of them killed half-way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_loses_nothing() {
    let Some(server) = postgres::server() else { return };
    let schema = server.create_schema().await;
    let (database, folder) = (server.schema_url(&schema), folder());
    let receiver = Receiver::start().await;
    receiver.answers(|_| Answer::status(200).after(Duration::from_millis(2)));
    let (api, url) = start(folder.path(), "api", &database);
    let world = World::found(&url, &receiver, 20).await;
    let events = world.write(168).await;
    assert!(events * 20 >= 10_000);
    assert!(receiver.received().is_empty(), "nobody sends yet");

    let mut workers: Vec<_> = (0..3).map(|_| start(folder.path(), "worker", &database)).collect();
    let until = Instant::now() + PATIENCE;
    while receiver.received().len() < 3_000 {
        assert!(Instant::now() < until, "it goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(workers.remove(0));
    let killed = Instant::now();
    let received = world.until_all_accepted(&receiver, events).await;
    world.until_nothing_waits().await;
    world.check(&received);
    let received = receiver.received();
    let twice = twice(&received);
    assert!(twice.len() <= 20 * UNRECORDED, "{} came twice", twice.len());
    for times in twice {
        // What was sent just before may be read just after; and again only when the dead one's lease is over, 20 s at least.
        let was_in_flight = times[0] <= killed + Duration::from_secs(2) && times[1] > killed + Duration::from_secs(10);
        assert!(times.len() == 2 && was_in_flight, "what was in flight, and nothing else");
    }
    drop(workers);
    drop(api);
    server.drop_schema(&schema).await;
}

/// One process with its own file, killed with more than 1,000 waiting, twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_goes_on_where_it_was() {
    let folder = folder();
    let database = format!("sqlite://{}", folder.path().join("data.db").display());
    let receiver = Receiver::start().await;
    receiver.answers(|_| Answer::status(200).after(Duration::from_millis(5)));
    let (server, url) = start(folder.path(), "api", &database);
    let world = World::found(&url, &receiver, 4).await;
    let events = world.write(100).await;
    assert!(events * 4 >= 1_000);
    drop(server);
    for enough in [200, 500] {
        let server = start(folder.path(), "all", &database);
        let until = Instant::now() + PATIENCE;
        while receiver.received().len() < enough {
            assert!(Instant::now() < until, "it goes on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(server);
    }
    let (_server, url) = start(folder.path(), "all", &database);
    let world = World { url, ..world };
    let received = world.until_all_accepted(&receiver, events).await;
    world.until_nothing_waits().await;
    world.check(&received);
    let twice = twice(&receiver.received());
    assert!(twice.len() <= 2 * 4 * UNRECORDED, "{} came twice", twice.len());
}

/// A worker serves health and nothing else; a server without the role sends nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_serves_health_alone() {
    let folder = folder();
    let database = format!("sqlite://{}", folder.path().join("data.db").display());
    let (_worker, url) = start(folder.path(), "worker", &database);
    for (path, status) in [("/health", 200), ("/health/ready", 200), ("/metrics", 200), ("/graphql", 404), ("/", 404)] {
        let answer = reqwest::get(format!("{url}{path}")).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
}
