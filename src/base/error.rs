//! Failures, as the services speak of them. `graphql::error` turns them into `userErrors` or top-level errors.
//!
//! Two families, as the API has them: a [`Problem`] is what the caller can act on and travels as data; a [`Refusal`]
//! stops the field. Everything else is [`Error::Internal`]: logged where it is handled, never shown.

use std::{borrow::Cow, fmt, sync::Arc};

use async_graphql::{Enum, Pos};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// What a service or the data layer may fail with. What clients see of it is decided in `graphql::error` alone; the log
/// takes [`Error::describe`]. It has no `Display`, since async-graphql would show clients whatever has one.
#[derive(Clone, Debug)]
pub enum Error {
    /// One or more problems of the input, all found in one pass where possible.
    Invalid(Vec<Problem>),
    /// Stops the field at the top level.
    Refused(Refusal),
    /// A conflict with another transaction; the write may be tried again as a whole.
    Retry(Cause),
    /// The request's idempotency key has an outcome on record, which is the answer.
    Repeated,
    /// Unforeseen.
    Internal(Cause),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error comes from, for the log and an operator's terminal: may hold what no client should see.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl Cause {
    /// An error, or a text.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Arc::from(cause.into()))
    }

    /// With all that it comes from itself; what a text says already is not said twice.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let further = error.to_string();
            if !text.contains(&further) {
                text = format!("{text}: {further}");
            }
            cause = error.source();
        }
        text
    }
}

/// A failure the caller can act on: one entry of `userErrors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    pub code: ProblemCode,
    pub message: String,
    /// Path into the arguments; empty when it concerns the whole input.
    pub path: Vec<String>,
    /// Machine-readable: the limit, the missing permission, the version found.
    pub details: Option<Json>,
}

/// Codes of `userErrors`.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[graphql(name = "UserErrorCode")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProblemCode {
    /// A text or a list is empty, or a field that can't be cleared is set to null.
    Required,
    /// Malformed, or a combination that makes no sense.
    Invalid,
    /// Fewer characters than needed; `details.minimum` says how many.
    TooShort,
    /// More characters than allowed; `details.limit` says how many.
    TooLong,
    /// A number, an instant or a depth of subtasks outside its bounds: where they are fixed, `details` has `minimum`
    /// and `maximum`.
    OutOfRange,
    /// More entries than allowed; `details` says how many.
    TooMany,
    /// Already used by another object.
    Taken,
    /// Absent or not visible.
    NotFound,
    /// Against a rule beyond the permission: somebody else's comment, a role above the caller's, scopes that the
    /// caller lacks.
    Forbidden,
    /// `ifVersion` is not the present version; the payload carries the object as it is now.
    Conflict,
    /// Not possible in the object's present state.
    InvalidState,
    /// An item would become its own ancestor.
    Cycle,
    /// The plan has no place for what would be added, or a person has as many organizations as one may.
    QuotaExceeded,
    /// The plan does not include this feature.
    NotInPlan,
    /// Would leave an organization without an owner.
    LastOwner,
    /// Wrong e-mail address, password or token; never told which.
    BadCredentials,
    /// The time of the invitation or the mailed token is over.
    Expired,
}

impl ProblemCode {
    /// The code as clients see it, `NOT_FOUND`.
    pub fn name(self) -> String {
        async_graphql::resolver_utils::enum_value(self).to_string()
    }
}

impl Problem {
    pub fn new(code: ProblemCode, path: &[&str], message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            path: path.iter().map(|segment| (*segment).to_owned()).collect(),
            details: None,
        }
    }

    #[must_use]
    pub fn details(mut self, details: Json) -> Self {
        self.details = Some(details);
        self
    }

    /// Absent, of another tenant, or not visible: one message for all, so that they can't be told apart.
    pub fn not_found(path: &[&str], what: &str) -> Self {
        Self::new(ProblemCode::NotFound, path, format!("No such {what}."))
    }

    /// `ifVersion` was not the present version.
    pub fn conflict(found: i32) -> Self {
        Self::new(
            ProblemCode::Conflict,
            &["input", "ifVersion"],
            "Changed by somebody else meanwhile; the payload carries the present state.",
        )
        .details(json!({ "version": found }))
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Invalid(vec![problem])
    }
}

/// What stops a field: a top-level error with `extensions.code`.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub code: Code,
    pub message: Cow<'static, str>,
    /// Further `extensions`.
    pub details: Option<Json>,
    /// Where in the document, what it is about first.
    pub positions: Vec<Pos>,
    /// Further faults of the same request: all are told at once.
    pub more: Vec<Refusal>,
}

/// Top-level codes. Stable: clients branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    GraphqlParseFailed,
    GraphqlValidationFailed,
    BadRequest,
    Unauthenticated,
    Forbidden,
    OrganizationRequired,
    RateLimited,
    QueryTooComplex,
    QueryTooDeep,
    NotInPlan,
    IdempotencyKeyReused,
    IdempotencyInProgress,
    PersistedQueryNotFound,
    InvalidCursor,
    /// Events after a ledger cursor are no longer kept.
    CursorExpired,
    /// A subscriber read too slowly; it resumes by its last cursor.
    SlowConsumer,
    PayloadTooLarge,
    /// The answer would be larger than an answer may be.
    AnswerTooLarge,
    Timeout,
    Unavailable,
    Internal,
}

impl Code {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GraphqlParseFailed => "GRAPHQL_PARSE_FAILED",
            Self::GraphqlValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Self::BadRequest => "BAD_REQUEST",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::OrganizationRequired => "ORGANIZATION_REQUIRED",
            Self::RateLimited => "RATE_LIMITED",
            Self::QueryTooComplex => "QUERY_TOO_COMPLEX",
            Self::QueryTooDeep => "QUERY_TOO_DEEP",
            Self::NotInPlan => "NOT_IN_PLAN",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::IdempotencyInProgress => "IDEMPOTENCY_IN_PROGRESS",
            Self::PersistedQueryNotFound => "PERSISTED_QUERY_NOT_FOUND",
            Self::InvalidCursor => "INVALID_CURSOR",
            Self::CursorExpired => "CURSOR_EXPIRED",
            Self::SlowConsumer => "SLOW_CONSUMER",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::AnswerTooLarge => "ANSWER_TOO_LARGE",
            Self::Timeout => "TIMEOUT",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), details: None, positions: Vec::new(), more: Vec::new() }
    }

    #[must_use]
    pub fn details(mut self, details: Json) -> Self {
        self.details = Some(details);
        self
    }

    /// The element of the schema that it is about, by its [coordinate](crate::api::document::coordinate).
    #[must_use]
    pub fn about(mut self, coordinate: Option<String>) -> Self {
        if let Some(coordinate) = coordinate {
            self.details.get_or_insert_with(|| json!({}))["coordinate"] = coordinate.into();
        }
        self
    }

    /// Where in the document it is.
    #[must_use]
    pub fn at(mut self, position: Pos) -> Self {
        self.positions.push(position);
        self
    }

    /// The first of several, with the others in it; `None` for none.
    pub fn all(refusals: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut refusals = refusals.into_iter();
        let first = refusals.next()?;
        Some(Self { more: refusals.collect(), ..first })
    }

    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    pub fn unauthenticated() -> Self {
        Self::new(Code::Unauthenticated, "Sign in first: send `Authorization: Bearer <access token>`.")
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Error {
    /// A visible step: what happened is not the caller's doing and not to be shown.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(Cause::new(cause))
    }

    /// Somebody else was faster; the write may be tried again as a whole.
    pub fn retry(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Retry(Cause::new(cause))
    }

    /// For the log and for an operator's terminal; may hold what no client should see.
    pub fn describe(&self) -> String {
        match self {
            Self::Invalid(problems) => {
                let lines: Vec<String> =
                    problems.iter().map(|problem| format!("{}: {}", problem.path.join("."), problem.message)).collect();
                lines.join("; ")
            }
            Self::Refused(refusal) => format!("{}: {}", refusal.code, refusal.message),
            Self::Repeated => "the idempotency key has an outcome on record".to_owned(),
            Self::Retry(cause) | Self::Internal(cause) => cause.chain(),
        }
    }
}

/// Collects the problems of one input, so that a caller sees all of them at once.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub fn push(&mut self, code: ProblemCode, path: &[&str], message: impl Into<String>) {
        self.add(Problem::new(code, path, message));
    }

    /// Length in characters of a trimmed text, within `min..=max`.
    pub fn length(&mut self, path: &[&str], text: &str, min: usize, max: usize) {
        let length = text.trim().chars().count();
        if length == 0 && min > 0 {
            self.push(ProblemCode::Required, path, "Must not be empty.");
        } else if length < min {
            self.add(
                Problem::new(ProblemCode::TooShort, path, format!("At least {min} characters."))
                    .details(json!({ "minimum": min })),
            );
        } else if length > max {
            self.add(
                Problem::new(ProblemCode::TooLong, path, format!("At most {max} characters."))
                    .details(json!({ "limit": max })),
            );
        }
        if text.chars().any(|c| c == '\0') {
            self.push(ProblemCode::Invalid, path, "Must not contain the NUL character.");
        }
    }

    /// At most `max` entries.
    pub fn count(&mut self, path: &[&str], found: usize, max: usize) {
        if found > max {
            self.add(
                Problem::new(ProblemCode::TooMany, path, format!("At most {max} entries."))
                    .details(json!({ "limit": max })),
            );
        }
    }

    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}

/// Why a write did not happen, with the object's present state where that helps the caller merge (CONFLICT).
#[derive(Debug)]
pub struct Rejected<T> {
    pub error: Error,
    pub present: Option<T>,
}

impl<T> Rejected<T> {
    /// `ifVersion` named another version than the present one.
    pub fn conflict(present: T, version: i32) -> Self {
        Self { error: Problem::conflict(version).into(), present: Some(present) }
    }

    /// With the present state as the caller is given it.
    pub fn map<U>(self, wrap: impl FnOnce(T) -> U) -> Rejected<U> {
        Rejected { error: self.error, present: self.present.map(wrap) }
    }
}

impl<T, E: Into<Error>> From<E> for Rejected<T> {
    fn from(error: E) -> Self {
        Self { error: error.into(), present: None }
    }
}

impl<T> AsRef<Error> for Rejected<T> {
    fn as_ref(&self) -> &Error {
        &self.error
    }
}

impl From<crate::base::id::IdError> for Error {
    /// An id of another kind than asked for is a mistake of the request, not of its data.
    fn from(error: crate::base::id::IdError) -> Self {
        Refusal::bad_request(error.to_string()).into()
    }
}
