//! What surrounds every request: its id, its origin, how long it took, one log line, and a net under a panic.

use std::{
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Instant,
};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use ipnet::IpNet;
use serde_json::json;
use tracing::{Instrument, Span, field::Empty};

use crate::{
    api::endpoint::http::log::Logged,
    base::{config::Config, secret, trace},
    data::actor::Origin,
    platform::metrics::Metrics,
};

const REQUEST_ID: &str = "x-request-id";

pub async fn observe(
    State((config, metrics)): State<(Arc<Config>, Metrics)>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    let origin = Origin {
        request_id: request_id(request.headers()),
        ip: peer.map(|peer| client_ip(peer, request.headers(), &config.server.trusted_proxies)),
        user_agent: request
            .headers()
            .get(header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok())
            .map(|agent| agent.chars().filter(|c| !c.is_control()).collect::<String>().into()),
        idempotency: None,
    };
    request.extensions_mut().insert(origin.clone());
    let method = request.method().clone();
    let path = shown(request.uri().path()).to_owned();
    let span = tracing::info_span!(
        "request",
        request_id = %origin.request_id,
        organization = Empty,
        actor = Empty,
        otel.kind = trace::kind("server"),
        otel.name = Empty,
    );
    if trace::is_on() {
        begin_trace(&span, &request);
    }

    let handled = AssertUnwindSafe(next.run(request).instrument(span.clone())).catch_unwind().await;
    let mut response = handled.unwrap_or_else(|panic| span.in_scope(|| masked(&*panic, &origin)));

    let elapsed = started.elapsed();
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&origin.request_id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert("x-process-time", HeaderValue::from(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let logged = response.extensions_mut().remove::<Arc<Logged>>().unwrap_or_default();
    trace::attribute(&span, "http.response.status_code", i64::from(response.status().as_u16()));
    if response.status().is_server_error() {
        trace::failed(&span, response.status().as_str());
    }
    metrics.answered(logged.kind, response.status().as_u16(), elapsed);
    logged.say(&origin, elapsed, Some((&method, &path, response.status())));
    response
}

/// What a trace says of a request beside its id. Its route is named, not its path: that of a hook or a file is a secret.
fn begin_trace(span: &Span, request: &Request) {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    // Probes and scrapes would be most of all traces.
    if route.is_some_and(|route| route.starts_with("/health") || route == "/metrics") {
        trace::leave_out(span);
        return;
    }
    trace::continue_from(span, request.headers());
    let method = request.method();
    trace::name(span, || route.map_or_else(|| method.to_string(), |route| format!("{method} {route}")));
    trace::attribute(span, "http.request.method", method.to_string());
    if let Some(route) = route {
        trace::attribute(span, "http.route", route.to_owned());
    }
}

/// A path as the log has it: an inbound hook's address is half of a secret, a file's is all of one.
fn shown(path: &str) -> &str {
    match path.strip_prefix("/callbacks/") {
        Some(token) if token != "billing" => "/callbacks/…",
        None if path.starts_with("/uploads/") => "/uploads/…",
        _ => path,
    }
}

/// The client's id for the request, if it is a sane one, else a new one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(&byte))
    });
    match given {
        Some(id) => id.into(),
        None => secret::random::<12>().map_or_else(|_| "unknown".into(), |id| BASE64_URL_SAFE_NO_PAD.encode(id).into()),
    }
}

/// The address that the request came from: the last one in `X-Forwarded-For` that no trusted proxy has.
fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
    if !is_trusted(&peer) {
        return peer;
    }
    let forwarded: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let mut nearest = peer;
    for hop in forwarded.iter().rev() {
        let Ok(ip) = hop.trim().parse::<IpAddr>() else { break };
        nearest = ip.to_canonical();
        if !is_trusted(&nearest) {
            break;
        }
    }
    nearest
}

/// A panic, logged, as an answer that says nothing of it.
fn masked(panic: &(dyn std::any::Any + Send), origin: &Origin) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    tracing::error!(panic = text, "a request panicked");
    let error = json!({
        "message": "Something went wrong on our side.",
        "extensions": { "code": "INTERNAL", "requestId": &*origin.request_id },
    });
    (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(json!({ "errors": [error] }))).into_response()
}
