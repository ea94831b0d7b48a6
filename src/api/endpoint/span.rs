//! The span of an operation: whatever is logged within it says which request, operation, organization and caller it was.

use async_graphql::parser::types::OperationType;
use tracing::{Span, field::Empty};

use crate::{api::validation::ValidRequest, data::actor::Origin, platform::auth::session::Caller};

/// Characters of an operation's name that are logged: clients choose it.
const MOST_NAME: usize = 100;

/// Of an operation of which nothing is known yet.
pub fn operation(origin: &Origin) -> Span {
    tracing::info_span!(
        "operation",
        request_id = %origin.request_id,
        operation = Empty,
        kind = Empty,
        organization = Empty,
        actor = Empty,
    )
}

/// Adds what is asked, and who asks.
pub fn know(span: &Span, valid: &ValidRequest, caller: &Caller) {
    if let Some(name) = &valid.name {
        span.record("operation", short(name));
    }
    span.record("kind", kind(valid.operation));
    if let Some(scope) = &caller.scope {
        span.record("organization", tracing::field::display(scope.organization_id()));
    }
    if let Some(identified) = &caller.identified {
        span.record("actor", tracing::field::display(identified.actor().any_id()));
    }
}

/// As logs and traces call it.
pub const fn kind(operation: OperationType) -> &'static str {
    match operation {
        OperationType::Query => "query",
        OperationType::Mutation => "mutation",
        OperationType::Subscription => "subscription",
    }
}

/// An operation's name as far as it is logged.
pub fn short(name: &str) -> &str {
    &name[..name.floor_char_boundary(MOST_NAME)]
}
