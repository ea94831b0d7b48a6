//! What is said of statements: each at `debug`, slow ones as a warning. Their text has no values in it.

use std::time::{Duration, Instant};

use sea_orm::DbErr;
use tracing::{Instrument as _, Span, field::Empty};

use super::sql_state;
use crate::base::trace;

/// Of a slow statement's text, as much is logged: lists of ids make some very long.
const MOST_TEXT: usize = 2_000;

/// How the statements of one pool are told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatementLog {
    /// A statement that takes as long is said to be slow.
    slow: Option<Duration>,
    /// The database, as traces call it.
    system: &'static str,
}

/// A statement's text, where it may be needed.
#[derive(Debug)]
pub(super) struct Text(Option<String>);

impl StatementLog {
    /// `slow`: from which time on a statement is slow; zero: none is.
    pub(super) fn new(slow: Duration, is_postgres: bool) -> Self {
        let system = if is_postgres { "postgresql" } else { "sqlite" };
        Self { slow: (!slow.is_zero()).then_some(slow), system }
    }

    /// Kept before the statement runs, which takes its text along.
    pub(super) fn text(&self, sql: &str) -> Text {
        if tracing::enabled!(tracing::Level::DEBUG) {
            return Text(Some(sql.to_owned()));
        }
        Text((self.slow.is_some() || trace::is_on()).then(|| beginning(sql).to_owned()))
    }

    /// Awaits a statement, and says how long it took.
    pub(super) async fn follow<T>(
        &self,
        text: Text,
        statement: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let (begun, span) = (Instant::now(), self.span(&text));
        let done = statement.instrument(span.clone()).await;
        if let Err(error) = &done {
            trace::failed(&span, &sql_state(error).unwrap_or_else(|| "no answer".to_owned()));
        }
        if let Text(Some(sql)) = text {
            self.say(&sql, begun.elapsed());
        }
        done
    }

    /// Of a statement within a trace. What the server does by itself, once a second, would be a trace for each statement.
    fn span(&self, text: &Text) -> Span {
        let Text(Some(sql)) = text else { return Span::none() };
        if !trace::is_on() || Span::current().is_none() {
            return Span::none();
        }
        let span = tracing::debug_span!("statement", otel.kind = "client", otel.name = Empty);
        let summary = summary(sql);
        trace::name(&span, || summary.clone());
        trace::attribute(&span, "db.system.name", self.system);
        trace::attribute(&span, "db.query.summary", summary);
        span
    }

    fn say(&self, sql: &str, took: Duration) {
        if self.slow.is_some_and(|slow| took >= slow) {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(target: "todo_platform::slow_statement", millis, sql = beginning(sql), "a slow statement");
        }
        tracing::debug!(micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX), sql, "statement");
    }
}

fn beginning(sql: &str) -> &str {
    &sql[..sql.floor_char_boundary(MOST_TEXT)]
}

/// What a statement does, and to which table: `SELECT item`.
fn summary(sql: &str) -> String {
    let mut words = sql.split([' ', '\n', '(']).filter(|word| !word.is_empty());
    let verb = words.next().unwrap_or_default();
    let is_before_table = |word: &&str| ["FROM", "INTO", "UPDATE"].contains(word);
    let table = match verb {
        "UPDATE" => words.next(),
        "SELECT" => selected_from(sql),
        "INSERT" | "DELETE" | "WITH" => words.find(is_before_table).and_then(|_| words.next()),
        _ => None,
    };
    match table {
        Some(table) => format!("{verb} {}", table.trim_matches(['"', ',', ')'])),
        None => verb.to_owned(),
    }
}

/// The first table after FROM, but for those of what is selected in parentheses before it.
fn selected_from(sql: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (place, character) in sql.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            'F' if depth == 0 => {
                if let Some(table) = sql[place..].strip_prefix("FROM ") {
                    let table = table.trim_start();
                    return table.strip_prefix('(').map_or_else(|| table.split(' ').next(), selected_from);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_verb_and_the_table() {
        for (sql, expected) in [
            (r#"SELECT "item"."id" FROM "item" WHERE "item"."id" = $1"#, "SELECT item"),
            (r#"SELECT "item"."id", (SELECT "sequence" FROM "ledger_head") FROM "item" LIMIT 5"#, "SELECT item"),
            (r#"SELECT "ranked"."id" FROM (SELECT "id" FROM "comment") AS "ranked""#, "SELECT comment"),
            (r#"INSERT INTO "event" ("id") VALUES (?)"#, "INSERT event"),
            (r#"UPDATE "ledger_head" SET "sequence" = ?"#, "UPDATE ledger_head"),
            ("COMMIT", "COMMIT"),
            ("SELECT clock_timestamp() AS now", "SELECT"),
            ("", ""),
        ] {
            assert_eq!(summary(sql), expected);
        }
    }
}
