//! `todo-platform doctor`: what it finds, well and not well.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path};

use sea_orm::{ConnectionTrait as _, Database};
use serde_json::Value;

use todo_platform::{base::config::RedisConfig, jobs::maintenance};

use crate::{
    process::{Process, folder},
    support::{app::TestApp, postgres, redis::RedisServer},
};

const KEY: &str = "q3J0c5mZ8oYxk1T7bVnRw2LhUeDfGaPsX4iM6tNz";

/// What the command reported.
struct Report {
    report: Value,
    everything: String,
}

impl Report {
    /// Runs the command with these settings. It ends with 1 when something failed, and only then.
    fn of(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let ended = Process::spawn(folder, &["doctor", "--json"], settings).ended();
        let report: Value =
            serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}{}", ended.stdout, ended.stderr));
        let failed = report["status"] == "failed";
        assert_eq!(ended.status.code(), Some(failed.into()), "{report:#}{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        Self { report, everything: ended.stdout + &ended.stderr }
    }

    /// The texts of a check that found this.
    fn found(&self, check: &str, status: &str) -> Vec<&str> {
        let checks = self.report["checks"].as_array().expect("checks");
        let checks = checks.iter().filter(|it| it["check"] == check && it["status"] == status);
        checks.map(|it| it["found"].as_str().expect("a text")).collect()
    }

    /// A check found this, with these words, and says what to do unless it is well.
    #[track_caller]
    fn says(&self, check: &str, status: &str, words: &str) {
        let found = self.found(check, status);
        assert!(found.iter().any(|text| text.contains(words)), "{check} {status} {words:?}: {:#}", self.report);
    }

    #[track_caller]
    fn nothing_is(&self, status: &str) {
        let checks = self.report["checks"].as_array().expect("checks");
        let those: Vec<_> = checks.iter().filter(|it| it["status"] == status).collect();
        assert!(those.is_empty(), "{those:#?}");
    }
}

fn migrate(folder: &Path, settings: &[(&str, &str)]) {
    let ended = Process::spawn(folder, &["migrate"], settings).ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// A port that was free a moment ago, and nobody listens on.
fn nobodys_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}

#[test]
fn a_healthy_sqlite_is_well_before_and_after_its_first_start() {
    let folder = folder();
    set_mode(folder.path(), 0o700);
    let settings = [("SECRET_KEY", KEY)];
    let before = Report::of(folder.path(), &settings);
    before.nothing_is("failed");
    before.nothing_is("warning");
    before.says("database", "ok", "made at the first start");
    assert!(!folder.path().join("data").exists(), "looking makes nothing");

    migrate(folder.path(), &settings);
    let after = Report::of(folder.path(), &settings);
    after.nothing_is("failed");
    after.nothing_is("warning");
    after.says("database", "ok", "SQLite 3.");
    after.says("schema", "ok", "none missing");
    after.says("database_writes", "ok", "a write was made");
    for check in ["configuration", "secret_key", "data_folder", "mail", "disk", "database_file", "redis", "file_limit"]
    {
        assert!(!after.found(check, "ok").is_empty(), "{check}: {:#}", after.report);
    }

    // For people: a line for each, and a count.
    let ended = Process::spawn(folder.path(), &["doctor"], &settings).ended();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stdout.lines().any(|line| line.starts_with("ok       schema ")), "{}", ended.stdout);
    assert!(ended.stdout.trim_end().ends_with("0 warning(s), 0 failed"), "{}", ended.stdout);
}

#[test]
fn a_healthy_postgresql_is_well_in_production() {
    let durable = ["fsync=on", "synchronous_commit=on", "full_page_writes=on"];
    let Some(postgres) = postgres::own_with(&durable) else { return };
    let Some(redis) = RedisServer::start() else { return };
    let folder = folder();
    let (url, redis) = (postgres.schema_url("public"), redis.url());
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("SECRET_KEY", KEY),
        ("REDIS_URL", redis.as_str()),
        ("PUBLIC_URL", "https://todo.example.com"),
        ("TODO_SERVER_TRUSTED_PROXIES", "10.0.0.0/8"),
    ];
    let before = Report::of(folder.path(), &settings);
    before.says("schema", "failed", "m20261123_000001_people");
    migrate(folder.path(), &settings);
    let report = Report::of(folder.path(), &settings);
    report.nothing_is("failed");
    report.nothing_is("warning");
    report.says("configuration", "ok", "production mode");
    report.says("database", "ok", "PostgreSQL ");
    report.says("database_connections", "ok", "this instance takes up to 20");
    report.says("database_durability", "ok", "fsync is on");
    report.says("database_writes", "ok", "a write was made");
    report.says("clock", "ok", "the clock of the database");
    report.says("clock", "ok", "the clock of Redis");
    report.says("redis", "ok", "version");

    // More connections than there are: SETTINGS of the cluster say 300.
    let many = [settings.as_slice(), &[("TODO_DATABASE_MAX_CONNECTIONS", "200")]].concat();
    Report::of(folder.path(), &many).says("database_connections", "warning", "a second instance does not fit");
    let many = [settings.as_slice(), &[("TODO_DATABASE_MAX_CONNECTIONS", "400")]].concat();
    Report::of(folder.path(), &many).says("database_connections", "failed", "up to 400");
}

/// The tests' own cluster need not survive a crash.
#[tokio::test]
async fn what_a_crash_would_take_along_is_said() {
    let Some(postgres) = postgres::own_with(&[]) else { return };
    let folder = folder();
    let url = postgres.schema_url("public");
    let report = Report::of(folder.path(), &[("DATABASE_URL", &url), ("SECRET_KEY", KEY)]);
    report.says("database_durability", "failed", "fsync is off");
    report.says("database_durability", "failed", "synchronous_commit is off");
}

#[tokio::test]
async fn clocks_that_differ_are_said() {
    let Some(postgres) = postgres::server() else { return };
    let folder = folder();
    let schema = postgres.create_schema().await;
    let url = postgres.schema_url(&schema);
    // The database's clock, as this schema has it.
    let db = Database::connect(&url).await.expect("it answers");
    let skewed = |seconds: i32| {
        format!(
            "CREATE OR REPLACE FUNCTION {schema}.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
             'SELECT pg_catalog.clock_timestamp() + interval ''{seconds} s'''"
        )
    };
    let url = format!("{url},pg_catalog");
    for (seconds, status, direction) in [(10, "warning", "ahead of"), (-40, "failed", "behind")] {
        db.execute_unprepared(&skewed(seconds)).await.expect("it is made");
        let report = Report::of(folder.path(), &[("DATABASE_URL", &url), ("SECRET_KEY", KEY)]);
        report.says("clock", status, direction);
    }
    db.close().await.expect("it closes");
    postgres.drop_schema(&schema).await;
}

#[test]
fn what_is_away_is_named_without_its_password() {
    let folder = folder();
    let port = nobodys_port();
    let redis = format!("redis://me:hunter2@127.0.0.1:{port}/");
    let collector = format!("http://127.0.0.1:{port}");
    let settings = [("SECRET_KEY", KEY), ("REDIS_URL", redis.as_str()), ("TODO_TRACING_ENDPOINT", collector.as_str())];
    let report = Report::of(folder.path(), &settings);
    report.says("traces", "warning", "takes no spans");
    report.says("redis", "failed", &format!("127.0.0.1:{port}"));
    assert!(!report.everything.contains("hunter2"), "{}", report.everything);

    let database = format!("postgres://me:hunter2@127.0.0.1:{port}/todo");
    let report = Report::of(folder.path(), &[("SECRET_KEY", KEY), ("DATABASE_URL", database.as_str())]);
    report.says("database", "failed", &format!("127.0.0.1:{port}"));
    assert!(!report.everything.contains("hunter2"), "{}", report.everything);
}

/// It accepts, and says nothing.
#[test]
fn a_silent_database_and_a_silent_redis_are_not_waited_for_longer_than_ten_seconds() {
    let folder = folder();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("its address");
    let (database, redis) = (format!("postgres://me@{address}/todo"), format!("redis://{address}/"));
    let settings = [
        ("SECRET_KEY", KEY),
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", redis.as_str()),
        ("TODO_DATABASE_CONNECT_TIMEOUT", "5m"),
        ("TODO_DATABASE_ACQUIRE_TIMEOUT", "5m"),
    ];
    let begun = std::time::Instant::now();
    let report = Report::of(folder.path(), &settings);
    for check in ["database", "redis"] {
        assert!(!report.found(check, "failed").is_empty(), "{check}: {:#}", report.report);
    }
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

#[test]
fn a_folder_that_can_not_be_written_is_named() {
    let folder = folder();
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("a folder");
    fs::write(data.join("mail"), "no folder").expect("a file");
    let report = Report::of(folder.path(), &[("SECRET_KEY", KEY)]);
    report.says("mail", "failed", "data/mail can't be written");
    report.says("data_folder", "ok", "can be written");
    let below = data.join("mail/below").display().to_string();
    let report = Report::of(folder.path(), &[("SECRET_KEY", KEY), ("DATA_DIR", &below)]);
    report.says("data_folder", "failed", "can't be made");
}

#[test]
fn files_that_others_can_read_are_said() {
    let folder = folder();
    migrate(folder.path(), &[]);
    let data = folder.path().join("data");
    fs::write(data.join("secret_key"), KEY).expect("a file");
    set_mode(&data.join("secret_key"), 0o644);
    set_mode(folder.path(), 0o755);
    set_mode(&data, 0o755);
    set_mode(&data.join("todo.sqlite"), 0o644);
    let report = Report::of(folder.path(), &[]);
    report.says("secret_key", "failed", "secret_key can be read by others");
    report.says("database_file", "warning", "others on this machine can read");
    set_mode(&data, 0o700);
    let report = Report::of(folder.path(), &[("SECRET_KEY", KEY)]);
    assert!(report.found("database_file", "warning").is_empty(), "{:#}", report.report);
}

/// A step that was never applied, and one of a release that this binary does not know.
#[tokio::test]
async fn a_missing_step_and_a_newer_one_are_named() {
    let folder = folder();
    let settings = [("SECRET_KEY", KEY)];
    migrate(folder.path(), &settings);
    let url = format!("sqlite://{}", folder.path().join("data/todo.sqlite").display());
    let db = Database::connect(&url).await.expect("the file");
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20990101_000001_tomorrow', 0)";
    db.execute_unprepared(newer).await.expect("a row");
    let report = Report::of(folder.path(), &settings);
    report.nothing_is("failed");
    report.says("schema", "warning", "m20990101_000001_tomorrow");
    let forget = "DELETE FROM seaql_migrations WHERE version = 'm20261123_000001_people'";
    db.execute_unprepared(forget).await.expect("a row");
    db.close().await.expect("it closes");
    let report = Report::of(folder.path(), &settings);
    report.says("schema", "failed", "m20261123_000001_people");
}

#[test]
fn a_bad_setting_is_named_and_a_weak_or_unsafe_one_said() {
    let folder = folder();
    let report = Report::of(folder.path(), &[("TODO_LIMITS_COSTS", "5")]);
    report.says("configuration", "failed", "TODO_LIMITS_COSTS: unknown");

    let words = "a secret of thirty-two bytes or more";
    let weak = [
        ("SECRET_KEY", words),
        ("TODO_MODE", "production"),
        ("HOST", "0.0.0.0"),
        ("TODO_SERVER_PLAYGROUND", "on"),
        ("TODO_SERVER_METRICS", "on"),
        ("TODO_AUTH_SIGN_INS_PER_ADDRESS", "0"),
        ("TODO_WEBHOOKS_ALLOW_HTTP", "on"),
        ("TODO_WEBHOOKS_ALLOWED_CIDRS", "10.0.0.0/8"),
        ("PUBLIC_URL", "http://todo.example.com"),
        ("LOG_LEVEL", "debug"),
        ("SECRET_KEY_OLD", "another secret of thirty-two bytes or more"),
    ];
    let report = Report::of(folder.path(), &weak);
    report.says("secret_key", "failed", "made of words");
    report.says("secret_key", "warning", "SECRET_KEY_OLD");
    for words in ["PLAYGROUND", "METRICS", "SIGN_INS_PER_ADDRESS", "ALLOW_HTTP", "10.0.0.0/8", "is http", "LOG_LEVEL"] {
        report.says("configuration", "warning", words);
    }
    assert!(!report.everything.contains(words), "{}", report.everything);
}

/// A running server measures it, too; the tests' clock stands somewhere else than the database's.
#[tokio::test]
async fn a_server_says_how_far_clocks_are_apart() {
    TestApp::on_postgres(|app| async move {
        let Some(redis) = RedisServer::start() else { return };
        let app = app.another_instance(|config| {
            let timeout = std::time::Duration::from_secs(5);
            config.redis = Some(RedisConfig { url: redis.url(), timeout });
        });
        let app = app.await;
        #[allow(clippy::disallowed_methods, reason = "the machine's own clock is what this is about")]
        app.clock.set(chrono::Utc::now() - chrono::Duration::seconds(100));
        maintenance::compare_clocks(&app.state).await.expect("both answer");
        // What is queued goes by the database's.
        let ahead = app.clock.now_by_database() - app.clock.now();
        assert!((99..200).contains(&ahead.num_seconds()), "{ahead}");
        let text = app.state.metrics.text();
        for source in ["database", "redis"] {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("todo_clock_skew_seconds{{source=\"{source}\"}} ")));
            let seconds: f64 = line.unwrap_or_else(|| panic!("{text}")).parse().expect("a number");
            assert!((99.0..200.0).contains(&seconds), "{source}: {seconds}");
        }
    })
    .await;
}
