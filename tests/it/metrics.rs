//! What Prometheus reads: that every name which is used or told is there.

use std::{collections::BTreeSet, time::Duration};

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use todo_platform::base::config::RedisConfig;
use todo_test_macros::databases;

use crate::support::{app::TestApp, redis::RedisServer};

const ALERTS: &str = include_str!("../../docker/prometheus/alerts.yml");
const DASHBOARD: &str = include_str!("../../docker/grafana/dashboards/todo-platform.json");
const PAGE: &str = include_str!("../../docs/CONFIGURATION.md");

/// Metrics that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    words.filter(|word| word.starts_with("todo_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// Samples that a server gives.
fn samples(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// Without what a histogram adds.
fn family(sample: &str) -> &str {
    ["_bucket", "_count", "_sum"].iter().find_map(|end| sample.strip_suffix(end)).unwrap_or(sample)
}

/// Counts one of each, so that nothing is left out for want of anything to say.
async fn everything(app: &TestApp) -> String {
    let (metrics, moment) = (&app.state.metrics, Duration::from_millis(5));
    metrics.operated("Board", false, moment);
    metrics.refused("caller");
    metrics.fell_back();
    metrics.woken("poll");
    metrics.handed_out(chrono::Duration::milliseconds(5));
    metrics.ended("slow");
    metrics.attempted("delivered", moment);
    metrics.job_ended("done");
    metrics.sent_to_background();
    metrics.answer_cache("hit");
    metrics.replica_query("replica");
    metrics.refused_callback("time");
    metrics.emailed("sent");
    metrics.emails_wait(0);
    metrics.clock_skew("database", chrono::Duration::milliseconds(5));
    app.gql("{ server { version } }").data().await;
    String::from_utf8(app.get("/metrics").await.body).expect("text")
}

#[tokio::test]
async fn what_dashboards_alerts_and_the_guide_name_is_there() {
    let Some(redis) = RedisServer::start() else { return };
    let app = TestApp::start(&[("REDIS_URL", redis.url())]).await;
    assert!(app.state.config.redis.as_ref().is_some_and(|redis: &RedisConfig| !redis.url.is_empty()));
    let text = everything(&app).await;
    let there = samples(&text);
    // An expression of a panel is a string of the dashboard's JSON.
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let expressions = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let shown: String = expressions.filter_map(|target| target["expr"].as_str()).collect::<Vec<_>>().join("\n");
    let alerts: String = ALERTS.lines().filter(|line| line.contains("expr:")).collect::<Vec<_>>().join("\n");
    for (place, text) in [("the dashboard", shown), ("alerts.yml", alerts)] {
        let names = named(&text);
        assert!(names.len() > 5, "{place}: {names:?}");
        for name in names {
            assert!(there.contains(&name), "{place} names {name}, which no server gives: {there:#?}");
        }
    }
    let told: BTreeSet<String> = PAGE
        .lines()
        .filter(|line| line.starts_with("| `todo_") || line.starts_with("| `process_"))
        .flat_map(named)
        .collect();
    let given: BTreeSet<&str> = there.iter().map(|sample| family(sample)).collect();
    for name in &told {
        assert!(given.contains(name.as_str()), "docs/CONFIGURATION.md has {name}, which no server gives");
    }
    for name in given {
        assert!(told.contains(name), "docs/CONFIGURATION.md lacks {name}");
    }
}

/// Operations have names that clients choose; registered ones are the operator's, and still there is an end.
#[tokio::test]
async fn names_of_operations_have_an_end() {
    let app = TestApp::start(&[]).await;
    for number in 0..1_500 {
        app.state.metrics.operated(&format!("Operation{number}"), false, Duration::from_millis(1));
    }
    let text = app.state.metrics.text();
    let names = text.lines().filter(|line| line.starts_with("todo_operations_total{")).count();
    assert_eq!(names, 1_001);
    assert!(text.contains("todo_operations_total{operation=\"other\",outcome=\"ok\"} 500"));
}

#[databases]
async fn pools_and_what_waits_are_told(app: TestApp) {
    let text = everything(&app).await;
    let value = |line: &str| {
        let found = text.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_else(|| panic!("{line}: {text}"));
        found.trim().parse::<f64>().expect("a number")
    };
    let is_sqlite = app.state.config.database.url.starts_with("sqlite");
    for pool in if is_sqlite { ["reader", "writer"].as_slice() } else { &["shared"] } {
        let of = |name: &str| value(&format!("todo_database_{name}{{pool=\"{pool}\"}}"));
        assert_eq!(of("connections_limit"), if *pool == "writer" { 1.0 } else { 4.0 });
        assert!(of("connections_open") >= 1.0);
        assert_eq!((of("waiting"), of("waits_total"), of("wait_seconds_total")), (0.0, 0.0, 0.0));
    }
    for state in ["waiting", "running", "failed"] {
        assert_eq!(value(&format!("todo_jobs_present{{state=\"{state}\"}}")), 0.0);
    }
    assert_eq!(value("todo_webhook_deliveries_waiting"), 0.0);
    assert!(value("process_cpu_seconds_total") > 0.0);
    assert!(value("todo_uptime_seconds") > 0.0);
    if cfg!(target_os = "linux") {
        assert!(value("process_resident_memory_bytes") > 1e6 && value("process_open_fds") > 3.0);
    }
    assert!(text.ends_with("# EOF\n"));
}

#[databases]
async fn caches_are_told(app: TestApp) {
    let acme = app.company("acme").await;
    app.settle().await;
    // With a token that nobody has seen yet.
    let owner = app.sign_in(&acme.owner).await;
    let scrape = async || {
        let text = everything(&app).await;
        let prefix = |name: &str, labels: &str| format!("todo_cache_{name}{{{labels}}} ");
        move |name: &str, labels: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&prefix(name, labels)));
            line.map(|value| value.parse::<f64>().expect("a number"))
        }
    };
    let before = scrape().await;
    for _ in 0..4 {
        app.call(&acme, &owner, "{ items { nodes { title } } }").data().await;
    }
    let after = scrape().await;
    // `everything` looks for one document itself. The answer is kept the second time that it is asked for.
    let rows = [("documents", 4.0, 1.0), ("tokens", 3.0, 1.0), ("identities", 3.0, 1.0), ("answers", 2.0, 2.0)];
    for (cache, hits, misses) in rows {
        for (outcome, expected) in [("hit", hits), ("miss", misses)] {
            let labels = format!("cache=\"{cache}\",outcome=\"{outcome}\"");
            let [before, after] = [&before, &after].map(|scraped| scraped("looks_total", &labels).expect("told"));
            assert_eq!(after - before, expected, "{labels}");
        }
        let labels = format!("cache=\"{cache}\"");
        assert!(after("entries", &labels) >= Some(1.0), "{cache}");
        let is_weighed = ["documents", "answers"].contains(&cache);
        assert_eq!(after("size_bytes", &labels).map(|bytes| bytes > 0.0), is_weighed.then_some(true), "{cache}");
    }
}

/// On SQLite each reader has a second connection, for what is in the background: none is open before it is needed.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_for_the_background_are_opened_when_they_are_needed() {
    let app = TestApp::start(&[]).await;
    let acme = app.company("acme").await;
    let open = async || {
        let text = String::from_utf8(app.get("/metrics").await.body).expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix("todo_database_connections_open{pool=\"reader\"} "));
        line.and_then(|count| count.parse::<usize>().ok()).expect("the gauge")
    };
    for _ in 0..8 {
        app.call(&acme, &acme.owner, "{ items { nodes { title } } }").data().await;
    }
    assert_eq!(open().await, 4);
    // A large body is read in the background, and so is what it asks for.
    let body = json!({ "query": "{ items { nodes { id } } }", "extensions": { "padding": "x".repeat(200_000) } });
    let request = Request::post("/graphql")
        .header("content-type", "application/json")
        .header("x-organization", "acme")
        .header("authorization", format!("Bearer {}", acme.owner.token))
        .body(Body::from(body.to_string()))
        .expect("a request");
    let answer = app.http(request).await.json();
    assert_eq!(answer, json!({ "data": { "items": { "nodes": [] } } }));
    assert_eq!(open().await, 5);
    assert!(priorities("sqlx-sqlite-wor").contains(&10), "its thread gives way: {:?}", priorities("sqlx-sqlite-wor"));
}

/// How much threads of this name give way: 0, or up to 19.
#[cfg(target_os = "linux")]
fn priorities(name: &str) -> Vec<i64> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the process's threads");
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let of_name = stats.filter_map(|stat| {
        let (before, after) = stat.rsplit_once(") ")?;
        // The 19th field; the third comes first here.
        before.contains(name).then(|| after.split(' ').nth(16)?.parse().ok())?
    });
    of_name.collect()
}
