//! From [`Error`] to what clients see.

use async_graphql::{ErrorExtensionValues, Pos, Response, ServerError, SimpleObject, Value};

use super::scalars::Json;
use crate::base::error::{Code, Error, Problem, ProblemCode, Refusal};

/// A failure the caller can act on.
#[derive(SimpleObject, Clone, Debug)]
pub struct UserError {
    /// What went wrong, for programs: stable.
    pub code: ProblemCode,
    /// The same for people, in English; it may change.
    pub message: String,
    /// Path into the arguments, e.g. ["input", "patch", "dueAt"]; empty when it concerns the whole input.
    pub path: Vec<String>,
    /// Machine-readable detail: the limit, the missing permission, the version found.
    pub details: Option<Json>,
}

impl From<Problem> for UserError {
    fn from(problem: Problem) -> Self {
        Self { code: problem.code, message: problem.message, path: problem.path, details: problem.details.map(Json) }
    }
}

impl From<Error> for async_graphql::Error {
    /// For the top level. This is where an unforeseen failure is handled, so this is where it is logged.
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => top_level(refusal.code.as_str(), &refusal.message, refusal.details),
            Error::Invalid(problems) => match problems.into_iter().next() {
                Some(problem) => {
                    let mut error = top_level(&problem.code.name(), &problem.message, problem.details);
                    set(&mut error, "inputPath", serde_json::json!(problem.path));
                    error
                }
                None => internal(&"an error without a problem"),
            },
            Error::Retry(cause) => {
                tracing::warn!(error = %cause.chain(), "a write met a conflict three times");
                top_level(Code::Unavailable.as_str(), "Too much is being written at once; try again shortly.", None)
            }
            Error::Repeated => internal(&"a repeat reached a field that has no replay"),
            Error::Internal(cause) => internal(&cause.chain()),
        }
    }
}

fn internal(cause: &dyn std::fmt::Display) -> async_graphql::Error {
    tracing::error!(error = %cause, "internal error");
    top_level(Code::Internal.as_str(), "Something went wrong on our side.", None)
}

fn top_level(code: &str, message: &str, details: Option<serde_json::Value>) -> async_graphql::Error {
    let mut error = async_graphql::Error::new(message);
    set(&mut error, "code", code.into());
    if let Some(serde_json::Value::Object(details)) = details {
        for (name, value) in details {
            set(&mut error, &name, value);
        }
    }
    error
}

fn set(error: &mut async_graphql::Error, name: &str, value: serde_json::Value) {
    let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
    extensions.set(name, Value::from_json(value).unwrap_or_default());
}

/// Errors outside any field, as validation makes them: several where a document has several faults.
pub fn server_errors(error: Error) -> Vec<ServerError> {
    let refusals = match error {
        Error::Refused(mut refusal) => {
            let more = std::mem::take(&mut refusal.more);
            std::iter::once(refusal).chain(more)
        }
        other => return vec![async_graphql::Error::from(other).into_server_error(Pos::default())],
    };
    let located = |mut refusal: Refusal| {
        let locations = std::mem::take(&mut refusal.positions);
        let error = async_graphql::Error::from(Error::from(refusal)).into_server_error(Pos::default());
        ServerError { locations, ..error }
    };
    refusals.map(located).collect()
}

/// The code of an error that has one.
pub fn code_of(error: &ServerError) -> Option<&str> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code),
        _ => None,
    }
}

/// Gives every error a code and the request's id. What has no code yet comes from the library: before execution it is
/// a failed validation, during it an argument that could not be read.
pub fn finish(response: &mut Response, request_id: &str) {
    let executed = response.errors.iter().any(|error| !error.path.is_empty()) || response.data != Value::Null;
    for error in &mut response.errors {
        let code = match code_of(error) {
            Some(_) => None,
            None if executed => Some(Code::BadRequest),
            None => Some(Code::GraphqlValidationFailed),
        };
        // Positions of errors made outside any field mean nothing.
        error.locations.retain(|position| position.line > 0);
        let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
        if let Some(code) = code {
            extensions.set("code", code.as_str());
        }
        extensions.set("requestId", request_id);
    }
}
