//! `/graphql` after the GraphQL-over-HTTP specification
//! (<https://graphql.github.io/graphql-over-http/draft/>): POST with a JSON body, GET for queries, the two media types.

use std::sync::Arc;

use async_graphql::{Request, Response};
use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{Path, Query, Request as HttpRequest, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response as HttpResponse},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;

use super::{
    Answer, Api, Client, Envelope, Started,
    body::{self, InQuery, Operations, names_document},
    media::Media,
    sse, ws,
};
use crate::{
    api::processor::{LARGE_BODY, Meter},
    base::{
        config::LimitsConfig,
        error::{Code, Error, Refusal},
        id::{AnyId, OrganizationId},
    },
    data::actor::Origin,
    graphql::{
        context::Charge,
        error::{code_of, finish, server_errors},
        response::{ResponseBody, has_code, has_data, retry_after},
    },
    platform::{auth::session::Credential, rate_limit::bucket::Level},
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

/// `/graphql` and `/o/{organization}/graphql`.
pub async fn graphql(
    State(api): State<Api>,
    path: Result<Option<Path<String>>, PathRejection>,
    request: HttpRequest,
) -> HttpResponse {
    let origin = request.extensions().get::<Origin>().cloned().unwrap_or_else(|| Origin::command("unknown"));
    if ws::is_upgrade(request.headers()) {
        return socket(api, path, request, origin).await;
    }
    let negotiated = Media::negotiate(request.headers());
    let takes_events = takes_events(request.headers());
    let Some(media) = negotiated.or(takes_events.then_some(Media::GraphqlResponse)) else {
        let refusal = Refusal::bad_request(
            "Not acceptable: the answer is application/graphql-response+json, application/json or text/event-stream.",
        );
        return refuse(&api, StatusCode::NOT_ACCEPTABLE, Media::Json, refusal.into(), &origin).await;
    };
    let method = request.method().clone();
    if method != Method::GET && method != Method::POST {
        let refusal = Refusal::bad_request("Use POST, or GET for queries.");
        let mut response = refuse(&api, StatusCode::METHOD_NOT_ALLOWED, media, refusal.into(), &origin).await;
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
        return response;
    }
    let Ok(path) = path else {
        let refusal = Refusal::bad_request("The path is not UTF-8.");
        return refuse(&api, StatusCode::BAD_REQUEST, media, refusal.into(), &origin).await;
    };
    let envelope = match envelope(&api, request.headers(), path.map(|Path(name)| name), &origin, method == Method::GET)
    {
        Ok(envelope) => envelope,
        Err(error) => return refuse(&api, StatusCode::BAD_REQUEST, media, error, &origin).await,
    };
    let meter = envelope.meter.clone();
    meter
        .run(async move {
            let how = How { media, takes_events, takes_json: negotiated.is_some() };
            answer(api, how, request, envelope).await
        })
        .await
}

/// How a client wants its answer.
struct How {
    media: Media,
    takes_events: bool,
    /// One answer needs no stream.
    takes_json: bool,
}

/// Reads the request, runs it, and writes the answer.
async fn answer(api: Api, how: How, request: HttpRequest, envelope: Envelope) -> HttpResponse {
    let How { media, takes_events, takes_json } = how;
    match read(&api, request, &envelope.meter).await {
        Ok(Operations::One(request)) if takes_events => {
            let client = Arc::new(Client { envelope: Envelope { can_stream: true, ..envelope }, api });
            match client.start(*request).await {
                Started::Stream(answer, answers) => sse::events(&answer, *answers, &client.api.state.live),
                // Where JSON is welcome too, one answer is no stream.
                Started::Answer(answer) if !takes_json && is_final(media, &answer) => sse::once(&answer),
                Started::Answer(answer) => write(media, &answer),
            }
        }
        Ok(Operations::One(request)) => {
            let answer = api.execute(*request, &envelope).await;
            envelope.meter.take_place().await;
            write(media, &answer)
        }
        Ok(Operations::Batch(requests)) => batch(&api, media, requests, &envelope).await,
        Err((status, error)) => refuse(&api, status, media, error, &envelope.origin).await,
    }
}

/// A socket instead of an answer.
async fn socket(
    api: Api,
    path: Result<Option<Path<String>>, PathRejection>,
    request: HttpRequest,
    origin: Origin,
) -> HttpResponse {
    let (parts, _) = request.into_parts();
    let path = path.ok().flatten().map(|Path(name)| name);
    match envelope(&api, &parts.headers, path, &origin, false) {
        // A key names one request, and this is none yet.
        Ok(envelope) => {
            let envelope = Envelope { can_stream: true, idempotency_key: None, resume: None, ..envelope };
            ws::upgrade(api, parts, envelope).await
        }
        Err(error) => refuse(&api, StatusCode::BAD_REQUEST, Media::Json, error, &origin).await,
    }
}

/// Whether the client names `text/event-stream` among what it accepts.
fn takes_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next().is_some_and(|media| media.eq_ignore_ascii_case(sse::MEDIA_TYPE))
    })
}

/// Operations of a batch run one after the other, each charged for itself, and come back in one array.
async fn batch(api: &Api, media: Media, requests: Vec<Request>, envelope: &Envelope) -> HttpResponse {
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        answers.push(api.execute(request, envelope).await);
    }
    let bodies: Vec<ResponseBody<'_>> = answers.iter().map(|answer| ResponseBody::from(&answer.response)).collect();
    let is_refused = |answer: &Answer| has_code(&answer.response, Code::RateLimited) && !has_data(&answer.response);
    let all_refused = answers.iter().all(is_refused);
    let status = if all_refused { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
    let (logged, charge) = answers.last().map(|last| (log_of(last), last.charge)).unwrap_or_default();
    let mut written = respond(status, media, &bodies, logged, charge);
    if let Some(seconds) = answers.iter().filter_map(|answer| retry_after(&answer.response)).max() {
        written.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    written
}

/// What the headers say about caller and organization.
fn envelope(
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
        include_cost: text("x-include-cost")?.is_some_and(|value| value.eq_ignore_ascii_case("true")),
        meter: api.processor.meter(origin.ip),
    })
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
pub(super) fn bearer(value: &str) -> Result<Credential, Refusal> {
    match value.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Credential::bearer(token.trim())),
        _ => {
            let message = "The header `Authorization` must say `Bearer <access token>`.";
            Err(Refusal::new(Code::Unauthenticated, message))
        }
    }
}

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
async fn read(api: &Api, request: HttpRequest, meter: &Meter) -> Result<Operations, (StatusCode, Error)> {
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

/// Whether no root field has an answer.
fn answers_nothing(data: &async_graphql::Value) -> bool {
    match data {
        async_graphql::Value::Object(fields) => fields.values().all(|value| *value == async_graphql::Value::Null),
        other => *other == async_graphql::Value::Null,
    }
}

/// Whether the same request would be answered the same: it ran, or never can. Clients of event streams try again on any
/// other status than 200.
fn is_final(media: Media, answer: &Answer) -> bool {
    has_data(&answer.response) || status_of(media, answer) == StatusCode::BAD_REQUEST
}

fn status_of(media: Media, answer: &Answer) -> StatusCode {
    let response = &answer.response;
    let ran = has_data(response);
    let has = |code: Code| has_code(response, code);
    let refused = answers_nothing(&response.data);
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

fn write(media: Media, answer: &Answer) -> HttpResponse {
    let (status, response) = (status_of(media, answer), &answer.response);
    let mut written = respond(status, media, &ResponseBody::from(response), log_of(answer), answer.charge);
    if let Some(seconds) = retry_after(response) {
        written.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        written.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    written
}

/// What the log says of an answer.
pub(super) fn log_of(answer: &Answer) -> Logged {
    use async_graphql::parser::types::OperationType;
    Logged {
        operation: answer.valid.as_ref().and_then(|valid| valid.name.clone()),
        kind: answer.valid.as_ref().map(|valid| match valid.operation {
            OperationType::Query => "query",
            OperationType::Mutation => "mutation",
            OperationType::Subscription => "subscription",
        }),
        organization: answer.organization(),
        actor: answer.actor(),
        cost: answer.valid.as_ref().map(|valid| valid.cost),
        code: answer.response.errors.first().and_then(code_of).map(str::to_owned),
    }
}

/// An answer to what is no GraphQL request at all; it costs the address a point.
async fn refuse(api: &Api, status: StatusCode, media: Media, error: Error, origin: &Origin) -> HttpResponse {
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
    let mut written = respond(status, media, &ResponseBody::from(&response), logged, charge);
    if let Some(seconds) = retry_after(&response) {
        written.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    written
}

fn respond(status: StatusCode, media: Media, body: &impl Serialize, logged: Logged, charge: Charge) -> HttpResponse {
    let mut bytes = Vec::with_capacity(32 * 1024);
    if let Err(error) = serde_json::to_writer(&mut bytes, body) {
        tracing::error!(%error, "an answer could not be written");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let mut response = (status, Body::from(bytes)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media.content_type()));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    surround(&mut response, logged, charge);
    response
}

/// Gives a response what every answer has.
pub(super) fn decorate(response: &mut HttpResponse, answer: &Answer) {
    surround(response, log_of(answer), answer.charge);
}

fn surround(response: &mut HttpResponse, logged: Logged, charge: Charge) {
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
