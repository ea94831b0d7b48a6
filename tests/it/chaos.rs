//! Everything fails, again and again, and nobody misses an event: two servers over one PostgreSQL and one Redis; writers;
//! subscribers that are cut off at random and resume by their cursors.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    process::{Process, gql, register},
    support::{
        free_port, postgres,
        redis::RedisServer,
        socket::{Frame, Socket},
    },
};

const WRITERS: usize = 8;
const ITEMS: usize = 40;
const SUBSCRIBERS: usize = 50;
/// How long it may take until everybody has everything, once all is well again.
const PATIENCE: Duration = Duration::from_secs(180);

struct Instance {
    port: u16,
    process: Process,
}

impl Instance {
    fn start(folder: &Path, port: u16, settings: &[(&str, &str)]) -> Self {
        let port_text = port.to_string();
        let mut all = settings.to_vec();
        all.push(("PORT", &port_text));
        let mut process = Process::spawn(folder, &[], &all);
        process.url();
        Self { port, process }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it as a power cut would, and starts it again.
    fn kill_and_restart(self, folder: &Path, settings: &[(&str, &str)]) -> Self {
        let port = self.port;
        drop(self.process);
        Self::start(folder, port, settings)
    }
}

/// Creates an item, however often it takes; the idempotency key makes it one.
async fn write(addresses: &[String], token: &str, number: usize) {
    let client = reqwest::Client::new();
    let body = json!({ "query": format!("mutation {{ itemCreate(input: {{title: \"{number}\"}}) {{ item {{ id }} userErrors {{ code message }} }} }}") });
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let address = &addresses[fastrand::usize(..addresses.len())];
        let request = client
            .post(format!("http://{address}/graphql"))
            .bearer_auth(token)
            .header("idempotency-key", format!("item {number}"))
            .timeout(Duration::from_secs(10))
            .json(&body);
        if let Ok(answer) = request.send().await
            && let Ok(answer) = answer.json::<Value>().await
            && answer["data"]["itemCreate"]["item"]["id"].is_string()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("item {number} could not be written");
}

/// Follows the ledger from `cursor` on, cut off at random, until it has seen as many events as there are. Each must be the
/// one after the one before.
async fn follow(
    addresses: Vec<String>,
    token: String,
    mut cursor: String,
    from: i64,
    goal: Arc<AtomicUsize>,
    cuts: Arc<AtomicUsize>,
) -> i64 {
    let mut seen = from;
    let until = Instant::now() + PATIENCE;
    let is_there = |seen: i64| {
        let goal = goal.load(Ordering::SeqCst);
        goal > 0 && usize::try_from(seen).is_ok_and(|seen| seen >= goal)
    };
    while !is_there(seen) {
        assert!(Instant::now() < until, "event {} never came", seen + 1);
        let address = &addresses[fastrand::usize(..addresses.len())];
        let Ok(mut socket) = Socket::try_connect(address, "/graphql", &[]).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        socket
            .send(json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}") } }))
            .await;
        let query = "subscription($after: Cursor) { events(after: $after) { events { sequence } cursor } }";
        // Long enough to read something, short enough to be cut off often; at the end there are no more cuts.
        let life = Duration::from_millis(fastrand::u64(50..2_000));
        let is_calm = goal.load(Ordering::SeqCst) > 0;
        let reading = async {
            if socket.next().await != Frame::Json(json!({ "type": "connection_ack" })) {
                return;
            }
            socket.subscribe(query, json!({ "after": cursor })).await;
            while !is_there(seen) {
                let Frame::Json(message) = socket.next().await else { return };
                if message["type"] != "next" {
                    let code = message["payload"][0]["extensions"]["code"].as_str().unwrap_or_default();
                    assert!(["UNAVAILABLE", "INTERNAL", "SLOW_CONSUMER"].contains(&code), "{message}");
                    return;
                }
                let batch = &message["payload"]["data"]["events"];
                for event in batch["events"].as_array().unwrap_or_else(|| panic!("{message}")) {
                    let sequence: i64 = event["sequence"].as_str().expect("a sequence").parse().expect("a number");
                    assert_eq!(sequence, seen + 1, "in order, nothing twice, nothing missing");
                    seen = sequence;
                }
                cursor = batch["cursor"].as_str().expect("a cursor").to_owned();
            }
        };
        let cut = tokio::time::timeout(if is_calm { PATIENCE } else { life }, reading).await;
        cuts.fetch_add(usize::from(cut.is_err()), Ordering::Relaxed);
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_every_event_once_whatever_fails() {
    let (Some(database), Some(mut redis)) = (postgres::own(), RedisServer::start()) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir_all(folder.path().join("data")).expect("a folder");
    let (redis_url, database_url) = (redis.url(), database.durable_url());
    let settings = [
        ("DATABASE_URL", database_url.as_str()),
        ("REDIS_URL", &redis_url),
        ("SECRET_KEY", crate::process::KEY),
        ("TODO_LIMITS_COST_PER_MINUTE", "0"),
        ("TODO_DATABASE_MAX_CONNECTIONS", "10"),
        ("LOG_LEVEL", "error"),
    ];
    let migrated = Process::spawn(folder.path(), &["migrate"], &settings).ended();
    assert!(migrated.status.success(), "{}", migrated.stderr);
    let mut instances: Vec<Option<Instance>> =
        (0..2).map(|_| Some(Instance::start(folder.path(), free_port(), &settings))).collect();
    let addresses: Vec<String> = instances.iter().flatten().map(Instance::address).collect();

    let url = format!("http://{}", addresses[0]);
    let owner = register(&url, "owner").await;
    let token = owner["accessToken"].as_str().expect("a token").to_owned();
    let found =
        "mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { cursor userErrors { code } } }";
    let founded = gql(&url, Some(&token), found, json!({})).await;
    let begun = founded["data"]["organizationCreate"]["cursor"].as_str().expect("a cursor").to_owned();
    let events = gql(&url, Some(&token), "{ events(last: 1) { nodes { sequence } } }", json!({})).await;
    let from: i64 =
        events["data"]["events"]["nodes"][0]["sequence"].as_str().expect("a number").parse().expect("a number");

    let (goal, cuts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| {
            tokio::spawn(follow(addresses.clone(), token.clone(), begun.clone(), from, goal.clone(), cuts.clone()))
        })
        .collect();
    let is_written = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (addresses, token) = (addresses.clone(), token.clone());
            tokio::spawn(async move {
                for item in 0..ITEMS {
                    write(&addresses, &token, writer * ITEMS + item).await;
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..300))).await;
                }
            })
        })
        .collect();

    // While they write: an instance dies, Redis goes and comes back, PostgreSQL crashes.
    let chaos = async {
        for round in 0.. {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if is_written.load(Ordering::SeqCst) && round >= 6 {
                break;
            }
            match round % 3 {
                0 => {
                    let victim = &mut instances[fastrand::usize(..2)];
                    let instance = victim.take().expect("an instance");
                    *victim = Some(tokio::task::block_in_place(|| instance.kill_and_restart(folder.path(), &settings)));
                }
                1 => {
                    redis.stop();
                    tokio::time::sleep(Duration::from_millis(1_500)).await;
                    tokio::task::block_in_place(|| redis.start_again());
                }
                _ => database.crash().await,
            }
        }
    };
    let written = async {
        for writer in writers {
            writer.await.expect("a writer");
        }
        is_written.store(true, Ordering::SeqCst);
    };
    tokio::join!(chaos, written);

    // A crash may just have been: ask until there is an answer.
    let newest = loop {
        let query = "{ items(first: 1) { totalCount } events(last: 1) { nodes { sequence } } }";
        let answer = gql(&url, Some(&token), query, json!({})).await;
        if answer.get("errors").is_none() {
            assert_eq!(answer["data"]["items"]["totalCount"], json!(WRITERS * ITEMS), "each item once");
            let newest = answer["data"]["events"]["nodes"][0]["sequence"].as_str().expect("a number").to_owned();
            break newest.parse::<usize>().expect("a number");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    goal.store(newest, Ordering::SeqCst);
    for subscriber in subscribers {
        let seen = subscriber.await.expect("a subscriber");
        assert_eq!(usize::try_from(seen).expect("a number"), newest);
    }
    assert!(cuts.load(Ordering::Relaxed) > SUBSCRIBERS, "they were cut off");
}
