//! Eight writers keep a journal of what was acknowledged, while servers and databases are killed: all of it is there in
//! the end. The short form of `bench/crashes.sh`.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    process::{KEY, Process, folder, gql, register},
    support::{free_port, postgres},
};

const WRITERS: usize = 8;
const KILLS: usize = 4;
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The newest acknowledged title of each item: titles are numbers that grow.
pub type Journal = Arc<Mutex<HashMap<String, u64>>>;

fn start(folder: &Path, port: &str, database: &str) -> Process {
    let settings = [
        ("PORT", port),
        ("DATABASE_URL", database),
        ("SECRET_KEY", KEY),
        ("TODO_MODE", "embedded"),
        ("TODO_LIMITS_COST_PER_MINUTE", "0"),
        ("LOG_LEVEL", "error"),
    ];
    let mut process = Process::spawn(folder, &[], &settings);
    process.url();
    process
}

/// One request, by whoever it can be sent to; `None` where no answer came.
async fn ask(client: &reqwest::Client, url: &str, token: &str, query: &str, variables: Value) -> Option<Value> {
    let body = json!({ "query": query, "variables": variables });
    let request = client.post(format!("{url}/graphql")).bearer_auth(token).timeout(PATIENCE).json(&body);
    request.send().await.ok()?.json().await.ok()
}

/// Creates an item and changes it, over and over; what is acknowledged goes into the journal.
pub async fn write(url: String, token: String, journal: Journal, is_over: Arc<AtomicBool>) {
    let create =
        "mutation($title: String!) { done: itemCreate(input: {title: $title}) { item { id } userErrors { code } } }";
    let update = "mutation($title: String!, $id: ID!) { done: itemUpdate(input: {id: $id, patch: {title: $title}}) { \
                  item { id } userErrors { code } } }";
    let client = reqwest::Client::new();
    let mut item = None;
    for title in 1_u64.. {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        let query = if item.is_some() { update } else { create };
        let answer = ask(&client, &url, &token, query, json!({ "title": title.to_string(), "id": item })).await;
        let Some(id) = answer.and_then(|answer| answer["data"]["done"]["item"]["id"].as_str().map(str::to_owned))
        else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        journal.lock().expect("no panic").insert(id.clone(), title);
        item = (title % 3 != 0).then_some(id);
    }
}

/// Everything in the journal is there, as it was acknowledged or newer: a later answer may have been on its way.
pub async fn is_all_there(url: &str, token: &str, journal: &Journal) {
    let journal = journal.lock().expect("no panic").clone();
    assert!(journal.len() > WRITERS, "they have written");
    let ids: Vec<&String> = journal.keys().collect();
    for ids in ids.chunks(100) {
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Item { id title } } }";
        let answer = gql(url, Some(token), query, json!({ "ids": ids })).await;
        let nodes = answer["data"]["nodes"].as_array().unwrap_or_else(|| panic!("{answer:#}"));
        for (id, node) in ids.iter().zip(nodes) {
            let title: u64 =
                node["title"].as_str().unwrap_or_else(|| panic!("{id} is lost")).parse().expect("a number");
            assert!(title >= journal[*id], "{id}: {title} is there, {} was acknowledged", journal[*id]);
        }
    }
}

/// Where the server is, and who writes.
struct Place {
    url: String,
    token: String,
}

impl Place {
    /// Waits until reads and writes are refused, by a code that tells clients to try again, and readiness says so, too.
    async fn until_refused(&self) {
        let client = reqwest::Client::new();
        let until = Instant::now() + PATIENCE;
        for query in
            ["{ items(first: 1) { totalCount } }", "mutation { itemCreate(input: {title: \"9\"}) { item { id } } }"]
        {
            loop {
                let answer = ask(&client, &self.url, &self.token, query, json!({})).await.expect("an answer");
                let code = answer["errors"][0]["extensions"]["code"].as_str().map(str::to_owned);
                match code.as_deref() {
                    None => assert!(Instant::now() < until, "it is refused: {answer:#}"),
                    // What was under way when the database fell silent ends by its own time limit.
                    Some("UNAVAILABLE" | "TIMEOUT") => break,
                    Some(_) => panic!("{answer:#}"),
                }
            }
        }
        assert_eq!(self.readiness().await, 503);
    }

    async fn readiness(&self) -> u16 {
        reqwest::get(format!("{}/health/ready", self.url)).await.expect("an answer").status().as_u16()
    }

    /// Waits until it is ready again, by itself; gives how long that took.
    async fn until_ready(&self) -> Duration {
        let since = Instant::now();
        while self.readiness().await != 200 {
            assert!(since.elapsed() < PATIENCE, "it is ready again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        since.elapsed()
    }
}

/// Writers beside `faults` of a server; then the server is killed once more.
async fn written_beside(database: &str, faults: impl AsyncFn(&mut Option<Process>, &dyn Fn() -> Process, &Place)) {
    let (folder, port) = (folder(), free_port().to_string());
    let begin = || tokio::task::block_in_place(|| start(folder.path(), &port, database));
    let mut server = Some(begin());
    let url = format!("http://127.0.0.1:{port}");
    let token = register(&url, "ann").await["accessToken"].as_str().expect("a token").to_owned();
    let found = "mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }";
    gql(&url, Some(&token), found, json!({})).await;
    let (journal, is_over) = (Journal::default(), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| tokio::spawn(write(url.clone(), token.clone(), journal.clone(), is_over.clone())))
        .collect();
    faults(&mut server, &begin, &Place { url: url.clone(), token: token.clone() }).await;
    // Whatever failed, writes go on afterwards.
    let before = journal.lock().expect("no panic").len();
    let until = Instant::now() + PATIENCE;
    while journal.lock().expect("no panic").len() < before + WRITERS {
        assert!(Instant::now() < until, "writes go on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    is_over.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("a writer");
    }
    drop(server.take());
    let _server = begin();
    is_all_there(&url, &token, &journal).await;
}

async fn some_time() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(200..1_000))).await;
}

async fn kill(server: &mut Option<Process>, begin: &dyn Fn() -> Process, _: &Place) {
    for _ in 0..KILLS {
        some_time().await;
        drop(server.take());
        *server = Some(begin());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed_on_sqlite() {
    let folder = folder();
    let database = format!("sqlite://{}", folder.path().join("data.db").display());
    written_beside(&database, kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed_on_postgresql() {
    let Some(server) = postgres::server() else { return };
    let schema = server.create_schema().await;
    written_beside(&server.schema_url(&schema), kill).await;
    server.drop_schema(&schema).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_postgresql_crashes() {
    let Some(server) = postgres::own() else { return };
    let server = &server;
    written_beside(&server.durable_url(), async |_: &mut Option<Process>, _: &dyn Fn() -> Process, _: &Place| {
        for _ in 0..KILLS {
            some_time().await;
            server.crash().await;
        }
    })
    .await;
}

/// PostgreSQL falls silent, with its connections open; then it is stopped, and started again some seconds later. Meanwhile
/// everything is refused in time, and afterwards the server is well by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_postgresql_is_away() {
    let Some(server) = postgres::own() else { return };
    let server = &server;
    written_beside(&server.durable_url(), async |_: &mut Option<Process>, _: &dyn Fn() -> Process, place: &Place| {
        some_time().await;
        let paused = server.pause();
        place.until_refused().await;
        drop(paused);
        let silent = place.until_ready().await;
        some_time().await;
        tokio::task::block_in_place(|| server.stop());
        place.until_refused().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        place.until_refused().await;
        tokio::task::block_in_place(|| server.start_again());
        let stopped = place.until_ready().await;
        println!("ready again {silent:.1?} after PostgreSQL was silent, {stopped:.1?} after it was stopped");
    })
    .await;
}
