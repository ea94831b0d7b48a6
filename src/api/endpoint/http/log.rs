//! The log line of a request.

use axum::http::{Method, StatusCode};

use crate::{
    api::endpoint::{
        Answer,
        span::{kind, short},
    },
    base::id::{AnyId, OrganizationId},
    data::actor::Origin,
    graphql::error::code_of,
};

/// For the log line of the request.
#[derive(Clone, Debug, Default)]
pub struct Logged {
    pub operation: Option<String>,
    pub kind: Option<&'static str>,
    pub organization: Option<OrganizationId>,
    pub actor: Option<AnyId>,
    pub cost: Option<u64>,
    /// The first error's code.
    pub code: Option<String>,
}

impl Logged {
    /// The log line of a request; of an operation that came over a socket without its method, path and status.
    pub fn say(&self, origin: &Origin, elapsed: std::time::Duration, http: Option<(&Method, &str, StatusCode)>) {
        tracing::info!(
            target: "todo_platform::request",
            transport = http.is_none().then_some("websocket"),
            method = http.map(|(method, ..)| tracing::field::display(method)),
            path = http.map(|(_, path, _)| path),
            status = http.map(|(_, _, status)| status.as_u16()),
            time_ms = elapsed.as_secs_f64() * 1000.0,
            request_id = %origin.request_id,
            operation = self.operation,
            kind = self.kind,
            organization = self.organization.map(tracing::field::display),
            actor = self.actor.map(tracing::field::display),
            cost = self.cost,
            code = self.code,
            ip = origin.ip.map(tracing::field::display),
            "request"
        );
    }
}

/// What the log says of an answer.
pub fn log_of(answer: &Answer) -> Logged {
    Logged {
        operation: answer.valid.as_ref().and_then(|valid| valid.name.as_deref()).map(|name| short(name).to_owned()),
        kind: answer.valid.as_ref().map(|valid| kind(valid.operation)),
        organization: answer.organization(),
        actor: answer.actor(),
        cost: answer.valid.as_ref().map(|valid| valid.cost),
        code: answer.response.errors.first().and_then(code_of).map(str::to_owned),
    }
}
