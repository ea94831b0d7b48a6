//! A whole installation: nginx with `docker/nginx/nginx.conf`, three processes that answer, one that works, PostgreSQL and
//! Redis. An instance is killed, one is drained, each is replaced; clients repeat what was refused, and nothing is lost,
//! nothing done twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    process::{KEY, Process, folder, gql, register},
    proxy::{self, Front},
    support::{free_port, postgres, receiver::Receiver, redis::RedisServer},
};

const WRITERS: usize = 4;
const READERS: usize = 2;
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

// ── the installation ──

/// One that answers, on a port of its own, so that nginx finds the next process there.
struct Instance {
    port: String,
    process: Option<Process>,
}

struct Fleet<'a> {
    folder: &'a Path,
    settings: Vec<(&'a str, &'a str)>,
    instances: Vec<Instance>,
}

impl Fleet<'_> {
    fn start(&mut self, number: usize) {
        let instance = &mut self.instances[number];
        let mut settings = self.settings.clone();
        settings.push(("PORT", &instance.port));
        tokio::task::block_in_place(|| {
            let mut process = Process::spawn(self.folder, &["serve", "--role", "api"], &settings);
            process.url();
            instance.process = Some(process);
        });
    }

    /// As a power cut would.
    fn kill(&mut self, number: usize) {
        drop(self.instances[number].process.take());
    }

    /// As a deployment does; waits until it is gone.
    fn drain(&mut self, number: usize) {
        let process = self.instances[number].process.take().expect("it runs");
        process.terminate();
        let ended = tokio::task::block_in_place(|| process.ended());
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(!ended.stderr.contains("did not finish in time"), "{}", ended.stderr);
    }
}

// ── its clients ──

/// What clients saw.
#[derive(Default)]
struct Seen {
    /// Whether an instance is gone without a word, so that a request may be lost.
    is_abrupt: AtomicBool,
    is_over: AtomicBool,
    /// Titles by the number of the item that was acknowledged under it.
    acknowledged: Mutex<BTreeMap<String, String>>,
    reads: AtomicUsize,
    /// Failed while an instance was gone without a word.
    lost: AtomicUsize,
    /// Failed otherwise.
    failed: Mutex<Vec<String>>,
}

impl Seen {
    fn note(&self, was_abrupt: bool, what: String) {
        if was_abrupt || self.is_abrupt.load(Ordering::SeqCst) {
            self.lost.fetch_add(1, Ordering::SeqCst);
        } else {
            self.failed.lock().expect("no panic").push(what);
        }
    }

    fn written(&self) -> usize {
        self.acknowledged.lock().expect("no panic").len()
    }
}

struct Client {
    front: Front,
    token: String,
    seen: Arc<Seen>,
}

impl Client {
    fn request(&self, query: &str) -> Request<Full<Bytes>> {
        let path =
            format!("/graphql?query={}", url::form_urlencoded::byte_serialize(query.as_bytes()).collect::<String>());
        let request = Request::get(path).header("host", "localhost");
        request.header("authorization", format!("Bearer {}", self.token)).body(Full::default()).expect("a request")
    }

    /// Sends it until it is answered well; notes each time that it is not.
    async fn insist(&self, what: &str, request: impl Fn() -> Request<Full<Bytes>>) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let was_abrupt = self.seen.is_abrupt.load(Ordering::SeqCst);
            let failure = match self.front.answer(request()).await {
                Ok((StatusCode::OK, text)) => match serde_json::from_slice::<Value>(&text) {
                    Ok(answer) if answer.get("errors").is_none() => return answer["data"].clone(),
                    _ => String::from_utf8_lossy(&text).into_owned(),
                },
                Ok((status, text)) => format!("{status}: {}", String::from_utf8_lossy(&text)),
                Err(error) => error.to_string(),
            };
            self.seen.note(was_abrupt, format!("{what}: {failure}"));
            assert!(Instant::now() < until, "{what}: {failure}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Creates items, each under a key, again and again until it is acknowledged.
    async fn write(self, writer: usize) {
        let mut number = 0;
        while !self.seen.is_over.load(Ordering::SeqCst) {
            let title = format!("{writer}-{number}");
            let query = format!(
                "mutation {{ itemCreate(input: {{title: \"{title}\"}}) {{ item {{ id }} userErrors {{ code }} }} }}"
            );
            let request = || {
                let body = Bytes::from(json!({ "query": query }).to_string());
                let request = Front::post(&self.token).header("idempotency-key", &title);
                request.body(Full::new(body)).expect("a request")
            };
            let made = self.insist("a write", request).await["itemCreate"].clone();
            let id = made["item"]["id"].as_str().unwrap_or_else(|| panic!("{made:#}")).to_owned();
            self.seen.acknowledged.lock().expect("no panic").insert(title, id);
            number += 1;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..80))).await;
        }
    }

    async fn read(self) {
        while !self.seen.is_over.load(Ordering::SeqCst) {
            let found = self.insist("a read", || self.request("{ items(first: 3) { totalCount } }")).await;
            assert!(found["items"]["totalCount"].is_number(), "{found}");
            self.seen.reads.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..80))).await;
        }
    }

    /// Follows the ledger over however many sockets, until it has seen `goal` (0: not known yet). Gives how many sockets
    /// there were.
    async fn follow(self, mut cursor: String, from: i64, goal: Arc<AtomicUsize>) -> usize {
        let query = "subscription($after: Cursor) { events(after: $after) { events { sequence } cursor } }";
        let (mut seen, mut sockets) = (from, 0);
        let until = Instant::now() + PATIENCE;
        let is_there = |seen: i64| {
            let goal = goal.load(Ordering::SeqCst);
            goal > 0 && usize::try_from(seen).is_ok_and(|seen| seen >= goal)
        };
        while !is_there(seen) {
            assert!(Instant::now() < until, "event {} never came", seen + 1);
            let Ok(mut socket) = self.front.socket().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            sockets += 1;
            let init =
                json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {}", self.token) } });
            let subscribe = json!({ "type": "subscribe", "id": "1", "payload": { "query": query, "variables": { "after": cursor } } });
            let _ = socket.send(Message::text(init.to_string())).await;
            while !is_there(seen) {
                // A socket that is gone without a word says so, or nothing; the newest event may be here already.
                let text = match tokio::time::timeout(Duration::from_secs(20), socket.next()).await {
                    Ok(Some(Ok(Message::Text(text)))) => text,
                    Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                    _ => break,
                };
                let message: Value = serde_json::from_str(&text).expect("JSON");
                match message["type"].as_str() {
                    Some("connection_ack") => drop(socket.send(Message::text(subscribe.to_string())).await),
                    Some("next") => {
                        let batch = &message["payload"]["data"]["events"];
                        for event in batch["events"].as_array().unwrap_or_else(|| panic!("{message}")) {
                            let sequence: i64 =
                                event["sequence"].as_str().expect("a sequence").parse().expect("a number");
                            assert_eq!(sequence, seen + 1, "in order, nothing twice, nothing missing");
                            seen = sequence;
                        }
                        cursor = batch["cursor"].as_str().expect("a cursor").to_owned();
                    }
                    _ => break,
                }
            }
        }
        sockets
    }
}

/// Waits until so many more writes and reads went through: every client has gone on.
async fn go_on(seen: &Seen) {
    let (written, read) = (seen.written(), seen.reads.load(Ordering::SeqCst));
    let until = Instant::now() + PATIENCE;
    while seen.written() < written + 4 * WRITERS || seen.reads.load(Ordering::SeqCst) < read + 4 * READERS {
        assert!(Instant::now() < until, "clients go on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_come_and_go_and_clients_lose_nothing() {
    if !proxy::is_there() {
        return;
    }
    let (Some(server), Some(redis)) = (postgres::server(), RedisServer::start()) else { return };
    let (folder, schema, receiver) = (folder(), server.create_schema().await, Receiver::start().await);
    let (database, redis) = (server.schema_url(&schema), (redis.url(), redis));
    let settings = vec![
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", redis.0.as_str()),
        ("SECRET_KEY", KEY),
        ("TODO_MODE", "production"),
        ("TODO_DATABASE_MAX_CONNECTIONS", "8"),
        ("TODO_SERVER_TRUSTED_PROXIES", "127.0.0.1/32"),
        ("TODO_SERVER_DRAIN_DELAY", "2s"),
        ("TODO_LIMITS_COST_PER_MINUTE", "0"),
        ("TODO_WEBHOOKS_ALLOWED_CIDRS", "127.0.0.0/8"),
        ("TODO_WEBHOOKS_ALLOW_HTTP", "on"),
        ("LOG_LEVEL", "warn"),
    ];
    assert!(Process::spawn(folder.path(), &["migrate"], &settings).ended().status.success());
    let instances = (0..3).map(|_| Instance { port: free_port().to_string(), process: None }).collect();
    let mut fleet = Fleet { folder: folder.path(), settings: settings.clone(), instances };
    (0..3).for_each(|number| fleet.start(number));
    let mut worker = Process::spawn(folder.path(), &["serve", "--role", "worker"], &settings);
    worker.url();
    let urls: Vec<String> = fleet.instances.iter().map(|one| format!("http://127.0.0.1:{}", one.port)).collect();
    let (_nginx, front) = proxy::start(folder.path(), &urls.iter().map(String::as_str).collect::<Vec<_>>()).await;

    let ann = register(&urls[0], "ann").await;
    let token = ann["accessToken"].as_str().expect("a token").to_owned();
    front
        .ask(&token, "mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }")
        .await;
    let hook = format!(
        "mutation {{ webhookCreate(input: {{url: \"{}\", eventTypes: [ITEM_CREATED]}}) {{ cursor userErrors {{ message }} }} }}",
        receiver.url()
    );
    let begun = front.ask(&token, &hook).await["data"]["webhookCreate"].clone();
    assert_eq!(begun["userErrors"], json!([]), "{begun:#}");
    let newest = "{ items(first: 1) { totalCount } events(last: 1) { nodes { sequence } } }";
    let sequence = |answer: &Value| -> i64 {
        let text = answer["data"]["events"]["nodes"][0]["sequence"].as_str().unwrap_or_else(|| panic!("{answer:#}"));
        text.parse().expect("a number")
    };
    let from = sequence(&front.ask(&token, newest).await);

    let (seen, goal) = (Arc::new(Seen::default()), Arc::new(AtomicUsize::new(0)));
    let client = || Client { front: front.clone(), token: token.clone(), seen: seen.clone() };
    let cursor = begun["cursor"].as_str().expect("a cursor").to_owned();
    let follower = tokio::spawn(client().follow(cursor, from, goal.clone()));
    let mut clients: Vec<JoinHandle<()>> = (0..WRITERS).map(|writer| tokio::spawn(client().write(writer))).collect();
    clients.extend((0..READERS).map(|_| tokio::spawn(client().read())));
    go_on(&seen).await;

    // One dies. What was sent to it may have no answer: clients send it again.
    seen.is_abrupt.store(true, Ordering::SeqCst);
    fleet.kill(0);
    go_on(&seen).await;
    fleet.start(0);
    go_on(&seen).await;
    seen.is_abrupt.store(false, Ordering::SeqCst);
    // One is told to go and comes again; then a new release: one after another. No request fails.
    for number in [1, 0, 1, 2] {
        fleet.drain(number);
        go_on(&seen).await;
        fleet.start(number);
        go_on(&seen).await;
    }
    seen.is_over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.expect("a client");
    }
    let failed = seen.failed.lock().expect("no panic").clone();
    assert!(failed.is_empty(), "failed while instances came and went in order: {failed:#?}");

    // Each acknowledged write is there once, and nothing else.
    let acknowledged = seen.acknowledged.lock().expect("no panic").clone();
    let answer = gql(&urls[1], Some(&token), newest, json!({})).await;
    assert_eq!(answer["data"]["items"]["totalCount"], json!(acknowledged.len()), "each item once");
    let ids: Vec<&String> = acknowledged.values().collect();
    for ids in ids.chunks(100) {
        let found = gql(
            &urls[1],
            Some(&token),
            "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Item { id title } } }",
            json!({ "ids": ids }),
        )
        .await;
        for node in found["data"]["nodes"].as_array().expect("nodes") {
            let title = node["title"].as_str().unwrap_or_else(|| panic!("lost: {found:#}"));
            assert_eq!(node["id"], json!(acknowledged[title]));
        }
    }
    goal.store(usize::try_from(sequence(&answer)).expect("a number"), Ordering::SeqCst);
    let sockets = follower.await.expect("it saw everything once");
    let delivered = || {
        let received = receiver.received();
        let distinct: BTreeSet<String> = received.iter().map(|one| one.header("webhook-sequence").to_owned()).collect();
        distinct.len()
    };
    let until = Instant::now() + PATIENCE;
    while delivered() < acknowledged.len() {
        assert!(Instant::now() < until, "{} of {} were delivered", delivered(), acknowledged.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!(
        "{} writes and {} reads; {} requests lost with the killed instance, 0 failed otherwise; {sockets} sockets of one \
         subscription; {} deliveries",
        acknowledged.len(),
        seen.reads.load(Ordering::SeqCst),
        seen.lost.load(Ordering::SeqCst),
        receiver.received().len()
    );
    drop((fleet, worker));
    server.drop_schema(&schema).await;
}
