//! The settings, which have been read: what is unsafe among them, or surely not meant.

use std::{fs, net::IpAddr, os::unix::fs::PermissionsExt as _, path::Path};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::finding::{Finding, Status};
use crate::base::config::{Config, DEFAULT_FILE, Mode};

const CHECK: &str = "configuration";

pub fn look_at(config: &Config, file: Option<&Path>) -> Vec<Finding> {
    let file = file.unwrap_or(Path::new(DEFAULT_FILE));
    let mut findings = vec![mode(config, file)];
    findings.extend(secrets(config, file));
    findings.extend(server(config));
    findings.extend(limits(config));
    findings.extend(ways_out(config));
    findings
}

fn mode(config: &Config, file: &Path) -> Finding {
    let mode = match config.mode {
        Mode::Embedded => "embedded",
        Mode::Production => "production",
    };
    let source = if file.is_file() {
        format!("{} and the environment", file.display())
    } else {
        "the environment, without a file".to_owned()
    };
    Finding::ok(CHECK, format!("{mode} mode; every setting of {source} can be used"))
}

fn secrets(config: &Config, file: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &config.secret_key {
        None => findings.push(Finding::ok("secret_key", "none is set: the one in DATA_DIR/secret_key counts")),
        Some(key) => match weakness(key) {
            None => findings.push(Finding::ok("secret_key", format!("set, {} bytes, looks random", key.len()))),
            Some(weakness) => findings.push(Finding {
                check: "secret_key",
                // Whoever guesses it signs in as anybody.
                status: if config.mode == Mode::Production { Status::Failed } else { Status::Warning },
                found: format!("SECRET_KEY can be guessed: {weakness}"),
                advice: Some(
                    "make one with `openssl rand -base64 48`; docs/CONFIGURATION.md says how to change it".to_owned(),
                ),
            }),
        },
    }
    if !config.secret_key_old.is_empty() {
        findings.push(Finding::warning(
            "secret_key",
            format!(
                "SECRET_KEY_OLD has {} secret(s) of before, which still open and verify",
                config.secret_key_old.len()
            ),
            "run `todo-platform admin reencrypt`, and remove it when nothing is left",
        ));
    }
    let in_file = config.secret_key.is_some() && std::env::var_os("SECRET_KEY").is_none();
    let mode = fs::metadata(file).map_or(0, |file| file.permissions().mode());
    if in_file && mode & 0o077 != 0 {
        findings.push(Finding::warning(
            "secret_key",
            format!("SECRET_KEY is in {}, which others on this machine may read ({:o})", file.display(), mode & 0o777),
            "chmod 600, or take it from the environment",
        ));
    }
    findings
}

/// Why a secret is easier to guess than its length says.
fn weakness(key: &str) -> Option<&'static str> {
    let mut bytes: Vec<u8> = key.bytes().collect();
    bytes.sort_unstable();
    bytes.dedup();
    // 32 random hexadecimal digits have fewer than this once in ten thousand times.
    if bytes.len() < 9 {
        return Some("it repeats a few characters");
    }
    let is_word = |c: char| c.is_alphabetic() || c.is_whitespace() || "-_.,'".contains(c);
    let letters = || key.chars().filter(|c| c.is_alphabetic());
    if key.chars().all(is_word) && (letters().all(char::is_lowercase) || letters().all(char::is_uppercase)) {
        return Some("it is made of words");
    }
    ["change", "secret", "example", "password"]
        .iter()
        .any(|word| key.to_lowercase().contains(word))
        .then_some("it looks like a placeholder")
}

fn server(config: &Config) -> Vec<Finding> {
    let server = &config.server;
    let (production, open) = (config.mode == Mode::Production, !server.host.is_loopback());
    let mut findings = Vec::new();
    let mut warn = |is_so: bool, found: &str, advice: &str| {
        if is_so {
            findings.push(Finding::warning(CHECK, found, advice));
        }
    };
    warn(
        !production && open,
        "embedded mode listens beyond this machine: the playground and /metrics are open to whoever reaches it",
        "set TODO_MODE=production, or HOST=127.0.0.1",
    );
    let url = server.public_url.as_deref();
    warn(
        production && url.is_none(),
        "PUBLIC_URL is not set: e-mails and addresses of inbound hooks name what the server listens on",
        "set it to the address that clients use",
    );
    let plain = url.is_some_and(|url| url.starts_with("http://") && !is_local(url));
    warn(plain, "PUBLIC_URL is http: passwords and tokens can be read on their way", "serve https by a proxy");
    let behind_proxy = url.is_some_and(|url| url.starts_with("https://"));
    warn(
        behind_proxy && server.trusted_proxies.is_empty(),
        "PUBLIC_URL is https, which a proxy serves, and TODO_SERVER_TRUSTED_PROXIES is empty: to limits, all clients \
         have the proxy's address",
        "name the proxy's network",
    );
    warn(
        server.trusted_proxies.iter().any(|network| network.prefix_len() == 0),
        "TODO_SERVER_TRUSTED_PROXIES is every address: clients choose the address that limits go by",
        "name the proxy's network",
    );
    warn(
        production && server.playground,
        "TODO_SERVER_PLAYGROUND is on in production",
        "turn it off unless it is meant for the public",
    );
    warn(
        production && server.metrics && open,
        "TODO_SERVER_METRICS is on, and /metrics asks for no credentials",
        "let the proxy hide it",
    );
    let plain = server.cors_origins.iter().find(|origin| origin.starts_with("http://") && !is_local(origin));
    warn(production && plain.is_some(), "CORS_ORIGINS has an http origin", "name origins with https alone");
    let filter = EnvFilter::try_new(&config.log_level).ok();
    let level = filter.and_then(|filter| filter.max_level_hint()).unwrap_or(LevelFilter::INFO);
    warn(
        production && level > LevelFilter::INFO,
        "LOG_LEVEL is debug or trace: several lines for each statement",
        "set it to info when you have seen what you looked for",
    );
    findings
}

fn limits(config: &Config) -> Vec<Finding> {
    let (auth, limits) = (&config.auth, &config.limits);
    let off = [
        ("TODO_AUTH_SIGN_INS_PER_ADDRESS", auth.sign_ins_per_address == 0),
        ("TODO_AUTH_SIGN_INS_PER_ACCOUNT", auth.sign_ins_per_account == 0),
        ("TODO_AUTH_REGISTRATIONS_PER_ADDRESS", auth.registrations_per_address == 0),
        ("TODO_MAIL_LETTERS_PER_MAILBOX", config.mail.letters_per_mailbox == 0),
        ("TODO_LIMITS_COST_PER_MINUTE", limits.cost_per_minute == Some(0)),
        ("TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE", limits.anonymous_cost_per_minute == 0),
    ];
    let off: Vec<&str> = off.into_iter().filter(|(_, is_off)| *is_off).map(|(name, _)| name).collect();
    if off.is_empty() {
        return Vec::new();
    }
    let found = format!("limits are turned off: {}", off.join(", "));
    vec![Finding::warning(CHECK, found, "leave them at their defaults where strangers can reach the server")]
}

/// What leaves the server, to webhooks, the database and Redis.
fn ways_out(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut warn = |found: String, advice: &str| findings.push(Finding::warning(CHECK, found, advice));
    if config.webhooks.allow_http {
        let found = "TODO_WEBHOOKS_ALLOW_HTTP is on: events may be read and changed on their way";
        warn(found.to_owned(), "turn it off unless all receivers are on a private network");
    }
    if !config.webhooks.allowed_cidrs.is_empty() {
        let networks: Vec<_> = config.webhooks.allowed_cidrs.iter().map(ToString::to_string).collect();
        warn(
            format!("webhooks may reach into networks that are not public: {}", networks.join(", ")),
            "whoever manages webhooks can call what is in there; keep the list short",
        );
    }
    let database = &config.database.url;
    let encrypted = ["require", "verify-ca", "verify-full"];
    let encrypts = |url: &Url| url.query_pairs().any(|(name, value)| name == "sslmode" && encrypted.contains(&&*value));
    if database.starts_with("postgres") && !is_local(database) && !Url::parse(database).is_ok_and(|url| encrypts(&url))
    {
        let found = "DATABASE_URL does not ask for TLS: a database without it is used in the clear";
        warn(found.to_owned(), "add sslmode=verify-full, unless the network is private");
    }
    if config.redis.as_ref().is_some_and(|redis| redis.url.starts_with("redis://") && !is_local(&redis.url)) {
        warn("REDIS_URL is without TLS".to_owned(), "use rediss://, unless the network is private");
    }
    findings
}

/// Whether an address is on this machine, or by a socket.
fn is_local(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    // Only for http and the like the parser itself tells addresses from names.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_socket = host.is_empty() || host.starts_with("%2F");
    is_socket || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_can_be_guessed_is_told_from_a_random_one() {
        for weak in
            ["a".repeat(40).as_str(), "correct horse battery staple and more", "CHANGE-ME-0123456789-0123456789"]
        {
            assert!(weakness(weak).is_some(), "{weak}");
        }
        for strong in
            ["q3J0c5mZ8oYxk1T7bVnRw2LhUeDfGaPs", "9f86d081884c7d659a2feaa0c55ad015", "kJh+2/aQ7==xZ9pLm4Nw8Rt6Yv3Bc5D"]
        {
            assert_eq!(weakness(strong), None, "{strong}");
        }
    }

    #[test]
    fn what_is_on_this_machine_needs_no_encryption() {
        for local in
            ["postgres://me@localhost/todo", "redis://127.0.0.1:6379/", "redis://[::1]/", "http://127.0.0.1:80"]
        {
            assert!(is_local(local), "{local}");
        }
        for other in ["postgres://me@db.internal/todo", "redis://10.0.0.5/", "no url"] {
            assert!(!is_local(other), "{other}");
        }
    }
}
