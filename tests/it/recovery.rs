//! PostgreSQL put back as `docs/backup.md` says: to a point in time by its archived log, and by a dump.

use std::{fs, path::Path, thread, time::Duration};

use serde_json::json;

use crate::{
    backup::{Writers, found, is_whole, position, refusal_of},
    durability,
    process::{KEY, Process, folder, gql},
    support::cluster::{Cluster, Clusters},
};

/// As the guide has them, but for `fsync`: what crashes here are processes.
const ARCHIVING: [&str; 5] = [
    "wal_level=replica",
    "archive_mode=on",
    "archive_command=test ! -f ../archive/%f && cp %p ../archive/%f.tmp && mv ../archive/%f.tmp ../archive/%f",
    "max_connections=100",
    "fsync=off",
];

/// A server in production mode: it finds the schema current, or does not start.
fn serve(folder: &Path, database: &str) -> (Process, String) {
    let mut server = Process::spawn(folder, &[], &settings(database));
    let url = server.url();
    (server, url)
}

fn settings(database: &str) -> [(&str, &str); 4] {
    [("DATABASE_URL", database), ("SECRET_KEY", KEY), ("TODO_LIMITS_COST_PER_MINUTE", "0"), ("LOG_LEVEL", "error")]
}

fn run(folder: &Path, arguments: &[&str], database: &str) -> String {
    let ended = Process::spawn(folder, arguments, &settings(database)).ended();
    assert_eq!(ended.status.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
    ended.stdout
}

/// A cluster with an archive, and a server on it.
fn begin(clusters: &Clusters, folder: &Path) -> (Cluster, Process, String) {
    clusters.run("initdb", &["-D", "data", "--locale=C.UTF-8", "--encoding=UTF8", "--auth=trust", "--username=test"]);
    clusters.shell("mkdir archive");
    let cluster = clusters.start("data", &ARCHIVING);
    let database = cluster.url("postgres");
    run(folder, &["migrate"], &database);
    let (server, url) = serve(folder, &database);
    (cluster, server, url)
}

async fn make(url: &str, token: &str, title: &str) {
    let query = "mutation($title: String!) { itemCreate(input: {title: $title}) { item { id } } }";
    let made = gql(url, Some(token), query, json!({ "title": title })).await;
    assert!(made["data"]["itemCreate"]["item"]["id"].is_string(), "{made:#}");
}

/// How many items a full text finds.
async fn found_by(url: &str, token: &str, text: &str) -> u64 {
    let query = "query($text: String!) { items(filter: {text: $text}) { totalCount } }";
    let answer = gql(url, Some(token), query, json!({ "text": text })).await;
    answer["data"]["items"]["totalCount"].as_u64().unwrap_or_else(|| panic!("{answer:#}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_put_back_to_a_point_in_time() {
    let Some(clusters) = Clusters::new() else { return };
    let folder = folder();
    let (cluster, server, url) = tokio::task::block_in_place(|| begin(&clusters, folder.path()));
    let database = cluster.url("postgres");
    let token = found(&url).await;
    let writers = Writers::start(&url, &token);
    writers.write_more(10).await;
    // Under writers.
    tokio::task::block_in_place(|| {
        clusters.run("pg_basebackup", &["-d", &database, "-D", "base", "--checkpoint=fast", "--wal-method=stream"]);
        clusters.run("pg_verifybackup", &["--quiet", "base"]);
    });
    writers.write_more(10).await;
    let before = writers.acknowledged();
    make(&url, &token, "lighthouse").await;
    tokio::task::block_in_place(|| {
        clusters.run("psql", &[&database, "-Atc", "SELECT pg_create_restore_point('before the mistake')"]);
    });
    make(&url, &token, "shipwreck").await;
    writers.write_more(10).await;
    let late = position(&url, &token).await;
    writers.stop().await;
    tokio::task::block_in_place(|| {
        let file = clusters.run("psql", &[&database, "-Atc", "SELECT pg_walfile_name(pg_switch_wal())"]);
        while !clusters.path("archive").join(file.trim()).exists() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    // All at once.
    drop(cluster);
    drop(server);

    tokio::task::block_in_place(|| {
        let settings = "restore_command = 'cp ../archive/%f %p'\n\
                        recovery_target_name = 'before the mistake'\n\
                        recovery_target_action = 'promote'\n";
        fs::write(clusters.path("settings"), settings).expect("it is written");
        clusters.shell("cat settings >> base/postgresql.auto.conf && touch base/recovery.signal");
    });
    let cluster = tokio::task::block_in_place(|| clusters.start("base", &ARCHIVING));
    let database = cluster.url("postgres");
    let printed = tokio::task::block_in_place(|| run(folder.path(), &["admin", "restored"], &database));
    assert!(printed.contains("INVALID_CURSOR"), "{printed}");
    let (_server, url) = tokio::task::block_in_place(|| serve(folder.path(), &database));
    durability::is_all_there(&url, &token, &before).await;
    assert_eq!(found_by(&url, &token, "lighthouse").await, 1, "the last before the point");
    assert_eq!(found_by(&url, &token, "shipwreck").await, 0, "nothing after it");
    is_whole(&url, &token).await;
    assert_eq!(refusal_of(&url, &token, &late).await, "INVALID_CURSOR");
    let writers = Writers::start(&url, &token);
    writers.write_more(30).await;
    writers.stop().await;
    assert_eq!(refusal_of(&url, &token, &late).await, "INVALID_CURSOR", "also when the ledger has got past it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_is_the_same_database_elsewhere() {
    let Some(clusters) = Clusters::new() else { return };
    let folder = folder();
    let (cluster, server, url) = tokio::task::block_in_place(|| begin(&clusters, folder.path()));
    let database = cluster.url("postgres");
    let token = found(&url).await;
    let writers = Writers::start(&url, &token);
    writers.write_more(10).await;
    make(&url, &token, "lighthouse").await;
    let before = writers.acknowledged();
    let other = cluster.url("other");
    let schema_of = |url: &str| {
        let schema = clusters.run("pg_dump", &["--schema-only", "--no-owner", url]);
        // Newer ones draw a word by lot.
        schema.lines().filter(|line| !line.starts_with("\\")).collect::<Vec<&str>>().join("\n")
    };
    tokio::task::block_in_place(|| {
        clusters.run("pg_dump", &["--format=custom", "--file=dump", &database]);
    });
    writers.stop().await;
    drop(server);
    tokio::task::block_in_place(|| {
        clusters.run("psql", &[&database, "-qc", "CREATE DATABASE other TEMPLATE template0"]);
        clusters.run("pg_restore", &["--exit-on-error", "--no-owner", &format!("--dbname={other}"), "dump"]);
    });
    // Tables, indexes, constraints, triggers and functions.
    let (was, is) = tokio::task::block_in_place(|| (schema_of(&database), schema_of(&other)));
    assert_eq!(was, is);
    for part in ["CREATE TRIGGER", "CREATE FUNCTION", "CREATE CONSTRAINT TRIGGER", "COLLATE"] {
        assert!(is.contains(part), "{part}");
    }
    tokio::task::block_in_place(|| run(folder.path(), &["admin", "restored"], &other));
    let (_server, url) = tokio::task::block_in_place(|| serve(folder.path(), &other));
    durability::is_all_there(&url, &token, &before).await;
    assert_eq!(found_by(&url, &token, "lighthouse").await, 1);
    make(&url, &token, "lighthouse too").await;
    assert_eq!(found_by(&url, &token, "lighthouse").await, 2, "its triggers are there");
    is_whole(&url, &token).await;
}
