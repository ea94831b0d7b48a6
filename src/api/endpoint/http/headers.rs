//! What the headers of a request say: who calls, for which organization, and how they want their answer.

use axum::{
    extract::Request as HttpRequest,
    http::{HeaderMap, Method, header},
};

use crate::{
    api::endpoint::{Api, Envelope, Reuse, sse},
    base::error::{Code, Error, Refusal},
    data::actor::Origin,
    platform::auth::session::Credential,
};

/// Whether the client names `text/event-stream` among what it accepts.
pub(super) fn takes_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next().is_some_and(|media| media.eq_ignore_ascii_case(sse::MEDIA_TYPE))
    })
}

/// What the headers say about caller and organization.
pub(super) fn envelope(
    api: &Api,
    headers: &HeaderMap,
    path: Option<String>,
    origin: &Origin,
    only_queries: bool,
) -> Result<Envelope, Error> {
    let text = |name: &str| match headers.get(name) {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Ok(value) => Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty())),
            Err(_) => Err(Refusal::bad_request(format!("The header `{name}` is not plain ASCII."))),
        },
    };
    let bearer = match text("authorization")? {
        None => None,
        Some(value) => Some(bearer(&value)?),
    };
    let key = text("x-api-key")?.map(Credential::ApiKey);
    if key.is_some() && bearer.is_some() && key != bearer {
        let message = "The headers `Authorization` and `X-API-Key` are two credentials; send one.";
        return Err(Refusal::bad_request(message).into());
    }
    Ok(Envelope {
        credential: key.or(bearer),
        organization: (path, text("x-organization")?),
        origin: origin.clone(),
        idempotency_key: idempotency_key(headers)?,
        is_read_only: only_queries,
        can_stream: false,
        resume: text("last-event-id")?,
        reuse: None,
        include_cost: text("x-include-cost")?.is_some_and(|value| value.eq_ignore_ascii_case("true")),
        meter: api.processor.meter(origin.ip),
    })
}

/// How an answer may be given again: by GET with its entity tag, and not at all to a client that has it
/// (<https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2>).
pub(super) fn reuse(request: &HttpRequest) -> Reuse {
    let has_etag = request.method() == Method::GET;
    let tags = request.headers().get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    let tags: Vec<&str> = tags.filter(|_| has_etag).collect();
    Reuse { has_etag, if_none_match: (!tags.is_empty()).then(|| tags.join(",")) }
}

/// The idempotency key. One that is empty, or several, are no key: ignored, the mutation might run twice.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(Refusal::bad_request("The header `Idempotency-Key` came more than once."));
    }
    match key.to_str().map(str::trim) {
        Err(_) => Err(Refusal::bad_request("The header `Idempotency-Key` is not plain ASCII.")),
        Ok("") => Err(Refusal::bad_request("The header `Idempotency-Key` is empty.")),
        Ok(key) => Ok(Some(key.to_owned())),
    }
}

/// The credential of `Bearer <token>`.
pub fn bearer(value: &str) -> Result<Credential, Refusal> {
    match value.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Credential::bearer(token.trim())),
        _ => {
            let message = "The header `Authorization` must say `Bearer <access token>`.";
            Err(Refusal::new(Code::Unauthenticated, message))
        }
    }
}
