//! `text/event-stream` after graphql-sse's distinct connections mode
//! (<https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>): one request, one operation, its answers as `next`
//! events, then `complete`. Each answer of a subscription has its cursor as the event's id, so that a browser's
//! `EventSource` resumes by itself (`Last-Event-ID`).

use std::{convert::Infallible, pin::Pin};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response as HttpResponse,
};
use futures_util::{Stream, StreamExt as _, stream};

use super::{
    http::decorate,
    stream::{Answers, Step},
};
use crate::{api::endpoint::Answer, graphql::response::text_of, platform::live::Live};

pub const MEDIA_TYPE: &str = "text/event-stream";

const COMPLETE: &str = "event: complete\ndata: \n\n";

/// A query's or a mutation's answer, or why an operation can't run.
pub fn once(answer: &Answer) -> HttpResponse {
    let text = format!("event: next\ndata: {}\n\n{COMPLETE}", text_of(&answer.response));
    respond(answer, Body::from(text))
}

/// A subscription's answers, until the client goes or the server does. A server that goes says nothing: the client is to
/// come again.
pub fn events(answer: &Answer, answers: Answers, live: &Live) -> HttpResponse {
    let steps: Pin<Box<dyn Stream<Item = Step> + Send>> = Box::pin(answers.into_stream());
    let texts = steps.flat_map(|step| stream::iter(written(step)));
    let texts = texts.take_until(live.stopping().clone().cancelled_owned());
    respond(answer, Body::from_stream(texts.map(Ok::<_, Infallible>)))
}

/// In parts, one after the other: an answer's text may be many clients' and is not copied.
fn written(step: Step) -> Vec<Bytes> {
    match step {
        Step::Next { text, cursor } => {
            let head = format!("event: next\nid: {}\ndata: ", cursor.encode());
            vec![head.into(), text, Bytes::from_static(b"\n\n")]
        }
        Step::Failed { errors, .. } => {
            vec![format!("event: next\ndata: {{\"errors\":{errors}}}\n\n{COMPLETE}").into()]
        }
    }
}

fn respond(answer: &Answer, body: Body) -> HttpResponse {
    let mut response = HttpResponse::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    // nginx would hold the events back.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    decorate(&mut response, answer);
    response
}
