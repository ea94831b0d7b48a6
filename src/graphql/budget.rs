//! How large an answer may be: texts are counted as resolvers hand them out, so that memory is bounded before there is an
//! answer, and the finished answer is counted as it will be written.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_graphql::{Response, Value as ConstValue};
use serde_json::{Value, json};

use super::{error::server_errors, response::ResponseBody};
use crate::base::error::{Code, Refusal, Result};

/// Bytes that one answer may hold. Clones share them.
#[derive(Clone, Debug)]
pub struct AnswerBudget {
    limit: usize,
    texts: Arc<AtomicUsize>,
}

impl AnswerBudget {
    pub fn new(limit: usize) -> Self {
        Self { limit, texts: Arc::default() }
    }

    /// Counts a text that goes into the answer; ANSWER_TOO_LARGE when there is no room for it.
    pub fn spend(&self, bytes: usize) -> Result<()> {
        let before = self.texts.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limit { Err(self.too_large().into()) } else { Ok(()) }
    }

    /// Puts a refusal in the place of an answer that is too large.
    pub fn enforce(&self, response: &mut Response) {
        if self.texts.load(Ordering::Relaxed) > self.limit || self.is_too_large(response) {
            *response = Response::from_errors(server_errors(self.too_large().into()));
        }
    }

    fn is_too_large(&self, response: &Response) -> bool {
        // Most answers are far from it, and writing one twice costs more than a look.
        let parts = std::iter::once(&response.data).chain(response.extensions.values());
        if response.errors.is_empty() && parts.map(bytes_at_most).sum::<usize>() < self.limit / 2 {
            return false;
        }
        let counted = serde_json::to_writer(Count { left: self.limit }, &ResponseBody::from(response));
        counted.is_err_and(|error| error.is_io())
    }

    fn too_large(&self) -> Refusal {
        let message =
            format!("The answer is larger than {} bytes; ask for less. What a mutation wrote is written.", self.limit);
        Refusal::new(Code::AnswerTooLarge, message).details(json!({ "limit": self.limit }))
    }
}

/// Counts what is written, up to a limit.
struct Count {
    left: usize,
}

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that a value takes at most as it is written: each byte of a text as `\u0000`.
fn bytes_at_most(value: &ConstValue) -> usize {
    /// `-1.7976931348623157e308`, `18446744073709551615`, `false`.
    const SCALAR: usize = 24;
    let text = |bytes: usize| 6 * bytes + 3;
    match value {
        ConstValue::Null | ConstValue::Boolean(_) | ConstValue::Number(_) => SCALAR,
        ConstValue::String(string) => text(string.len()),
        ConstValue::Enum(name) => text(name.len()),
        // As a list of numbers.
        ConstValue::Binary(bytes) => 4 * bytes.len() + 3,
        ConstValue::List(values) => values.iter().map(|value| bytes_at_most(value) + 1).sum::<usize>() + 2,
        ConstValue::Object(fields) => {
            fields.iter().map(|(name, value)| text(name.len()) + bytes_at_most(value) + 1).sum::<usize>() + 2
        }
    }
}

/// Bytes of the texts within a JSON value.
pub fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + text_bytes(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::Name;

    use super::*;

    #[test]
    fn no_value_is_written_longer_than_it_is_said_to_be() {
        let texts = ["", "plain", "\u{0}\u{1f}\"\\/\n", "🐞 عيب", "é"];
        let mut values: Vec<ConstValue> = texts.iter().map(|text| ConstValue::from(*text)).collect();
        values.extend([ConstValue::Null, false.into(), u64::MAX.into(), i64::MIN.into(), f64::MIN.into()]);
        values.extend([
            f64::MIN_POSITIVE.into(),
            ConstValue::Binary(vec![255; 9].into()),
            ConstValue::List(Vec::new()),
        ]);
        values.push(ConstValue::Object(texts.iter().map(|text| (Name::new(text), ConstValue::from(*text))).collect()));
        values.push(ConstValue::List(values.clone()));
        for value in values {
            let written = serde_json::to_string(&value).expect("JSON").len();
            assert!(written <= bytes_at_most(&value), "{written} of {}: {value}", bytes_at_most(&value));
        }
    }
}
