//! The store fails under the server: full, broken, gone in the middle of a commit. What was acknowledged is there
//! afterwards, what was refused is not, reads go on, and readiness says how it is.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, Statement};
use serde_json::{Value, json};

use crate::{
    process::{KEY, Process, folder, gql, register},
    support::{
        app::TestApp,
        postgres,
        proxy::{Proxy, Way},
        world::Company,
    },
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

// ── SQLite, as a process ──

/// A process whose store can be made to fail, and somebody who writes to it and keeps a journal of what was acknowledged.
struct Writer {
    url: String,
    token: String,
    acknowledged: Vec<String>,
}

impl Writer {
    async fn found(url: String) -> Self {
        let token = register(&url, "ann").await["accessToken"].as_str().expect("a token").to_owned();
        let found = "mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }";
        gql(&url, Some(&token), found, json!({})).await;
        Self { url, token, acknowledged: Vec::new() }
    }

    async fn ask(&self, query: &str, variables: Value) -> Value {
        gql(&self.url, Some(&self.token), query, variables).await
    }

    /// Creates an item with a description of so many characters; the code of the error where it is refused.
    async fn create(&mut self, characters: usize) -> Result<(), String> {
        let create = "mutation($text: Markdown) { itemCreate(input: {title: \"Written\", description: $text}) { \
                      item { id } userErrors { code } } }";
        let answer = self.ask(create, json!({ "text": "x".repeat(characters) })).await;
        if let Some(id) = answer["data"]["itemCreate"]["item"]["id"].as_str() {
            self.acknowledged.push(id.to_owned());
            return Ok(());
        }
        Err(answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned())
    }

    /// Every acknowledged item can be read, and no other is there.
    async fn finds_all(&self) {
        let mut found = Vec::new();
        for ids in self.acknowledged.chunks(100) {
            let answer = self.ask("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", json!({ "ids": ids })).await;
            let nodes = answer["data"]["nodes"].as_array().unwrap_or_else(|| panic!("{answer:#}")).clone();
            found.extend(nodes.iter().filter_map(|node| Some(node["id"].as_str()?.to_owned())));
        }
        assert_eq!(found, self.acknowledged, "what was acknowledged is there");
        let count = self.ask("{ items(first: 1) { totalCount } }", json!({})).await;
        assert_eq!(count["data"]["items"]["totalCount"], json!(self.acknowledged.len()), "and what was refused is not");
    }

    async fn readiness(&self) -> (u16, Value) {
        let ready = reqwest::get(format!("{}/health/ready", self.url)).await.expect("an answer");
        (ready.status().as_u16(), ready.json::<Value>().await.expect("JSON")["checks"]["writes"].clone())
    }

    async fn until_ready(&self) {
        let until = Instant::now() + PATIENCE;
        while self.readiness().await.0 != 200 {
            assert!(Instant::now() < until, "it is ready again: {:?}", self.readiness().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn metric(&self) -> String {
        let text = reqwest::get(format!("{}/metrics", self.url)).await.expect("an answer").text().await.expect("text");
        text.lines().find(|line| line.starts_with("todo_database_writable ")).expect("the metric").to_owned()
    }
}

/// A server whose store can be hurt: each gets the server's process.
struct Store<'a> {
    /// What readiness says while it fails.
    says: &'a str,
    fail: &'a dyn Fn(u32),
    heal: &'a dyn Fn(u32),
    /// Puts the files where the next process finds them.
    keep: &'a dyn Fn(u32),
}

async fn a_store_that_fails(mut server: Process, folder: &Path, store: Store<'_>) {
    let mut writer = Writer::found(server.url()).await;
    for _ in 0..5 {
        writer.create(1_000).await.expect("all is well");
    }
    assert_eq!(writer.readiness().await, (200, json!("ok")));
    for _ in 0..2 {
        (store.fail)(server.id());
        let until = Instant::now() + PATIENCE;
        let code = loop {
            assert!(Instant::now() < until, "it fails");
            if let Err(code) = writer.create(50_000).await {
                break code;
            }
        };
        assert_eq!(code, "UNAVAILABLE");
        assert_eq!(writer.readiness().await, (503, json!(store.says)));
        assert_eq!(writer.metric().await, "todo_database_writable 0");
        // Reads go on, small writes as it comes, and nothing is acknowledged that is not there.
        for _ in 0..10 {
            let _ = writer.create(100).await;
        }
        writer.finds_all().await;
        (store.heal)(server.id());
        writer.until_ready().await;
        assert_eq!(writer.metric().await, "todo_database_writable 1");
        // A write that is refused ends in a rollback, too.
        let taken = "mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }";
        let taken = writer.ask(taken, json!({})).await;
        assert_eq!(taken["data"]["organizationCreate"]["userErrors"][0]["code"], json!("TAKEN"), "{taken:#}");
        for _ in 0..50 {
            writer.create(100).await.expect("there is room again");
        }
        writer.finds_all().await;
    }
    (store.keep)(server.id());
    drop(server);
    let mut server = Process::within(folder, "exec \"$@\"", &settings());
    writer.url = server.url();
    writer.finds_all().await;
}

fn settings() -> [(&'static str, &'static str); 5] {
    [
        ("SECRET_KEY", KEY),
        ("DATABASE_URL", "sqlite://disk/data.db"),
        ("TODO_MODE", "embedded"),
        ("TODO_LIMITS_COST_PER_MINUTE", "0"),
        ("LOG_LEVEL", "warn"),
    ]
}

/// Whether a command is there and does its work here.
fn works(command: &str) -> bool {
    let works = Command::new("/bin/sh").args(["-c", command]).output().is_ok_and(|output| output.status.success());
    if !works {
        postgres::announce(&format!("A test of failing disks is SKIPPED: `{command}` does not work here"));
    }
    works
}

/// Files of the server may not grow: writes fail with EFBIG, which SQLite calls an I/O error. Its log is one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_after_an_io_error() {
    if !works("prlimit --pid $$ --fsize=unlimited") {
        return;
    }
    let folder = folder();
    let server =
        Process::within(folder.path(), "trap '' XFSZ; head -c 5000 /dev/zero >log; exec \"$@\" 2>>log", &settings());
    let limit = |process: u32, limit: &str| {
        let arguments = [format!("--pid={process}"), format!("--fsize={limit}:")];
        assert!(Command::new("prlimit").args(arguments).status().expect("it runs").success());
    };
    let store = Store {
        says: "failing",
        fail: &|process| limit(process, "4096"),
        heal: &|process| limit(process, "unlimited"),
        keep: &|_| {},
    };
    a_store_that_fails(server, folder.path(), store).await;
}

/// A disk of its own, with the log on it, which somebody else fills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_after_a_full_disk() {
    if !works("unshare -rm mount -t tmpfs -o size=8m tmpfs /mnt") {
        return;
    }
    let folder = folder();
    fs::create_dir(folder.path().join("disk")).expect("a folder");
    let script = "mount -t tmpfs -o size=16m tmpfs disk && exec \"$@\" 2>>disk/log";
    let server = Process::within(folder.path(), &format!("exec unshare -rm sh -c '{script}' sh \"$@\""), &settings());
    let disk = folder.path().join("disk");
    // As the process sees it, from outside.
    let inside = |process: u32| format!("/proc/{process}/root{}", disk.display());
    let store = Store {
        says: "full",
        fail: &|process| {
            let filler = format!("of={}/filler", inside(process));
            // It ends as it should: without room.
            let _ = Command::new("dd").args(["if=/dev/zero", "bs=64k", &filler]).output();
        },
        heal: &|process| fs::remove_file(format!("{}/filler", inside(process))).expect("it goes"),
        keep: &|process| {
            for file in ["data.db", "data.db-wal"] {
                fs::copy(format!("{}/{file}", inside(process)), disk.join(file)).expect("a copy");
            }
        },
    };
    a_store_that_fails(server, folder.path(), store).await;
}

// ── PostgreSQL ──

/// A server of the test's own database, by a proxy.
async fn by_proxy<F: Future<Output = ()>>(story: impl FnOnce(TestApp, Proxy, DatabaseConnection) -> F) {
    let Some(server) = postgres::server() else { return };
    let schema = server.create_schema().await;
    let direct = format!("{}&application_name={schema}", server.schema_url(&schema));
    let url = url::Url::parse(&direct).expect("a URL");
    let proxy = Proxy::to(&url).await;
    let app = TestApp::start(&[("DATABASE_URL", proxy.url(&url))]).await;
    let beside = Database::connect(server.schema_url(&schema)).await.expect("a connection of our own");
    story(app.clone(), proxy, beside.clone()).await;
    app.settle().await;
    app.state.db.close().await;
    beside.close().await.expect("it closes");
    server.drop_schema(&schema).await;
}

const CREATE: &str = "mutation { itemCreate(input: {title: \"Committed?\"}) { item { id } userErrors { code } } }";

async fn items(app: &TestApp, acme: &Company) -> Value {
    app.call(acme, &acme.owner, "{ items(first: 1) { totalCount } }").data().await["items"]["totalCount"].clone()
}

async fn until_ready(app: &TestApp) {
    let until = Instant::now() + PATIENCE;
    while app.get("/health/ready").await.status != 200 {
        assert!(Instant::now() < until, "it is ready again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The answer to COMMIT is lost: the write is there or not, nobody is told that it succeeded, and it is not made again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_no_success_and_not_repeated() {
    by_proxy(|app, proxy, _| async move {
        let acme = app.company("acme").await;
        let mut there = 0;
        for (way, is_made) in [(Way::OnceLoseAnswer, true), (Way::OnceLoseCommit, false)] {
            proxy.set(way).await;
            let broken = proxy.broken();
            app.take_statements();
            assert_eq!(app.call(&acme, &acme.owner, CREATE).error_code().await, "UNAVAILABLE", "{way:?}");
            assert_eq!(proxy.broken(), broken + 1, "{way:?}");
            let inserts = app.take_statements().iter().filter(|sql| sql.starts_with("INSERT INTO \"item\" ")).count();
            assert_eq!(inserts, 1, "{way:?}: it was tried once");
            there += i32::from(is_made);
            assert_eq!(items(&app, &acme).await, json!(there), "{way:?}");
            until_ready(&app).await;
        }
        // Under an idempotency key a repeat is safe, however it went.
        for (way, key) in [(Way::OnceLoseAnswer, "one"), (Way::OnceLoseCommit, "two")] {
            proxy.set(way).await;
            let call = || app.call(&acme, &acme.owner, CREATE).header("idempotency-key", key);
            assert_eq!(call().error_code().await, "UNAVAILABLE", "{way:?}");
            let first = call().done().await["item"]["id"].clone();
            assert_eq!(call().done().await["item"]["id"], first, "{way:?}");
            there += 1;
            assert_eq!(items(&app, &acme).await, json!(there), "{way:?}");
        }
    })
    .await;
}

/// A request that is given up while its BEGIN is under way leaves no connection inside a transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_given_up_in_its_begin_leaves_no_transaction() {
    by_proxy(|app, proxy, beside| async move {
        let acme = app.company("acme").await;
        proxy.set(Way::SlowBegin).await;
        for _ in 0..4 {
            let begun = proxy.broken();
            let mut given_up = std::pin::pin!(app.call(&acme, &acme.owner, CREATE).reply());
            let until = Instant::now() + PATIENCE;
            while proxy.broken() == begun {
                let pause = tokio::time::timeout(Duration::from_millis(10), &mut given_up).await;
                assert!(pause.is_err(), "it is under way");
                assert!(Instant::now() < until, "its BEGIN arrives");
            }
        }
        proxy.set(Way::Clear).await;
        // The last BEGIN is passed on half a second after it came.
        tokio::time::sleep(Duration::from_millis(800)).await;
        let query = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND application_name = \
                     current_schema()";
        let until = Instant::now() + PATIENCE;
        loop {
            let open = beside.query_one_raw(Statement::from_string(beside.get_database_backend(), query)).await;
            let open: i64 = open.expect("an answer").expect("a row").try_get_by_index(0).expect("a number");
            if open == 0 {
                break;
            }
            assert!(Instant::now() < until, "{open} connections rest inside a transaction");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(items(&app, &acme).await, json!(0));
        app.call(&acme, &acme.owner, CREATE).done().await;
    })
    .await;
}

/// PostgreSQL's disk is full: refused, said, and over by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_postgresql_is_unready_until_there_is_room() {
    by_proxy(|app, _, beside| async move {
        let acme = app.company("acme").await;
        app.call(&acme, &acme.owner, CREATE).done().await;
        let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION \
                    'could not extend file' USING ERRCODE = '53100'; END $$";
        beside.execute_unprepared(full).await.expect("a function");
        for table in ["item", "store_probe"] {
            let trigger = format!("CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()");
            beside.execute_unprepared(&trigger).await.expect("a trigger");
        }
        let answer = app.call(&acme, &acme.owner, CREATE).reply().await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json()["errors"][0]["extensions"]["code"], json!("UNAVAILABLE"));
        for _ in 0..3 {
            let ready = app.get("/health/ready").await;
            assert_eq!((ready.status.as_u16(), &ready.json()["checks"]["writes"]), (503, &json!("full")));
            assert_eq!(items(&app, &acme).await, json!(1), "reads go on");
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        beside.execute_unprepared("DROP FUNCTION full_disk CASCADE").await.expect("there is room");
        until_ready(&app).await;
        app.call(&acme, &acme.owner, CREATE).done().await;
        assert_eq!(items(&app, &acme).await, json!(2));
    })
    .await;
}
