//! Settings: where they come from, and what is said of one that can't be used.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use todo_platform::base::{
    config::{Config, Encryption, Mode, settings},
    enums::PlanTier,
    secret::{Place, SIGNING_KEY},
};

const KEY: &str = "a secret of thirty-two bytes or more";

/// A settings file.
struct Settings {
    folder: TempDir,
    file: PathBuf,
}

impl Settings {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("settings.toml");
        fs::write(&file, text).expect("a settings file");
        Self { folder, file }
    }

    /// The settings of this file and this environment, or what is said against them.
    fn with(&self, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_parts(Some(&self.file), environment.collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn good(&self, environment: &[(&str, &str)]) -> Config {
        self.with(environment).unwrap_or_else(|error| panic!("{environment:?}: {error}"))
    }

    /// Refused, with all of these words.
    #[track_caller]
    fn bad(&self, environment: &[(&str, &str)], words: &[&str]) -> String {
        let error = match self.with(environment) {
            Ok(config) => panic!("{environment:?} was taken: {config:?}"),
            Err(error) => error,
        };
        for word in words {
            assert!(error.contains(word), "{environment:?}: {word:?} is not in {error:?}");
        }
        error
    }
}

fn good(environment: &[(&str, &str)]) -> Config {
    Settings::new("").good(environment)
}

#[track_caller]
fn bad(environment: &[(&str, &str)], words: &[&str]) -> String {
    Settings::new("").bad(environment, words)
}

const MINUTES: fn(u64) -> Duration = |minutes| Duration::from_secs(60 * minutes);

#[test]
fn without_any_setting_it_is_embedded_and_local() {
    let config = good(&[]);
    assert_eq!(config.mode, Mode::Embedded);
    assert_eq!((config.server.host.to_string(), config.server.port), ("127.0.0.1".to_owned(), 8000));
    assert_eq!(config.data_dir, PathBuf::from("data"));
    assert_eq!(config.database.url, "sqlite://data/todo.sqlite");
    assert_eq!(config.secret_key, None);
    assert_eq!(config.log_level, "info");
    assert!(config.server.playground);
    assert!(config.server.cors_origins.is_empty() && config.server.trusted_proxies.is_empty());
    assert_eq!(config.server.batch_limit, 1);
    assert_eq!(config.server.drain, Duration::from_secs(20));
    assert_eq!(config.auth.access_ttl, MINUTES(15));
    assert_eq!(config.auth.session_idle, MINUTES(30 * 24 * 60));
    assert_eq!(config.auth.session_absolute, MINUTES(90 * 24 * 60));
    assert_eq!(config.auth.refresh_overlap, Duration::from_secs(10));
    assert_eq!((config.auth.sign_ins_per_address, config.auth.sign_ins_per_account), (50, 5));
    assert_eq!((config.auth.registrations_per_address, config.mail.letters_per_mailbox), (20, 5));
    let limits = &config.limits;
    assert_eq!((limits.depth, limits.aliases, limits.root_fields, limits.tokens), (15, 30, 20, 5_000));
    assert_eq!((limits.directives, limits.document_directives, limits.cost), (10, 50, 1_000));
    assert_eq!(
        (limits.body_bytes, limits.body_timeout, limits.timeout),
        (1 << 20, Duration::from_secs(30), Duration::from_secs(10))
    );
    assert_eq!((limits.cost_per_minute, limits.anonymous_cost_per_minute), (None, 5_000));
    assert!(config.server.metrics && config.redis.is_none());
    assert_eq!(config.plans.default, PlanTier::Enterprise);
}

#[test]
fn the_file_has_the_same_keys_in_sections() {
    let file = Settings::new(
        r#"
        host = "0.0.0.0"
        port = 9000
        secret_key = "a secret of thirty-two bytes or more"
        cors_origins = ["https://a.example", "http://localhost:3000"]
        mode = "production"
        [server]
        playground = true
        trusted_proxies = ["10.0.0.0/8"]
        batch_limit = 5
        [auth]
        access_ttl = "5m"
        sign_ins_per_address = 0
        [limits]
        cost = 2000
        [database]
        max_connections = 7
        [plans]
        default = "FREE"
        "#,
    );
    let config = file.good(&[]);
    assert_eq!((config.server.host.to_string(), config.server.port), ("0.0.0.0".to_owned(), 9000));
    assert_eq!((config.mode, config.server.playground), (Mode::Production, true));
    assert_eq!(config.server.cors_origins, ["https://a.example", "http://localhost:3000"]);
    assert_eq!(config.server.trusted_proxies.len(), 1);
    assert_eq!((config.server.batch_limit, config.limits.cost, config.database.max_connections), (5, 2_000, 7));
    assert_eq!((config.auth.access_ttl, config.auth.sign_ins_per_address), (MINUTES(5), 0));
    assert_eq!(config.plans.default, PlanTier::Free);
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = Settings::new(
        "port = 9000\ncors_origins = [\"https://a.example\"]\n[auth]\naccess_ttl = \"5m\"\nrefresh_overlap = \"7s\"\n[limits]\ncost = 7\n",
    );
    let environment = [
        ("PORT", "9001"),
        ("TODO_AUTH_ACCESS_TTL", "90s"),
        ("TODO_LIMITS_COST", "8"),
        ("CORS_ORIGINS", "https://b.example"),
        ("HOME", "/root"),
        ("PATH", "/bin"),
    ];
    let config = file.good(&environment);
    assert_eq!(config.server.port, 9001);
    assert_eq!(config.auth.access_ttl, Duration::from_secs(90));
    assert_eq!(config.auth.refresh_overlap, Duration::from_secs(7), "the rest of the section stays");
    assert_eq!(config.limits.cost, 8);
    assert_eq!(config.server.cors_origins, ["https://b.example"]);
}

#[test]
fn an_unknown_name_is_named() {
    for name in [
        "TODO_NONSENSE",
        "TODO_SERVER_NONSENSE",
        "TODO_AUTH_ACCESS_TLL",
        "TODO_NO_SUCH_SECTION",
        "TODO_DATABASE_URL",
        "TODO_",
    ] {
        bad(&[(name, "1")], &[name]);
    }
    // Others' variables are none of ours.
    good(&[("TODOLIST", "1"), ("NONSENSE", "1"), ("SERVER_PLAYGROUND", "off")]);
}

#[test]
fn an_unknown_key_of_the_file_is_named_with_the_file() {
    for (text, key) in
        [("nonsense = 1", "nonsense"), ("[server]\nnonsense = 1", "server.nonsense"), ("[nonsense]\na = 1", "nonsense")]
    {
        Settings::new(text).bad(&[], &[key, "settings.toml"]);
    }
    Settings::new("port = \"many\"").bad(&[], &["port", "many", "settings.toml"]);
    Settings::new("[auth]\naccess_ttl = \"soon\"").bad(&[], &["auth.access_ttl", "settings.toml"]);
}

#[test]
fn a_file_that_is_no_toml_is_named() {
    for text in ["port = ", "[server", "port == 1", "\u{0}", "just words"] {
        Settings::new(text).bad(&[], &["settings.toml"]);
    }
    let missing =
        Settings { file: PathBuf::from("/nowhere/settings.toml"), folder: tempfile::tempdir().expect("a folder") };
    missing.bad(&[], &["--config", "/nowhere/settings.toml"]);
    let settings = Settings::new("");
    let folder = Settings { file: settings.folder.path().to_owned(), folder: tempfile::tempdir().expect("a folder") };
    folder.bad(&[], &["--config"]);
    fs::write(&settings.file, b"host = \"\xff\"").expect("a file that is no text");
    settings.bad(&[], &["settings.toml"]);
}

#[test]
fn a_value_that_can_not_be_used_is_named() {
    let cases: &[(&str, &[&str])] = &[
        ("PORT", &["abc", "65536", "-1", "80.5", "80 80"]),
        ("HOST", &["not a host", "example.com", "1.2.3"]),
        ("TODO_MODE", &["prod", "PRODUCTION"]),
        ("TODO_AUTH_ACCESS_TTL", &["15", "soon", "16m", "15m 1s", "0s", "-5m"]),
        ("TODO_AUTH_SESSION_IDLE", &["forever", "91d"]),
        ("TODO_AUTH_SIGN_INS_PER_ADDRESS", &["many", "-1", "1.5"]),
        ("TODO_SERVER_TRUSTED_PROXIES", &["10.0.0.0/33", "10.0.0", "10.0.0.0/8,nonsense", "proxy.example"]),
        ("TODO_SERVER_PLAYGROUND", &["maybe", "yes!"]),
        ("TODO_SERVER_BATCH_LIMIT", &["0", "-1", "lots"]),
        ("TODO_SERVER_DRAIN", &["20"]),
        ("TODO_LIMITS_COST", &["-1", "cheap"]),
        ("TODO_LIMITS_COST_PER_MINUTE", &["-1", "2147483648", "cheap"]),
        ("TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE", &["-1", "2147483648", "cheap"]),
        ("TODO_REDIS_TIMEOUT", &["0s", "soon"]),
        ("TODO_SERVER_METRICS", &["maybe"]),
        (
            "TODO_WEBHOOKS_ALLOWED_CIDRS",
            &["10.0.0.0/33", "10.0.0.1", "internal.example", "0.0.0.0/0", "10.0.0.0/8,::/0"],
        ),
        ("TODO_WEBHOOKS_ALLOW_HTTP", &["maybe"]),
        ("TODO_WEBHOOKS_RETRY_SCHEDULE", &["soon", "0s,5", "0s,,later", "-5s", "0s,7d 1s", "0s,8d", ","]),
        ("TODO_WEBHOOKS_DISABLE_AFTER", &["5", "never", "-1d"]),
        ("TODO_WEBHOOKS_RETENTION", &["30", "59m 59s", "0s", "for ever"]),
        ("TODO_DATABASE_MAX_CONNECTIONS", &["0", "-1", "x"]),
        ("TODO_PLANS_DEFAULT", &["GOLD"]),
        (
            "CORS_ORIGINS",
            &[
                "*",
                "null",
                "https://a.example/",
                "https://a.example/path",
                "a.example",
                "ftp://a.example",
                "https://",
                "https://a.example,*",
            ],
        ),
        ("DATABASE_URL", &["mysql://localhost/db", "todo.sqlite", "postgres:/x", "sqlite:x"]),
        // The database itself is SQLite here.
        ("DATABASE_READ_URL", &["sqlite://copy.sqlite", "postgres://localhost/db"]),
        ("REDIS_URL", &["http://localhost", "localhost:6379"]),
        ("PUBLIC_URL", &["todo.example.com", "ftp://todo.example.com"]),
        ("SECRET_KEY", &["short", "thirty-one bytes are not enough"]),
        ("LOG_LEVEL", &["a=b=c", "todo_platform=loud", "loud", "verbose", "info,loud"]),
    ];
    for (name, values) in cases {
        for value in *values {
            let mut environment = vec![(*name, *value)];
            if *name != "SECRET_KEY" {
                environment.push(("SECRET_KEY", KEY));
            }
            bad(&environment, &[name]);
        }
    }
}

#[test]
fn a_secret_is_never_part_of_a_complaint() {
    let error = bad(&[("SECRET_KEY", "hunter2")], &["SECRET_KEY", "32"]);
    assert!(!error.contains("hunter2"), "{error}");
    let error = bad(&[("DATABASE_URL", "mysql://me:hunter2@localhost/db")], &["DATABASE_URL"]);
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn production_makes_nothing_up() {
    let postgres = ("DATABASE_URL", "postgres://localhost/todo");
    bad(&[postgres], &["SECRET_KEY", "production"]);
    bad(&[("DATABASE_URL", "postgresql://localhost/todo")], &["SECRET_KEY", "production"]);
    bad(&[("TODO_MODE", "production")], &["SECRET_KEY", "production"]);
    bad(&[("TODO_MODE", "production"), ("SECRET_KEY", "")], &["SECRET_KEY", "production"]);
    let config = good(&[postgres, ("SECRET_KEY", KEY)]);
    assert_eq!((config.mode, config.server.playground), (Mode::Production, false));
    assert!(!good(&[postgres, ("SECRET_KEY", KEY)]).server.metrics);
    let config = good(&[postgres, ("SECRET_KEY", KEY), ("TODO_SERVER_PLAYGROUND", "on")]);
    assert!(config.server.playground, "unless told");
    let config = good(&[postgres, ("TODO_MODE", "embedded")]);
    assert_eq!((config.mode, config.server.playground), (Mode::Embedded, true));
}

#[test]
fn text_that_looks_like_a_number_stays_text() {
    let digits = "12345678901234567890123456789012";
    assert_eq!(good(&[("SECRET_KEY", digits)]).secret_key.as_deref(), Some(digits));
    let zeros = "00000000000000000000000000000000.10";
    assert_eq!(good(&[("SECRET_KEY", zeros)]).secret_key.as_deref(), Some(zeros));
    let brackets = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]";
    assert_eq!(good(&[("SECRET_KEY", brackets)]).secret_key.as_deref(), Some(brackets));
    assert_eq!(good(&[("DATA_DIR", "007")]).data_dir, PathBuf::from("007"));
    assert_eq!(good(&[("DATA_DIR", "true")]).data_dir, PathBuf::from("true"));
    let quoted = "\"a secret of thirty-two bytes or more\"";
    assert_eq!(good(&[("SECRET_KEY", quoted)]).secret_key.as_deref(), Some(quoted), "quotes belong to it");
}

#[test]
fn an_empty_value_means_not_set() {
    let file = Settings::new("port = 9000\n[server]\nplayground = false\n");
    let empty = [
        "PORT",
        "HOST",
        "DATA_DIR",
        "DATABASE_URL",
        "DATABASE_READ_URL",
        "REDIS_URL",
        "SECRET_KEY",
        "CORS_ORIGINS",
        "PUBLIC_URL",
        "LOG_LEVEL",
        "TODO_MODE",
        "TODO_SERVER_PLAYGROUND",
        "TODO_AUTH_ACCESS_TTL",
        "TODO_SERVER_TRUSTED_PROXIES",
    ];
    let config = file.good(&empty.map(|name| (name, "")));
    assert_eq!((config.server.port, config.server.playground), (9000, false), "the file's value stays");
    assert_eq!((config.mode, config.secret_key), (Mode::Embedded, None));
    assert_eq!(config.auth.access_ttl, MINUTES(15));
}

#[test]
fn lists_are_written_with_commas() {
    let config = good(&[
        ("CORS_ORIGINS", " https://a.example , http://localhost:3000,"),
        ("TODO_SERVER_TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8"),
    ]);
    assert_eq!(config.server.cors_origins, ["https://a.example", "http://localhost:3000"]);
    let proxies: Vec<String> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "fd00::/8"]);
    assert_eq!(good(&[("CORS_ORIGINS", "https://a.example")]).server.cors_origins, ["https://a.example"]);
}

#[test]
fn values_may_be_written_in_their_usual_ways() {
    for (value, expected) in [("on", true), ("true", true), ("1", true), ("off", false), ("false", false), ("0", false)]
    {
        assert_eq!(good(&[("TODO_SERVER_PLAYGROUND", value)]).server.playground, expected, "{value}");
    }
    for (value, expected) in [
        ("15m", MINUTES(15)),
        ("900s", MINUTES(15)),
        ("1m 30s", Duration::from_secs(90)),
        ("1s", Duration::from_secs(1)),
    ] {
        assert_eq!(good(&[("TODO_AUTH_ACCESS_TTL", value)]).auth.access_ttl, expected, "{value}");
    }
    assert_eq!(good(&[("HOST", "localhost")]).server.host.to_string(), "127.0.0.1");
    assert_eq!(good(&[("HOST", "::")]).server.host.to_string(), "::");
    assert_eq!(good(&[("PORT", "0")]).server.port, 0);
    assert_eq!(
        good(&[("PUBLIC_URL", "https://todo.example/")]).server.public_url.as_deref(),
        Some("https://todo.example")
    );
    assert_eq!(good(&[("DATA_DIR", "/var/lib/todo")]).database.url, "sqlite:///var/lib/todo/todo.sqlite");
}

#[test]
fn the_generated_secret_is_kept_for_its_owner_alone() {
    let settings = Settings::new("");
    let data = settings.folder.path().join("new").join("data");
    let data_dir = data.display().to_string();
    let config = settings.good(&[("DATA_DIR", &data_dir)]);
    let place = Place::new(SIGNING_KEY, None, "id");
    let sealed = config.secret().expect("a secret").seal(&place, b"plain").expect("it seals");
    let file = data.join("secret_key");
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&file).expect("text");
    assert!(kept.trim().len() >= 32);
    let again = settings.good(&[("DATA_DIR", &data_dir)]).secret().expect("the same secret");
    assert_eq!(again.open(&place, &sealed).expect("it opens"), b"plain");
    assert_eq!(fs::read_to_string(&file).expect("text"), kept);
    // A configured one is used instead.
    let configured = settings.good(&[("DATA_DIR", &data_dir), ("SECRET_KEY", KEY)]).secret().expect("a secret");
    assert!(configured.open(&place, &sealed).is_err());
    // Another folder, another secret.
    let other = settings.folder.path().join("other").display().to_string();
    let other = settings.good(&[("DATA_DIR", &other)]).secret().expect("a secret");
    assert!(other.open(&place, &sealed).is_err());
}

#[test]
fn a_damaged_or_unreadable_secret_is_said_and_not_replaced() {
    let settings = Settings::new("");
    let data_dir = settings.folder.path().display().to_string();
    let file = settings.folder.path().join("secret_key");
    fs::write(&file, "short").expect("a damaged file");
    let error = settings.good(&[("DATA_DIR", &data_dir)]).secret().expect_err("too short").to_string();
    assert!(error.contains("DATA_DIR") && error.contains("secret_key") && error.contains("too short"), "{error}");
    assert_eq!(fs::read_to_string(&file).expect("text"), "short");
    let below_a_file = settings.file.join("data").display().to_string();
    let error = settings.good(&[("DATA_DIR", &below_a_file)]).secret().expect_err("no folder").to_string();
    assert!(error.contains("DATA_DIR") && error.contains(&below_a_file), "{error}");
}

#[test]
fn the_secret_does_not_show_in_debug_output() {
    let config = good(&[("SECRET_KEY", "hunter2hunter2hunter2hunter2hunter2")]);
    assert!(!format!("{:?}", config.secret().expect("a secret")).contains("hunter2"));
    let url = "postgres://me:hunter2@localhost/todo";
    let config = good(&[("SECRET_KEY", "swordfish swordfish swordfish swordfish"), ("DATABASE_URL", url)]);
    let shown = format!("{config:?}");
    assert!(!shown.contains("swordfish") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn events_are_kept_for_a_day_at_least() {
    let retention = |text: &str| good(&[("TODO_LEDGER_RETENTION", text)]).ledger.retention;
    assert_eq!(good(&[]).ledger.retention, None);
    assert_eq!(retention("1d"), Some(MINUTES(24 * 60)));
    assert_eq!(retention("90 days"), Some(MINUTES(90 * 24 * 60)));
    assert_eq!(Settings::new("[ledger]\nretention = \"2d\"").good(&[]).ledger.retention, Some(MINUTES(2 * 24 * 60)));
    bad(&[("TODO_LEDGER_RETENTION", "23h 59m")], &["TODO_LEDGER_RETENTION", "at least 1d"]);
    bad(&[("TODO_LEDGER_RETENTION", "for ever")], &["TODO_LEDGER_RETENTION"]);
}

#[test]
fn what_is_purged_by_age_is_kept_for_a_day_at_least() {
    let days = |days: u64| MINUTES(days * 24 * 60);
    let config = good(&[]);
    let auth = config.auth;
    assert_eq!((auth.session_retention, auth.security_log_retention), (days(90), days(400)));
    assert_eq!((auth.token_retention, auth.invitation_retention), (days(7), days(30)));
    assert_eq!(config.mail.retention, days(30));
    assert_eq!(good(&[("TODO_MAIL_RETENTION", "1d")]).mail.retention, days(1));
    assert_eq!(Settings::new("[auth]\nsession_retention = \"2d\"").good(&[]).auth.session_retention, days(2));
    for name in [
        "TODO_AUTH_SESSION_RETENTION",
        "TODO_AUTH_SECURITY_LOG_RETENTION",
        "TODO_AUTH_TOKEN_RETENTION",
        "TODO_AUTH_INVITATION_RETENTION",
        "TODO_MAIL_RETENTION",
    ] {
        bad(&[(name, "23h")], &[name, "at least 1d"]);
    }
}

#[test]
fn an_smtp_server_is_named_by_its_url() {
    let server = |url: &str| good(&[("TODO_MAIL_SMTP_URL", url)]).mail.smtp().expect("it is good").expect("one is set");
    assert!(good(&[]).mail.smtp().expect("it is good").is_none());
    let found = server("smtps://me%40example.com:p%3Ass@mail.example.com");
    assert_eq!((found.host.as_str(), found.port, found.encryption), ("mail.example.com", 465, Encryption::Tls));
    assert_eq!(found.login, Some(("me@example.com".to_owned(), "p:ss".to_owned())));
    for url in ["smtp://mail.example.com", "smtp://mail.example.com:587/?tls=required"] {
        assert_eq!((server(url).port, server(url).encryption), (587, Encryption::StartTls));
    }
    let plain = server("smtp://[::1]:2525?tls=none");
    assert_eq!((plain.host.as_str(), plain.port, plain.encryption), ("::1", 2525, Encryption::None));
    assert!(!plain.is_open() && server("smtp://relay?tls=none").is_open());
    server("smtp://me:hunter2@localhost?tls=none");
    let refused = [
        "mail.example.com",
        "https://mail.example.com",
        "smtp://",
        "smtps://mail.example.com:0",
        "smtps://mail.example.com?tls=none",
        "smtp://mail.example.com?tls=opportunistic",
        "smtp://mail.example.com?tls=required&tls=none",
        "smtp://mail.example.com/name",
        "smtp://me@mail.example.com",
        "smtp://:hunter2@mail.example.com",
        "smtp://me:hunter2@mail.example.com?tls=none",
        "smtps://me:hunter2%ff@mail.example.com",
    ];
    for url in refused {
        let said = bad(&[("TODO_MAIL_SMTP_URL", url)], &["TODO_MAIL_SMTP_URL"]);
        assert!(!said.contains("hunter2"), "{said}");
    }
    assert!(!format!("{:?}", good(&[("TODO_MAIL_SMTP_URL", "smtps://me:hunter2@h")]).mail).contains("hunter2"));
    bad(&[("TODO_MAIL_TIMEOUT", "1ms")], &["TODO_MAIL_TIMEOUT", "100ms to 5m"]);
    bad(&[("TODO_MAIL_RETRY_PAUSE", "2m")], &["TODO_MAIL_RETRY_PAUSE", "10ms to 1m"]);
}

#[test]
fn usage_is_kept_for_days_at_least() {
    let retention = |text: &str| good(&[("TODO_USAGE_RETENTION", text)]).usage.retention;
    assert_eq!(good(&[]).usage.retention, MINUTES(400 * 24 * 60));
    assert_eq!(retention("3d"), MINUTES(3 * 24 * 60));
    bad(&[("TODO_USAGE_RETENTION", "2d 23h")], &["TODO_USAGE_RETENTION", "at least 3d"]);
    bad(&[("TODO_USAGE_RETENTION", "for ever")], &["TODO_USAGE_RETENTION"]);
}

#[test]
fn outgoing_requests_stay_outside_unless_told() {
    let config = good(&[]);
    assert!(config.webhooks.allowed_cidrs.is_empty() && !config.webhooks.allow_http);
    let environment = [("TODO_WEBHOOKS_ALLOWED_CIDRS", "10.1.0.0/16, fd00:1::/32"), ("TODO_WEBHOOKS_ALLOW_HTTP", "on")];
    let config = good(&environment);
    assert_eq!(config.webhooks.allowed_cidrs.len(), 2);
    assert!(config.webhooks.allow_http);
    let file = Settings::new("[webhooks]\nallowed_cidrs = [\"10.1.2.3/32\"]\nallow_http = true");
    let config = file.good(&[("TODO_WEBHOOKS_ALLOW_HTTP", "0")]);
    assert_eq!((config.webhooks.allowed_cidrs.len(), config.webhooks.allow_http), (1, false));
}

#[test]
fn deliveries_are_tried_by_a_schedule() {
    let hours = |hours: u64| MINUTES(60 * hours);
    let webhooks = good(&[]).webhooks;
    let seconds = Duration::from_secs;
    let waits = [seconds(0), seconds(5), MINUTES(5), MINUTES(30)].into_iter().chain([2, 5, 10, 14, 20, 24].map(hours));
    assert_eq!(webhooks.schedule(), waits.collect::<Vec<_>>());
    assert_eq!((webhooks.disable_after, webhooks.retention), (hours(5 * 24), hours(30 * 24)));

    let schedule = |text: &str| good(&[("TODO_WEBHOOKS_RETRY_SCHEDULE", text)]).webhooks.schedule();
    assert_eq!(schedule("0s"), [seconds(0)], "one attempt alone");
    assert_eq!(schedule(" 0s , 1m 30s, 7d "), [seconds(0), seconds(90), hours(7 * 24)]);
    let many = |count: usize| vec!["0s"; count].join(",");
    assert_eq!(schedule(&many(15)).len(), 15);
    bad(&[("TODO_WEBHOOKS_RETRY_SCHEDULE", &many(16))], &["TODO_WEBHOOKS_RETRY_SCHEDULE", "1 to 15"]);
    bad(&[("TODO_WEBHOOKS_RETRY_SCHEDULE", "5s,1m")], &["TODO_WEBHOOKS_RETRY_SCHEDULE", "begins with `0s`"]);
    bad(&[("TODO_WEBHOOKS_RETRY_SCHEDULE", "0s,7d 1s")], &["TODO_WEBHOOKS_RETRY_SCHEDULE", "at most 7d"]);
    bad(&[("TODO_WEBHOOKS_RETENTION", "59m")], &["TODO_WEBHOOKS_RETENTION", "at least 1h"]);
    let text = "[webhooks]\nretry_schedule = [\"0s\", \"1m\"]\ndisable_after = \"1d\"\nretention = \"1h\"";
    let webhooks = Settings::new(text).good(&[("TODO_WEBHOOKS_DISABLE_AFTER", "0s")]).webhooks;
    assert_eq!(webhooks.schedule(), [seconds(0), MINUTES(1)]);
    assert_eq!((webhooks.disable_after, webhooks.retention), (Duration::ZERO, hours(1)));
    Settings::new("[webhooks]\nretry_schedule = []").bad(&[], &["webhooks.retry_schedule (in ", "1 to 15"]);
}

#[test]
fn billing_is_whole_or_not_there() {
    let all = [
        ("TODO_BILLING_WEBHOOK_SECRET", "whsec_of_the_provider"),
        ("TODO_BILLING_PRICES", "price_1=STARTER, price_2=PROFESSIONAL"),
        ("TODO_BILLING_PORTAL_URL", "https://pay.example.com"),
    ];
    let billing = good(&all).billing;
    assert!(billing.is_on() && billing.prices.len() == 2);
    assert!(!format!("{billing:?}").contains("whsec"), "the secret stays out of logs");
    assert!(!good(&[]).billing.is_on());
    for left_out in 0..3 {
        let mut some = all.to_vec();
        let (name, _) = some.remove(left_out);
        bad(&some, &[name, "all of secret, prices and portal URL"]);
    }
    let with = |index: usize, value: &'static str| {
        let mut changed = all;
        changed[index].1 = value;
        changed
    };
    bad(&with(0, "short"), &["TODO_BILLING_WEBHOOK_SECRET", "at least 16"]);
    for prices in ["price_1", "price_1=GOLD", "=STARTER"] {
        bad(&with(1, prices), &["TODO_BILLING_PRICES", "price_1234=PROFESSIONAL"]);
    }
    bad(&with(2, "pay.example.com"), &["TODO_BILLING_PORTAL_URL", "https://"]);
    bad(&[("TODO_CALLBACKS_RETENTION", "1h")], &["TODO_CALLBACKS_RETENTION", "at least 1d"]);
}

#[test]
fn a_bad_value_is_named_as_it_is_written() {
    bad(&[("TODO_SERVER_BATCH_LIMIT", "0")], &["TODO_SERVER_BATCH_LIMIT", "at least 1"]);
    let file = Settings::new("log_level = \"loud\"\n[server]\nbatch_limit = 0\n");
    file.bad(&[("LOG_LEVEL", "loud")], &["LOG_LEVEL: "]);
    file.bad(&[], &["log_level (in ", "settings.toml"]);
    let error = file.bad(&[("LOG_LEVEL", "info")], &["server.batch_limit (in ", "settings.toml"]);
    assert!(!error.contains("TODO_"), "{error}");
    file.bad(&[("LOG_LEVEL", "info"), ("TODO_SERVER_BATCH_LIMIT", "0")], &["TODO_SERVER_BATCH_LIMIT: at least 1"]);
}

/// The checks name settings by their paths, as text: each of them is one.
#[test]
fn what_a_check_names_is_a_setting() {
    let mut checked = 0;
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/base/config")).expect("the folder") {
        let text = fs::read_to_string(file.expect("a file").path()).expect("a source file");
        let quoted = text.split('"').skip(1).step_by(2);
        let is_path = |word: &&str| {
            let mut parts = word.split('.');
            let is_name = |part: Option<&str>| {
                part.is_some_and(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            };
            is_name(parts.next()) && is_name(parts.next()) && parts.next().is_none()
        };
        // The one word of this form that is no setting is the database's file.
        for path in quoted.filter(is_path).filter(|path| *path != "todo.sqlite") {
            let (section, name) = path.split_once('.').expect("two parts");
            let error = Settings::new(&format!("[{section}]\n{name} = [[[]]]\n")).bad(&[], &[path]);
            assert!(!error.contains("unknown"), "{path}: {error}");
            checked += 1;
        }
    }
    assert!(checked >= 30, "{checked} paths were found");
}

#[test]
fn a_server_is_a_subgraph_where_that_is_said() {
    assert!(!good(&[]).server.federation);
    assert!(good(&[("TODO_SERVER_FEDERATION", "on")]).server.federation);
    let file = Settings::new("[server]\nfederation = true");
    assert!(file.good(&[]).server.federation);
    assert!(!file.good(&[("TODO_SERVER_FEDERATION", "off")]).server.federation);
    bad(&[("TODO_SERVER_FEDERATION", "v2")], &["TODO_SERVER_FEDERATION"]);
}

/// The tables of `docs/CONFIGURATION.md` have every setting once, under its names and with its default.
#[test]
fn the_page_of_settings_is_current() {
    let page = include_str!("../../docs/CONFIGURATION.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").flat_map(|cell| cell.split("`, `")).map(str::trim).collect())
        .collect();
    let bare = |cell: &str| cell.trim_matches('`').to_owned();
    let mut missing = Vec::new();
    for setting in settings() {
        let of_it: Vec<_> = rows.iter().filter(|row| bare(row[0]) == setting.variable).collect();
        let [row] = of_it.as_slice() else {
            missing.push(format!("{} has {} rows", setting.variable, of_it.len()));
            continue;
        };
        if row[1].split('`').find(|part| !part.trim().is_empty()) != Some(setting.key.as_str()) {
            missing.push(format!("{}: the file's key is {}", setting.variable, setting.key));
        }
        if !is_said(row[2], &setting.default) {
            missing.push(format!("{}: the default is {}, the page says {}", setting.variable, setting.default, row[2]));
        }
    }
    assert!(missing.is_empty(), "docs/CONFIGURATION.md has drifted: {missing:#?}");
    let known: Vec<String> = settings().into_iter().map(|setting| setting.variable).collect();
    for row in rows.iter().filter(|row| row[0].starts_with("`TODO_")) {
        assert!(known.contains(&bare(row[0])), "docs/CONFIGURATION.md has {}, which is no setting", row[0]);
    }
}

/// Whether a table's cell is a default. What depends on the mode or the machine is null in the settings, and said in words.
fn is_said(cell: &str, default: &Value) -> bool {
    let literal = cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`'));
    let Some(literal) = literal.filter(|literal| !literal.contains('`')) else {
        return default.is_null() || default.as_array().is_some_and(Vec::is_empty);
    };
    let duration = |text: &str| humantime::parse_duration(text).ok();
    match default {
        Value::Bool(on) => literal == if *on { "on" } else { "off" },
        Value::Number(number) => literal == number.to_string(),
        Value::String(text) => literal == text || duration(text).is_some() && duration(literal) == duration(text),
        Value::Array(list) => {
            let said: Vec<&str> = literal.split(',').collect();
            said.len() == list.len() && said.iter().zip(list).all(|(said, value)| is_said(&format!("`{said}`"), value))
        }
        // Of what has no fixed default, one that holds in a mode: `on` where it is not switched off.
        Value::Null => ["on", "off"].contains(&literal),
        Value::Object(_) => false,
    }
}
