//! The operations of a request: of its body, or of the query string of a GET.

use async_graphql::Request;
use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{Query, Request as HttpRequest},
    http::{HeaderMap, Method, StatusCode, Uri, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::{
    api::{
        endpoint::{
            Api,
            body::{self, InQuery, Operations, names_document},
        },
        processor::{LARGE_BODY, Meter},
    },
    base::{
        config::LimitsConfig,
        error::{Code, Error, Refusal},
    },
};

/// Why a body can't be had.
pub enum Unread {
    /// It took longer than `body_timeout`.
    Late,
    /// It is, or says that it will be, larger than `body_bytes`.
    TooLarge,
    Broken,
}

/// The whole of a request's body, within the limits of size and time. What says by its length that it is too large is not
/// read, nor asked for (`Expect: 100-continue`).
pub async fn collect(body: Body, limits: &LimitsConfig) -> Result<Bytes, Unread> {
    let most = limits.body_bytes;
    if usize::try_from(body.size_hint().lower()).map_or(true, |bytes| bytes > most) {
        return Err(Unread::TooLarge);
    }
    match tokio::time::timeout(limits.body_timeout, Limited::new(body, most).collect()).await {
        Err(_) => Err(Unread::Late),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unread::TooLarge),
        Ok(Err(_)) => Err(Unread::Broken),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// Reads the request's operation, within the limits of size and time.
pub(super) async fn read(api: &Api, request: HttpRequest, meter: &Meter) -> Result<Operations, (StatusCode, Error)> {
    let limits = &api.state.config.limits;
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return read_uri(api, &parts.uri);
    }
    check_content_type(&parts.headers)?;
    let body = match collect(body, limits).await {
        Err(Unread::Late) => {
            let refusal = Refusal::new(Code::Timeout, "The body took too long to arrive.");
            return Err((StatusCode::REQUEST_TIMEOUT, refusal.into()));
        }
        Err(Unread::TooLarge) => {
            let message = format!("The body is larger than {} bytes.", limits.body_bytes);
            let refusal = Refusal::new(Code::PayloadTooLarge, message);
            let refusal = refusal.details(serde_json::json!({ "limit": limits.body_bytes }));
            return Err((StatusCode::PAYLOAD_TOO_LARGE, refusal.into()));
        }
        Err(Unread::Broken) => return Err(bad_request("The body could not be read.")),
        Ok(body) => body,
    };
    if body.len() > LARGE_BODY {
        meter.heavy_follows().await;
    }
    let operations = body::read(&body, api.state.config.server.batch_limit, limits.values);
    let operations = operations.map_err(|refusal| (StatusCode::BAD_REQUEST, refusal.into()))?;
    if let Operations::One(request) = &operations {
        check_query(request)?;
    }
    Ok(operations)
}

/// The operation of a GET.
fn read_uri(api: &Api, uri: &Uri) -> Result<Operations, (StatusCode, Error)> {
    if uri.query().is_none_or(str::is_empty) {
        return Err(bad_request("Send a query: `?query={…}`, or a JSON body with POST."));
    }
    let Query(named) = Query::<InQuery>::try_from_uri(uri)
        .map_err(|rejection| bad_request(format!("The query string could not be read: {}.", rejection.body_text())))?;
    let request = named.request(api.state.config.limits.values);
    let request = request.map_err(|refusal| (StatusCode::BAD_REQUEST, refusal.into()))?;
    check_query(&request)?;
    Ok(Operations::One(Box::new(request)))
}

fn check_query(request: &Request) -> Result<(), (StatusCode, Error)> {
    if !names_document(request) {
        return Err(bad_request("The request has no `query`."));
    }
    Ok(())
}

fn bad_request(message: impl Into<std::borrow::Cow<'static, str>>) -> (StatusCode, Error) {
    (StatusCode::BAD_REQUEST, Refusal::bad_request(message).into())
}

/// A body that can't be sent by a plain HTML form: one wall against forged cross-site requests.
fn check_content_type(headers: &HeaderMap) -> Result<(), (StatusCode, Error)> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if is_json && is_utf8 {
        return Ok(());
    }
    let refusal = Refusal::bad_request("The body must be `content-type: application/json`, in UTF-8.");
    Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, refusal.into()))
}
