//! A replica to read from: used while it has everything, never noticed otherwise.

use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use crate::support::{
    app::{TestApp, connection_to},
    cluster::Clusters,
    world::Company,
};

const SETTINGS: [&str; 1] = ["fsync=off"];
const PATIENCE: Duration = Duration::from_secs(60);

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_read_from_a_replica_that_has_everything() {
    let Some(clusters) = Clusters::new() else { return };
    let (primary, standby) = tokio::task::block_in_place(|| {
        let make = ["-D", "data", "--locale=C.UTF-8", "--encoding=UTF8", "--auth=trust", "--username=test"];
        clusters.run("initdb", &make);
        let primary = clusters.start("data", &SETTINGS);
        let (url, follow) = (primary.url("postgres"), ["-D", "standby", "--write-recovery-conf", "--checkpoint=fast"]);
        clusters.run("pg_basebackup", &[&["-d", url.as_str()], &follow[..]].concat());
        (primary, clusters.start_standby("standby", &SETTINGS))
    });
    let database = primary.url("postgres");
    // Every answer is made anew.
    let settings = [
        ("DATABASE_URL", database.clone()),
        ("DATABASE_READ_URL", standby.url("postgres")),
        ("TODO_SERVER_ANSWER_CACHE_BYTES", "0".to_owned()),
    ];
    let app = TestApp::start(&settings).await;
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
