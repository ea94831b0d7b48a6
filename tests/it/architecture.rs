//! Who may import whom; see `src/lib.rs`. Reads the `use` lines and paths of the sources.

use std::{fs, path::Path};

/// Every Rust file under `folder`, with its path from `src`.
fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            sources(&entry, into);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
            let name = entry.strip_prefix(root).expect("below src").display().to_string();
            let text = fs::read_to_string(&entry).expect("a source file");
            let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            into.push((name, code.join("\n")));
        }
    }
}

fn all_sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 80, "the sources were found");
    found
}

const DOMAINS: &[&str] = &[
    "accounts",
    "api_keys",
    "comments",
    "events",
    "inbound_hooks",
    "items",
    "members",
    "organizations",
    "plans",
    "server",
    "sync",
    "tags",
    "teams",
    "usage",
    "webhooks",
];

#[test]
fn services_know_no_graphql_and_no_http() {
    let rules = ["accounts/credentials.rs", "accounts/mailed.rs", "accounts/throttle.rs", "members/invitations.rs"];
    let is_rules = |name: &str| name.ends_with("service.rs") || rules.contains(&name);
    for (name, code) in all_sources().iter().filter(|(name, _)| is_rules(name)) {
        for banned in ["async_graphql", "axum", "crate::http"] {
            assert!(!code.contains(banned), "{name} mentions {banned}");
        }
    }
}

#[test]
fn axum_stays_at_the_edge() {
    let transports = ["graphql/http.rs", "graphql/media.rs", "graphql/sse.rs", "graphql/ws.rs", "app.rs"];
    let at_the_edge = |name: &str| name.starts_with("http/") || transports.contains(&name);
    for (name, code) in all_sources().iter().filter(|(name, _)| !at_the_edge(name)) {
        assert!(!code.contains("axum::") && !code.contains("use axum"), "{name} mentions axum");
    }
}

#[test]
fn lower_layers_do_not_look_up() {
    // A layer, and what it may not mention.
    let upward: &[(&str, &[&str])] = &[
        ("entity/", &["crate::db", "crate::graphql", "crate::http", "crate::state", "crate::app"]),
        ("db/", &["crate::graphql", "crate::http", "crate::state", "crate::app", "crate::cli"]),
        ("ledger/", &["crate::graphql", "crate::http", "crate::state", "crate::app", "crate::cli"]),
        ("live/", &["crate::graphql", "crate::http", "crate::state", "crate::app", "crate::cli"]),
        ("mail/", &["crate::graphql", "crate::http", "crate::state", "crate::app", "crate::cli"]),
        ("metering/", &["crate::graphql", "crate::http", "crate::state", "crate::app", "crate::cli"]),
        (
            "outgoing/",
            &[
                "crate::graphql",
                "crate::http",
                "crate::state",
                "crate::app",
                "crate::cli",
                "crate::db",
                "crate::entity",
            ],
        ),
        ("auth/", &["crate::graphql", "crate::http", "crate::state", "crate::app", "crate::cli"]),
        ("config/", &["crate::graphql", "crate::http", "crate::db", "crate::app", "crate::cli"]),
        ("rate_limit/", &["crate::graphql", "crate::http", "crate::state", "crate::app", "crate::cli"]),
        ("redis.rs", &["crate::graphql", "crate::http", "crate::state", "crate::rate_limit", "crate::db"]),
        ("metrics.rs", &["crate::graphql", "crate::http", "crate::state", "crate::rate_limit", "crate::db"]),
        ("graphql/", &["crate::http", "crate::app", "crate::cli"]),
        ("http/", &["crate::cli", "crate::app"]),
    ];
    for (name, code) in all_sources() {
        for (layer, banned) in upward.iter().filter(|(layer, _)| name.starts_with(layer)) {
            for path in *banned {
                assert!(!code.contains(path), "{name} (layer {layer}) mentions {path}");
            }
            for domain in DOMAINS.iter().filter(|_| !["graphql/", "http/"].contains(layer)) {
                assert!(!code.contains(&format!("crate::{domain}::")), "{name} (layer {layer}) mentions {domain}");
            }
        }
        let domain = DOMAINS.iter().find(|domain| name.starts_with(&format!("{domain}/")));
        if domain.is_some() {
            for path in ["crate::http", "crate::app", "crate::cli"] {
                assert!(!code.contains(path), "{name} mentions {path}");
            }
        }
    }
}

/// Clippy bans unscoped ORM calls outside `db/`, `ledger/`; an `allow` elsewhere would be a way around.
#[test]
fn nobody_else_opens_the_unscoped_doors() {
    let own = |name: &str| {
        ["db/", "ledger/pending.rs", "ledger/deliveries.rs", "clock.rs"].iter().any(|home| name.starts_with(home))
    };
    for (name, code) in all_sources().iter().filter(|(name, _)| !own(name)) {
        assert!(!code.contains("disallowed_methods"), "{name} allows disallowed methods");
        for raw in ["execute_unprepared", "from_sql_and_values", "find_by_statement", "from_string("] {
            assert!(!code.contains(raw), "{name} writes SQL by {raw}");
        }
    }
}
