//! Writes answers: status, media type, headers.

use std::sync::Arc;

use async_graphql::Response;
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response as HttpResponse},
};
use serde::Serialize;

use super::{
    log::{Logged, log_of},
    media::Media,
};
use crate::{
    api::{
        answer_cache::ETag,
        endpoint::{Answer, Api},
    },
    base::error::{Code, Error},
    data::actor::Origin,
    graphql::{
        context::Charge,
        error::{code_of, finish, server_errors},
        response::{ResponseBody, has_code, has_data, retry_after},
    },
    platform::rate_limit::bucket::Level,
};

/// Whether no root field has an answer.
fn answers_nothing(data: &async_graphql::Value) -> bool {
    match data {
        async_graphql::Value::Object(fields) => fields.values().all(|value| *value == async_graphql::Value::Null),
        other => *other == async_graphql::Value::Null,
    }
}

/// Whether the same request would be answered the same: it ran, or never can. Clients of event streams try again on any
/// other status than 200.
pub(super) fn is_final(media: Media, answer: &Answer) -> bool {
    has_data(&answer.response) || status_of(media, answer) == StatusCode::BAD_REQUEST
}

fn status_of(media: Media, answer: &Answer) -> StatusCode {
    let response = &answer.response;
    let ran = has_data(response);
    let has = |code: Code| has_code(response, code);
    let refused = answers_nothing(&response.data);
    if answer.is_unchanged {
        return StatusCode::NOT_MODIFIED;
    }
    if answer.text.is_some() {
        return StatusCode::OK;
    }
    if answer.wrong_method {
        StatusCode::METHOD_NOT_ALLOWED
    } else if refused && has(Code::RateLimited) {
        StatusCode::TOO_MANY_REQUESTS
    } else if refused && has(Code::Unavailable) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if refused && has(Code::IdempotencyKeyReused) {
        StatusCode::UNPROCESSABLE_ENTITY
    } else if refused && has(Code::IdempotencyInProgress) {
        StatusCode::CONFLICT
    } else if !ran && has(Code::Unauthenticated) {
        StatusCode::UNAUTHORIZED
    } else if ran || media == Media::Json {
        StatusCode::OK
    } else if has(Code::Internal) || has(Code::Timeout) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::BAD_REQUEST
    }
}

/// Writes an answer.
pub(super) fn write(media: Media, answer: &Answer) -> HttpResponse {
    let (status, response) = (status_of(media, answer), &answer.response);
    let mut written = match &answer.text {
        _ if answer.is_unchanged => (status, Body::empty()).into_response(),
        Some(text) => with_media(status, media, text.clone()),
        None => respond(status, media, &ResponseBody::from(response)),
    };
    decorate(&mut written, answer);
    if let Some(etag) = &answer.etag {
        tag(written.headers_mut(), etag);
    }
    if let Some(seconds) = retry_after(response) {
        written.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        written.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    written
}

/// Writes the answers of a batch.
pub(super) fn write_all(media: Media, answers: &[Answer]) -> HttpResponse {
    let bodies: Vec<ResponseBody<'_>> = answers.iter().map(|answer| ResponseBody::from(&answer.response)).collect();
    let is_refused = |answer: &Answer| has_code(&answer.response, Code::RateLimited) && !has_data(&answer.response);
    let all_refused = answers.iter().all(is_refused);
    let status = if all_refused { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
    let (logged, charge) = answers.last().map(|last| (log_of(last), last.charge)).unwrap_or_default();
    let mut written = respond(status, media, &bodies);
    add_headers(&mut written, logged, charge);
    if let Some(seconds) = answers.iter().filter_map(|answer| retry_after(&answer.response)).max() {
        written.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    written
}

/// An answer to what is no GraphQL request at all; it costs the address a point.
pub(super) async fn refuse(api: &Api, status: StatusCode, media: Media, error: Error, origin: &Origin) -> HttpResponse {
    let mut charge = Charge::default();
    let error = api.reject(error, origin, &mut charge).await;
    let status = match &error {
        Error::Refused(refusal) if refusal.code == Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Error::Refused(refusal) if refusal.code == Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        _ => status,
    };
    let mut response = Response::from_errors(server_errors(error));
    finish(&mut response, &origin.request_id);
    let logged = Logged { code: response.errors.first().and_then(code_of).map(str::to_owned), ..Logged::default() };
    let mut written = respond(status, media, &ResponseBody::from(&response));
    add_headers(&mut written, logged, charge);
    if let Some(seconds) = retry_after(&response) {
        written.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    written
}

fn respond(status: StatusCode, media: Media, body: &impl Serialize) -> HttpResponse {
    let mut bytes = Vec::with_capacity(32 * 1024);
    if let Err(error) = serde_json::to_writer(&mut bytes, body) {
        tracing::error!(%error, "an answer could not be written");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    with_media(status, media, Bytes::from(bytes))
}

fn with_media(status: StatusCode, media: Media, text: Bytes) -> HttpResponse {
    let mut response = (status, Body::from(text)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media.content_type()));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Lets the client keep the answer, and ask whether it still holds each time it is used. Another caller's is another.
fn tag(headers: &mut HeaderMap, etag: &ETag) {
    if let Ok(value) = HeaderValue::from_str(etag.as_str()) {
        headers.insert(header::ETAG, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.append(header::VARY, HeaderValue::from_static("accept, authorization, x-api-key, x-organization"));
}

/// Gives a response what every answer has.
pub fn decorate(response: &mut HttpResponse, answer: &Answer) {
    add_headers(response, log_of(answer), answer.charge);
}

fn add_headers(response: &mut HttpResponse, logged: Logged, charge: Charge) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(level) = charge.level {
        rate_limit_headers(headers, &level);
    }
    response.extensions_mut().insert(Arc::new(logged));
}

/// What the caller's bucket holds, after <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>.
fn rate_limit_headers(headers: &mut HeaderMap, level: &Level) {
    let seconds = (level.full_in() + 999) / 1000;
    let policy = format!("\"cost\";q={};w=60", level.capacity);
    let present = format!("\"cost\";r={};t={seconds}", level.remaining());
    for (name, value) in [("ratelimit-policy", policy), ("ratelimit", present)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
