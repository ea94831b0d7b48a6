//! How large an answer may be: texts are counted as resolvers hand them out, so that memory is bounded before there is an
//! answer, and the finished answer is counted as it will be written.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_graphql::Response;
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

/// Bytes of the texts within a JSON value.
pub fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + text_bytes(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
