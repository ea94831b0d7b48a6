//! The span of an operation: whatever is logged within it says which request, operation, organization and caller it was.

use async_graphql::{Response, parser::types::OperationType};
use tracing::{Span, field::Empty};

use crate::{
    api::validation::ValidRequest,
    base::{error::Code, trace},
    data::actor::Origin,
    graphql::error::code_of,
    platform::auth::session::Caller,
};

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
        otel.name = Empty,
    )
}

/// Adds what is asked, and who asks.
pub fn know(span: &Span, valid: &ValidRequest, caller: &Caller) {
    if let Some(name) = &valid.name {
        span.record("operation", short(name));
    }
    span.record("kind", kind(valid.operation));
    trace::name(span, || {
        format!("{} {}", kind(valid.operation), valid.name.as_deref().map_or("", short)).trim_end().to_owned()
    });
    trace::attribute(span, "graphql.operation.type", kind(valid.operation));
    if let Some(name) = &valid.name {
        trace::attribute(span, "graphql.operation.name", short(name).to_owned());
    }
    if let Some(scope) = &caller.scope {
        span.record("organization", tracing::field::display(scope.organization_id()));
    }
    if let Some(identified) = &caller.identified {
        span.record("actor", tracing::field::display(identified.actor().any_id()));
    }
}

/// How it ended, for its trace: with the code of its first error, if it has one.
pub fn ended(span: &Span, response: &Response) {
    if !trace::is_on() {
        return;
    }
    let Some(code) = response.errors.first().and_then(code_of) else { return };
    trace::attribute(span, "error.type", code.to_owned());
    // What a client did wrong is no failure of the server.
    if [Code::Internal, Code::Unavailable, Code::Timeout].iter().any(|fault| fault.as_str() == code) {
        trace::failed(span, code);
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
