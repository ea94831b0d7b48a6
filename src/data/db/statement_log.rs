//! What is said of statements: each at `debug`, slow ones as a warning. Their text has no values in it.

use std::time::{Duration, Instant};

/// Of a slow statement's text, as much is logged: lists of ids make some very long.
const MOST_TEXT: usize = 2_000;

/// How the statements of one pool are told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatementLog {
    /// A statement that takes as long is said to be slow.
    slow: Option<Duration>,
}

/// A statement's text, where it may be needed.
#[derive(Debug)]
pub(super) struct Text(Option<String>);

impl StatementLog {
    /// `slow`: from which time on a statement is slow; zero: none is.
    pub(super) fn new(slow: Duration) -> Self {
        Self { slow: (!slow.is_zero()).then_some(slow) }
    }

    /// Kept before the statement runs, which takes its text along.
    pub(super) fn text(&self, sql: &str) -> Text {
        if tracing::enabled!(tracing::Level::DEBUG) {
            return Text(Some(sql.to_owned()));
        }
        Text(self.slow.map(|_| beginning(sql).to_owned()))
    }

    /// Awaits a statement, and says how long it took.
    pub(super) async fn follow<T>(&self, text: Text, statement: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = statement.await;
        if let Text(Some(sql)) = text {
            self.say(&sql, begun.elapsed());
        }
        done
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
