//! `/graphql` after the GraphQL-over-HTTP specification
//! (<https://graphql.github.io/graphql-over-http/draft/>): POST with a JSON body, GET for queries, the two media types.
//! What comes is read in `headers.rs` and `request.rs`, what goes is written in `response.rs`.

mod headers;
pub mod log;
mod media;
pub mod request;
mod response;

use std::sync::Arc;

use async_graphql::Request;
use axum::{
    extract::{Path, Request as HttpRequest, State, rejection::PathRejection},
    http::{HeaderValue, Method, StatusCode, header},
    response::Response as HttpResponse,
};

pub(super) use self::{headers::bearer, response::decorate};
use self::{
    headers::{envelope, reuse, takes_events},
    media::Media,
    request::read,
    response::{is_final, refuse, write, write_all},
};
use super::{Api, Client, Envelope, Started, body::Operations, sse, ws};
use crate::{base::error::Refusal, data::actor::Origin};

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
    let reuse = reuse(&request);
    match read(&api, request, &envelope.meter).await {
        Ok(Operations::One(request)) if takes_events => {
            let client = Arc::new(Client { envelope: Envelope { can_stream: true, ..envelope }, api });
            match Box::pin(client.start(*request)).await {
                Started::Stream(answer, answers) => sse::events(&answer, *answers, &client.api.state.live),
                // Where JSON is welcome too, one answer is no stream.
                Started::Answer(answer) if !takes_json && is_final(media, &answer) => sse::once(&answer),
                Started::Answer(answer) => write(media, &answer),
            }
        }
        Ok(Operations::One(request)) => {
            let envelope = Envelope { reuse: Some(reuse), ..envelope };
            let answer = api.execute(*request, &envelope).await;
            envelope.meter.take_place().await;
            write(media, &answer)
        }
        Ok(Operations::Batch(requests)) => Box::pin(batch(&api, media, requests, &envelope)).await,
        Err((status, error)) => Box::pin(refuse(&api, status, media, error, &envelope.origin)).await,
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

/// Operations of a batch run one after the other, each charged for itself, and come back in one array.
async fn batch(api: &Api, media: Media, requests: Vec<Request>, envelope: &Envelope) -> HttpResponse {
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        answers.push(api.execute(request, envelope).await);
    }
    write_all(media, &answers)
}
