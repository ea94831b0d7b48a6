//! The database: whether it is there, takes writes, has the schema, and what its settings risk.

use std::sync::Arc;

use super::{
    clocks,
    finding::{Finding, bytes},
    machine,
};
use crate::{
    base::{clock::Clock, config::Config},
    data::db::{
        Db, Health,
        inspection::{Inspection, Postgres, Sqlite},
    },
};

/// Older ones are not maintained any more by whoever makes PostgreSQL.
const OLDEST_POSTGRES: i32 = 14;

/// Steps named in a line at most.
const NAMED: usize = 3;

pub async fn look_at(config: Arc<Config>) -> Vec<Finding> {
    if let Some(file) = machine::sqlite_file(&config)
        && !file.exists()
    {
        // Opening it would make it.
        return vec![Finding::ok("database", format!("{} is made at the first start", file.display()))];
    }
    let mut settings = config.database.clone();
    settings.max_connections = 1;
    let db = match Db::connect(&settings, Clock::system(), None).await {
        Ok(db) => db,
        Err(error) => {
            let advice = "start it, or correct DATABASE_URL; a password is not shown here";
            return vec![Finding::failed("database", error.to_string(), advice)];
        }
    };
    let mut findings = match db.inspect().await {
        Ok(Inspection::Sqlite(found)) => sqlite(&found),
        Ok(Inspection::Postgres(found)) => postgres(&found, &config),
        Err(error) => vec![Finding::failed("database", error.describe(), "see the database's own log")],
    };
    findings.extend(schema(&db, &config).await);
    match db.clock_skew().await {
        Ok(Some(skew)) => findings.push(clocks::compare("the database", skew)),
        Ok(None) => {}
        Err(error) => findings.push(Finding::failed("clock", error.describe(), "see the database's own log")),
    }
    db.close().await;
    findings
}

fn sqlite(found: &Sqlite) -> Vec<Finding> {
    let Sqlite { version, journal, bytes: size } = found;
    let size = bytes(u64::try_from(*size).unwrap_or_default());
    vec![Finding::ok("database", format!("SQLite {version}, journal {journal}, {size}"))]
}

fn postgres(found: &Postgres, config: &Config) -> Vec<Finding> {
    let major = found.version_number / 10_000;
    let text = format!("PostgreSQL {}", found.version);
    let version = if major < OLDEST_POSTGRES {
        Finding::warning("database", text, format!("upgrade to {OLDEST_POSTGRES} or newer"))
    } else {
        Finding::ok("database", text)
    };
    let mut findings = vec![version, connections(found, config.database.max_connections)];
    findings.extend(durability(found));
    if found.encoding != "UTF8" {
        let text = format!("the database's encoding is {}", found.encoding);
        let advice = "make a database with ENCODING 'UTF8': others can't hold every text";
        findings.push(Finding::failed("database_encoding", text, advice));
    }
    // Instants are stored with their zone; only what people type by hand goes by this.
    findings.push(Finding::ok("database_time_zone", format!("{}; instants do not depend on it", found.time_zone)));
    if found.is_standby || found.read_only == "on" {
        let why = if found.is_standby { "is a standby" } else { "begins transactions read-only" };
        let advice = "name the server that takes writes in DATABASE_URL";
        findings.push(Finding::failed("database_writes", format!("the database {why}: writes are refused"), advice));
    }
    findings
}

/// Whether the pool fits, and a second instance beside it, which replaces this one at a new release.
fn connections(found: &Postgres, pool: u32) -> Finding {
    let usable = i64::from(found.max_connections - found.reserved);
    let pool = i64::from(pool);
    let text = format!("{} of {usable} connections are in use; this instance takes up to {pool}", found.connections);
    let advice = "raise PostgreSQL's max_connections, or lower TODO_DATABASE_MAX_CONNECTIONS";
    if pool > usable {
        Finding::failed("database_connections", text, advice)
    } else if 2 * pool > usable {
        let text = format!("{text}: a second instance does not fit beside it");
        Finding::warning("database_connections", text, advice)
    } else {
        Finding::ok("database_connections", text)
    }
}

/// What a crash of the database's machine would take along.
fn durability(found: &Postgres) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (setting, value) in [("fsync", &found.fsync), ("full_page_writes", &found.full_page_writes)] {
        if value == "off" {
            let text = format!("{setting} is off: a crash can destroy the database");
            findings.push(Finding::failed("database_durability", text, format!("set {setting} = on")));
        }
    }
    if found.synchronous_commit == "off" {
        let text = "synchronous_commit is off: a crash takes the last acknowledged writes along";
        findings.push(Finding::failed("database_durability", text, "set synchronous_commit = on"));
    }
    if findings.is_empty() {
        let text = format!("fsync is on, synchronous_commit {}", found.synchronous_commit);
        findings.push(Finding::ok("database_durability", text));
    }
    findings
}

/// Steps of the schema, and a write where it is complete.
async fn schema(db: &Db, config: &Config) -> Vec<Finding> {
    let steps = match db.schema_steps().await {
        Ok(steps) => steps,
        Err(error) => return vec![Finding::failed("schema", error.to_string(), "see the database's own log")],
    };
    let named = |steps: &[String]| {
        let more = if steps.len() > NAMED { ", …" } else { "" };
        format!("{}{more}", steps.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    if !steps.missing.is_empty() {
        let text = format!("{} step(s) are missing: {}", steps.missing.len(), named(&steps.missing));
        let advice = match config.mode {
            crate::base::config::Mode::Embedded => "the next start applies them",
            crate::base::config::Mode::Production => "run `todo-platform migrate`; the server does not start before",
        };
        return vec![Finding::failed("schema", text, advice)];
    }
    let mut findings = vec![Finding::ok("schema", format!("{} steps, none missing", steps.applied))];
    if !steps.unknown.is_empty() {
        let text = format!("{} step(s) are of a newer release: {}", steps.unknown.len(), named(&steps.unknown));
        let advice = "fine while the newer release is rolled out or back; otherwise upgrade this one";
        findings.push(Finding::warning("schema", text, advice));
    }
    findings.push(match db.health().await {
        Health::Ok => Finding::ok("database_writes", "a write was made and taken back"),
        Health::Full => Finding::failed("database_writes", "the database is full", "make room on its disk"),
        Health::Failing => {
            let advice = "see to its disk, to the rights of DATABASE_URL's user, and to the database's own log";
            Finding::failed("database_writes", "a write failed", advice)
        }
    });
    findings
}
