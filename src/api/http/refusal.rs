//! Answers that are no success, of what is no GraphQL: callbacks and uploads. JSON with a stable code.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    base::error::{Code, Error},
    data::{actor::Origin, db::OrgScope},
    platform::{rate_limit::Refused, state::State},
};

/// Points of a callback or a part of a file, as of a mutation of some size.
const COST: u64 = 10;

/// An answer that is no success.
pub struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// Seconds.
    pub retry_after: Option<i64>,
}

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    pub fn rate_limited(refused: &Refused) -> Self {
        let seconds = (refused.level.wait_for(refused.points) + 999) / 1000;
        let message = format!("Too many requests; try again in {seconds} s.");
        Self { retry_after: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message) }
    }

    /// What comes by another method than `method`.
    pub fn only(method: &'static str, message: &'static str, origin: &Origin) -> Response {
        let mut response =
            Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message).into_response(origin);
        response.headers_mut().insert("allow", HeaderValue::from_static(method));
        response
    }

    pub fn into_response(self, origin: &Origin) -> Response {
        let error = json!({ "code": self.code, "message": self.message, "requestId": &*origin.request_id });
        let mut response = (self.status, Json(json!({ "error": error }))).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Takes what a callback, or a part of a file, costs of its sender's bucket. RATE_LIMITED when that is empty.
pub async fn charge(state: &State, scope: &OrgScope) -> Result<(), Refusal> {
    let limiter = &state.rate_limit;
    let allowance = limiter.of_actor(scope.organization(), scope.actor());
    if allowance.capacity > 0 {
        let taken = limiter.take(allowance, COST.min(allowance.capacity.into())).await;
        drop(taken.map_err(|refused| Refusal::rate_limited(&refused))?);
    }
    Ok(())
}

impl From<Error> for Refusal {
    /// What went wrong here is logged, and not shown; the sender tries again.
    fn from(error: Error) -> Self {
        if let Error::Refused(refusal) = &error {
            let status = match refusal.code {
                Code::Forbidden => StatusCode::FORBIDDEN,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            return Self::new(status, refusal.code.as_str(), refusal.message.clone());
        }
        tracing::error!(error = %error.describe(), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "Something went wrong on our side.")
    }
}
