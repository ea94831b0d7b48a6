//! Nobody who keeps the database busy keeps it from others, and a statement ends with the operation that runs it.

use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseBackend, DatabaseConnection, Statement};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    app::TestApp,
    world::{Company, Person},
};
use todo_test_macros::databases;

/// What no operation of these stories comes to by itself.
const FOREVER: Duration = Duration::from_secs(600);

/// Reads items so many times at once. With [`never_ending`], and once [`slow_items`] was called, that takes for ever.
fn reads(times: usize) -> String {
    let fields: Vec<String> =
        (0..times).map(|n| format!("f{n}: items(first: 1, filter: $filter) {{ nodes {{ id }} }}")).collect();
    format!("query($filter: ItemFilter) {{ {} }}", fields.join(" "))
}

/// A filter that compares again and again from the beginning.
fn never_ending() -> Value {
    let condition = |n: usize| json!({ "title": { "contains": format!("{}{n}", "x".repeat(90)) } });
    json!({ "or": (0..20).map(condition).collect::<Vec<_>>() })
}

/// Makes reads of the organization's items take for ever: on PostgreSQL by a lock (of all items), until what is given back
/// is closed; on SQLite by their size.
async fn slow_items(app: &TestApp, company: &Company, person: &Person) -> DatabaseConnection {
    app.create(company, person, "item", json!({ "title": "one" })).await;
    let mut options = ConnectOptions::new(app.state.config.database.url.clone());
    options.max_connections(1);
    let db = Database::connect(options).await.expect("the test's database");
    if db.get_database_backend() == DatabaseBackend::Postgres {
        db.execute_unprepared("BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
        return db;
    }
    let columns = "organization_id, status, priority, subtask_count, subtask_done_count, comment_count, \
                   created_by_kind, created_by_id, created_at, updated_at, version";
    let sql = format!(
        "WITH RECURSIVE n(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < 4000)
         INSERT INTO item (id, number, title, title_key, {columns})
         SELECT randomblob(16), n, 'long', replace(hex(zeroblob(10000)), '0', 'x'), {columns}
         FROM item, n WHERE number = 1 AND organization_id = (SELECT id FROM organization WHERE slug = '{}')",
        company.slug
    );
    db.execute_unprepared(&sql).await.expect("many long items");
    db
}

/// Sends [`reads`] as somebody, and goes on waiting for them.
fn keep_busy(tasks: &mut JoinSet<Value>, app: &TestApp, company: &Company, person: &Person, times: usize) {
    let (app, company, person) = (app.clone(), company.clone(), person.clone());
    tasks.spawn(async move {
        app.call(&company, &person, &reads(times)).vars(json!({ "filter": never_ending() })).answer().await
    });
}

/// A server like the story's, over its database, with other limits.
async fn server(app: &TestApp, connections: u32, timeout: Duration, wait: Duration) -> TestApp {
    app.another_instance(|config| {
        config.database.max_connections = connections;
        config.database.acquire_timeout = wait;
        config.database.statement_timeout = FOREVER;
        config.limits.timeout = timeout;
        config.limits.cost = 1_000_000;
        config.limits.cost_per_minute = Some(0);
    })
    .await
}

const TAGS: &str = "{ organization { tags(first: 5) { nodes { name } totalCount } } viewer { user { id } } }";

/// Statements that the server's PostgreSQL connections have been running for a while.
async fn running(db: &DatabaseConnection) -> i64 {
    let sql = "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() \
               AND wait_event_type = 'Lock' AND pg_backend_pid() = ANY(pg_blocking_pids(pid))";
    let row = db.query_one_raw(Statement::from_string(DatabaseBackend::Postgres, sql)).await.expect("a row");
    row.and_then(|row| row.try_get("", "n").ok()).expect("a count")
}

/// Until nothing waits for this connection's lock any more.
async fn nothing_runs(db: &DatabaseConnection) {
    if db.get_database_backend() != DatabaseBackend::Postgres {
        return;
    }
    let none = async {
        while running(db).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), none).await.expect("statements end with their operations");
}

#[databases]
async fn who_keeps_the_database_busy_leaves_room_for_others(app: TestApp) {
    let (acme, bravo, calm) = (app.company("acme").await, app.company("bravo").await, app.company("calm").await);
    app.create(&calm, &calm.member, "tag", json!({ "name": "one", "color": "#112233" })).await;
    let app = server(&app, 8, FOREVER, Duration::from_secs(30)).await;
    let lock = slow_items(&app, &acme, &acme.member).await;
    let mut busy = JoinSet::new();
    for person in [&acme.owner, &acme.admin, &acme.member] {
        keep_busy(&mut busy, &app, &acme, person, 20);
    }
    if lock.get_database_backend() == DatabaseBackend::Postgres {
        keep_busy(&mut busy, &app, &bravo, &bravo.owner, 20);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Reads and writes of others go on, again and again.
    for n in 0..10 {
        let data = app.call(&calm, &calm.member, TAGS).data().await;
        assert_eq!(data["organization"]["tags"]["totalCount"], 1 + n);
        app.create(&calm, &calm.member, "tag", json!({ "name": format!("more {n}"), "color": "#112233" })).await;
    }
    assert!(busy.try_join_next().is_none(), "the others were done before");
    busy.shutdown().await;
    nothing_runs(&lock).await;
    app.state.db.close().await;
    lock.close().await.expect("closed");
}

#[databases]
async fn a_statement_ends_with_its_operation(app: TestApp) {
    let acme = app.company("acme").await;
    // One connection: whatever runs on would keep everybody out.
    let app = server(&app, 1, Duration::from_secs(2), Duration::from_secs(60)).await;
    let lock = slow_items(&app, &acme, &acme.member).await;
    for _ in 0..2 {
        let read = app.call(&acme, &acme.owner, &reads(20)).vars(json!({ "filter": never_ending() }));
        assert_eq!(read.error_code().await, "TIMEOUT");
        // A client that goes is as good as a timeout.
        let gone = app.call(&acme, &acme.owner, &reads(20)).vars(json!({ "filter": never_ending() }));
        assert!(tokio::time::timeout(Duration::from_millis(300), gone.reply()).await.is_err());
        app.call(&acme, &acme.member, TAGS).data().await;
        nothing_runs(&lock).await;
    }
    if lock.get_database_backend() == DatabaseBackend::Postgres {
        // So does a transaction, wherever it waits.
        let write = "mutation { itemCreate(input: {title: \"two\"}) { item { id } } }";
        assert_eq!(app.call(&acme, &acme.owner, write).error_code().await, "TIMEOUT");
        nothing_runs(&lock).await;
    }
    app.create(&acme, &acme.member, "tag", json!({ "name": "one", "color": "#112233" })).await;
    app.state.db.close().await;
    lock.close().await.expect("closed");
}

#[databases]
async fn who_waits_too_long_is_told_whose_share_is_used_up(app: TestApp) {
    let acme = app.company("acme").await;
    let app = server(&app, 4, FOREVER, Duration::from_millis(500)).await;
    let lock = slow_items(&app, &acme, &acme.member).await;
    let mut answers = JoinSet::new();
    keep_busy(&mut answers, &app, &acme, &acme.owner, 1);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answer = app.call(&acme, &acme.owner, TAGS).answer().await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAVAILABLE", "{answer:#}");
    assert_eq!(answer["errors"][0]["extensions"]["retryAfterSeconds"], 1, "{answer:#}");
    // A colleague has a share of their own.
    app.call(&acme, &acme.member, TAGS).data().await;
    answers.shutdown().await;
    nothing_runs(&lock).await;
    app.call(&acme, &acme.owner, TAGS).data().await;
    app.state.db.close().await;
    lock.close().await.expect("closed");
}

#[databases]
async fn a_statement_that_takes_too_long_is_ended(app: TestApp) {
    let acme = app.company("acme").await;
    let app = app
        .another_instance(|config| {
            config.database.statement_timeout = Duration::from_secs(1);
            config.limits.timeout = FOREVER;
            config.limits.cost_per_minute = Some(0);
        })
        .await;
    let lock = slow_items(&app, &acme, &acme.member).await;
    let query = "query($filter: ItemFilter) { items(first: 1, filter: $filter) { nodes { id } } }";
    let read = app.call(&acme, &acme.owner, query).vars(json!({ "filter": never_ending() }));
    assert_eq!(read.error_code().await, "TIMEOUT");
    app.call(&acme, &acme.owner, TAGS).data().await;
    app.state.db.close().await;
    lock.close().await.expect("closed");
}

/// All connections are held by others: who comes then is refused in time and told when to come again, and served as soon as
/// one is free.
#[databases]
async fn who_finds_no_connection_is_refused_in_time(app: TestApp) {
    let (acme, bravo, calm) = (app.company("acme").await, app.company("bravo").await, app.company("calm").await);
    // Two connections: an organization never has both.
    let app = server(&app, 2, FOREVER, Duration::from_secs(1)).await;
    let lock = slow_items(&app, &acme, &acme.member).await;
    if lock.get_database_backend() == DatabaseBackend::Sqlite {
        slow_items(&app, &bravo, &bravo.member).await.close().await.expect("closed");
    }
    let mut busy = JoinSet::new();
    for company in [&acme, &bravo] {
        keep_busy(&mut busy, &app, company, &company.owner, 1);
    }
    let is_full = async {
        loop {
            let answer = app.call(&calm, &calm.member, TAGS).answer().await;
            if let Some(error) = answer["errors"].get(0) {
                break error["extensions"].clone();
            }
        }
    };
    let refused = tokio::time::timeout(Duration::from_secs(60), is_full).await.expect("all are held");
    assert_eq!((&refused["code"], &refused["retryAfterSeconds"]), (&json!("UNAVAILABLE"), &json!(1)), "{refused:#}");
    let write = "mutation { tagCreate(input: {name: \"one\", color: \"#112233\"}) { tag { id } } }";
    let before = std::time::Instant::now();
    if lock.get_database_backend() == DatabaseBackend::Postgres {
        assert_eq!(app.call(&calm, &calm.owner, write).error_code().await, "UNAVAILABLE");
    }
    // Far below the minutes that the others would take.
    assert!(before.elapsed() < Duration::from_secs(30));
    busy.shutdown().await;
    nothing_runs(&lock).await;
    app.call(&calm, &calm.member, TAGS).data().await;
    app.call(&calm, &calm.owner, write).data().await;
    app.state.db.close().await;
    lock.close().await.expect("closed");
}
