//! A replica to read from: used while it has everything, never noticed otherwise.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    app::{TestApp, connection_to},
    cluster::{Cluster, Clusters},
    world::Company,
};

const SETTINGS: [&str; 1] = ["fsync=off"];
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the connections of all others.
const END_CONNECTIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                               WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

/// Titles of the organization's items, newest first.
async fn titles(app: &TestApp, acme: &Company) -> Vec<String> {
    let data = app.call(acme, &acme.viewer, "{ items { nodes { title } } }").data().await;
    let nodes = data["items"]["nodes"].as_array().expect("a list").clone();
    nodes.iter().filter_map(|node: &Value| node["title"].as_str().map(str::to_owned)).collect()
}

/// Queries with this outcome so far.
fn counted(app: &TestApp, outcome: &str) -> u64 {
    let start = format!("todo_replica_queries_total{{outcome=\"{outcome}\"}} ");
    let text = app.state.metrics.text();
    text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or(0)
}

/// Asks until a query has this outcome; what it gave.
async fn titles_by(app: &TestApp, acme: &Company, outcome: &str) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let before = counted(app, outcome);
        let found = titles(app, acme).await;
        if counted(app, outcome) > before {
            return found;
        }
        assert!(Instant::now() < until, "no query is {outcome:?}: {}", app.state.metrics.text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn create(app: &TestApp, acme: &Company, title: &str) {
    app.create(acme, &acme.member, "item", json!({ "title": title })).await;
}

/// A primary, and a standby that follows it.
fn start(clusters: &Clusters) -> (Cluster, Cluster) {
    let make = ["-D", "data", "--locale=C.UTF-8", "--encoding=UTF8", "--auth=trust", "--username=test"];
    clusters.run("initdb", &make);
    let primary = clusters.start("data", &SETTINGS);
    let (url, follow) = (primary.url("postgres"), ["-D", "standby", "--write-recovery-conf", "--checkpoint=fast"]);
    clusters.run("pg_basebackup", &[&["-d", url.as_str()], &follow[..]].concat());
    (primary, clusters.start_standby("standby", &SETTINGS))
}

/// A server that reads from the standby, and makes every answer anew.
async fn server(primary: &Cluster, standby: &Cluster) -> TestApp {
    let settings = [
        ("DATABASE_URL", primary.url("postgres")),
        ("DATABASE_READ_URL", standby.url("postgres")),
        ("TODO_SERVER_ANSWER_CACHE_BYTES", "0".to_owned()),
        ("TODO_DATABASE_MAX_CONNECTIONS", "12".to_owned()),
    ];
    TestApp::start(&settings).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_read_from_a_replica_that_has_everything() {
    let Some(clusters) = Clusters::new() else { return };
    let (primary, standby) = tokio::task::block_in_place(|| start(&clusters));
    let database = primary.url("postgres");
    let app = server(&primary, &standby).await;
    let acme = app.company("acme").await;
    create(&app, &acme, "first").await;
    assert_eq!(titles(&app, &acme).await, ["first"], "whichever answers");
    assert_eq!(titles_by(&app, &acme, "replica").await, ["first"]);

    // It really is the replica: what goes past the ledger is not seen while it stands still.
    let (of_primary, of_standby) = (connection_to(&database).await, connection_to(&standby.url("postgres")).await);
    of_standby.execute_unprepared("SELECT pg_wal_replay_pause()").await.expect("it stands still");
    let past_the_ledger = "UPDATE item SET title = 'changed by hand'";
    of_primary.execute_unprepared(past_the_ledger).await.expect("a write");
    assert_eq!(titles_by(&app, &acme, "replica").await, ["first"]);

    // Every write is seen at once by whoever asks, and by whichever instance, though the replica stands still.
    let other = app.another_instance(|_| {}).await;
    titles_by(&other, &acme, "replica").await;
    for number in 0..3 {
        create(&app, &acme, &format!("later {number}")).await;
        for app in [&app, &other] {
            let behind = counted(app, "behind");
            let found = titles(app, &acme).await;
            assert_eq!((found.len(), found[0].as_str()), (number + 2, &*format!("later {number}")));
            assert_eq!(counted(app, "behind"), behind + 1);
        }
    }
    // People's names are no organization's: their changes count all the same.
    of_standby.execute_unprepared("SELECT pg_wal_replay_resume()").await.expect("it goes on");
    assert_eq!(titles_by(&app, &acme, "replica").await.len(), 4);
    of_standby.execute_unprepared("SELECT pg_wal_replay_pause()").await.expect("it stands still");
    let rename = "mutation { userUpdate(input: { patch: { fullName: \"Ada\" } }) { userErrors { code } } }";
    app.call(&acme, &acme.member, rename).done().await;
    let names = "{ organization { members { nodes { user { displayName } } } } }";
    let seen = other.call(&acme, &acme.owner, names).data().await.to_string();
    assert!(seen.contains("Ada"), "{seen}");
    of_standby.execute_unprepared("SELECT pg_wal_replay_resume()").await.expect("it goes on");
    titles_by(&app, &acme, "replica").await;

    // It hangs: what it was given is asked of the database instead, and then it is left alone.
    let paused = tokio::task::block_in_place(|| clusters.pause("standby"));
    let failed = counted(&app, "failed");
    for _ in 0..3 {
        assert_eq!(titles(&app, &acme).await.len(), 4);
    }
    assert_eq!(counted(&app, "failed"), failed + 1);
    assert_eq!(titles_by(&app, &acme, "away").await.len(), 4);
    drop(paused);
    titles_by(&app, &acme, "replica").await;

    // It dies: nobody notices, also not whoever starts then.
    of_standby.close().await.expect("closed");
    drop(standby);
    for _ in 0..5 {
        assert_eq!(titles(&app, &acme).await.len(), 4);
    }
    assert!(counted(&app, "failed") + counted(&app, "away") > 0);
    create(&app, &acme, "on its own").await;
    let late = app.another_instance(|_| {}).await;
    assert_eq!(titles(&late, &acme).await[0], "on its own");
    for app in [&late, &other, &app] {
        app.settle().await;
        app.state.db.close().await;
    }
}

/// Many queries at once, all answered; how many of them had these outcomes.
async fn crowd(app: &TestApp, acme: &Company, newest: &'static str, outcomes: &[&str]) -> u64 {
    let sum = || outcomes.iter().map(|outcome| counted(app, outcome)).sum::<u64>();
    let before = sum();
    let mut asking = JoinSet::new();
    for person in [&acme.owner, &acme.admin, &acme.member, &acme.viewer].into_iter().cycle().take(40) {
        let (app, acme, person) = (app.clone(), acme.clone(), person.clone());
        asking.spawn(async move {
            let data = app.call(&acme, &person, "{ items { nodes { title } } }").data().await;
            assert_eq!(data["items"]["nodes"][0]["title"], newest);
        });
    }
    while let Some(done) = asking.join_next().await {
        done.expect("an answer");
    }
    sum() - before
}

/// Connections that are open to the replica.
async fn open_to_replica(app: &TestApp) -> u64 {
    let text = String::from_utf8(app.get("/metrics").await.body).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("todo_database_connections_open{pool=\"replica\"} "));
    line.and_then(|count| count.parse().ok()).expect("the gauge")
}

/// A restart leaves every connection that a pool has to be found lost by who uses it next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_restarted_costs_nobody_a_query() {
    let Some(clusters) = Clusters::new() else { return };
    let (primary, mut standby) = tokio::task::block_in_place(|| start(&clusters));
    let app = server(&primary, &standby).await;
    let acme = app.company("acme").await;
    create(&app, &acme, "first").await;
    titles_by(&app, &acme, "replica").await;
    for _ in 0..2 {
        assert_eq!(crowd(&app, &acme, "first", &["replica"]).await, 40);
        assert!(open_to_replica(&app).await >= 3);
        standby = tokio::task::block_in_place(|| clusters.restart_standby(standby, "standby", &SETTINGS));
        assert_eq!(crowd(&app, &acme, "first", &["failed", "away"]).await, 0);
        titles_by(&app, &acme, "replica").await;
        // An operator ends connections one by one.
        let beside = connection_to(&standby.url("postgres")).await;
        beside.execute_unprepared(END_CONNECTIONS).await.expect("connections end");
        assert_eq!(crowd(&app, &acme, "first", &["failed", "away"]).await, 0);
        beside.close().await.expect("closed");
    }
    app.settle().await;
    app.state.db.close().await;
}

/// Of the database itself, nobody knows what a statement has done whose connection is lost: one fails, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_connections_that_are_lost_at_rest_one_costs_a_query() {
    let Some(clusters) = Clusters::new() else { return };
    let (primary, standby) = tokio::task::block_in_place(|| start(&clusters));
    let with_replica = server(&primary, &standby).await;
    let acme = with_replica.company("acme").await;
    create(&with_replica, &acme, "first").await;
    let app = with_replica.another_instance(|config| config.database.read_url = None).await;
    crowd(&app, &acme, "first", &[]).await;
    let beside = connection_to(&primary.url("postgres")).await;
    beside.execute_unprepared(END_CONNECTIONS).await.expect("connections end");
    let mut failed = 0;
    for _ in 0..20 {
        let answer = app.call(&acme, &acme.owner, "{ items { nodes { title } } }").answer().await;
        failed += usize::from(!answer["errors"].is_null());
    }
    assert!(failed <= 1, "{failed} of 20 failed");
    beside.close().await.expect("closed");
    for app in [&app, &with_replica] {
        app.settle().await;
        app.state.db.close().await;
    }
}

/// What takes a replica's place may have less than that had: what was known of one is not believed of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_comes_back_with_less_is_behind() {
    let Some(clusters) = Clusters::new() else { return };
    let (primary, standby) = tokio::task::block_in_place(|| start(&clusters));
    let app = server(&primary, &standby).await;
    let acme = app.company("acme").await;
    create(&app, &acme, "first").await;
    // One that follows nobody, and stays where it is.
    tokio::task::block_in_place(|| {
        clusters.run("pg_basebackup", &["-d", &primary.url("postgres"), "-D", "old", "--checkpoint=fast"]);
        clusters.shell("touch old/standby.signal");
    });
    create(&app, &acme, "second").await;
    titles_by(&app, &acme, "replica").await;
    crowd(&app, &acme, "second", &[]).await;
    let _old = tokio::task::block_in_place(|| clusters.restart_standby(standby, "old", &SETTINGS));
    let (replica, behind) = (counted(&app, "replica"), counted(&app, "behind"));
    crowd(&app, &acme, "second", &[]).await;
    for _ in 0..20 {
        assert_eq!(titles(&app, &acme).await, ["second", "first"]);
    }
    assert_eq!(counted(&app, "replica"), replica);
    assert!(counted(&app, "behind") > behind);
    app.settle().await;
    app.state.db.close().await;
}

/// One caller asks the replica for more than it can give: others read on, from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_overloads_the_replica_keeps_it_from_nobody_else() {
    let Some(clusters) = Clusters::new() else { return };
    let (primary, standby) = tokio::task::block_in_place(|| start(&clusters));
    let app = server(&primary, &standby).await;
    let (acme, calm) = (app.company("acme").await, app.company("calm").await);
    for company in [&acme, &calm] {
        create(&app, company, "first").await;
    }
    titles_by(&app, &acme, "replica").await;
    // Reads of comments take for ever, on the replica, too: it takes the lock when it follows.
    let holder = connection_to(&primary.url("postgres")).await;
    holder.execute_unprepared("BEGIN; LOCK TABLE comment IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
    let beside = connection_to(&standby.url("postgres")).await;
    let locked =
        "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'comment'::regclass";
    while beside
        .query_one_raw(Statement::from_string(beside.get_database_backend(), locked))
        .await
        .expect("locks")
        .is_none()
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut noisy = JoinSet::new();
    for _ in 0..100 {
        let (app, acme) = (app.clone(), acme.clone());
        let query = "{ items { nodes { title comments { nodes { body } } } } }";
        noisy.spawn(async move { app.call(&acme, &acme.owner, query).answer().await });
    }
    // While its first queries hang at the replica, and after they were given up there and hang at the database.
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < Duration::from_secs(8) {
        for (company, person) in [(&acme, &acme.member), (&calm, &calm.owner)] {
            let asked = Instant::now();
            let data = app.call(company, person, "{ items { nodes { title } } }").data().await;
            assert_eq!(data["items"]["nodes"][0]["title"], "first", "{data}");
            // Far below what a query has that hangs at the replica.
            assert!(asked.elapsed() < Duration::from_millis(2_500), "{:?}", asked.elapsed());
        }
        rounds += 2;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (replica, away) = (counted(&app, "replica"), counted(&app, "away"));
    assert!(replica >= rounds, "{replica} of {rounds} queries read from the replica, {away} found it away");
    noisy.shutdown().await;
    beside.close().await.expect("closed");
    holder.close().await.expect("closed");
    app.settle().await;
    app.state.db.close().await;
}
