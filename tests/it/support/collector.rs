//! A collector of traces on loopback: OTLP over HTTP, which keeps the spans that it gets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as Any, trace::v1::span::SpanKind,
};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinHandle};

/// A span as it came.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace_id: String,
    pub id: String,
    /// Empty at the root.
    pub parent: String,
    pub name: String,
    pub kind: SpanKind,
    pub attributes: HashMap<String, String>,
    /// Of the process that sent it.
    pub resource: HashMap<String, String>,
    pub has_failed: bool,
}

type Kept = Arc<Mutex<(Vec<Span>, Vec<HeaderMap>)>>;

pub struct Collector {
    pub url: String,
    kept: Kept,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let kept = Kept::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(kept.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, kept, task }
    }

    /// The spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.kept.lock().expect("nobody panics").0.clone()
    }

    /// Headers of the requests so far.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.kept.lock().expect("nobody panics").1.clone()
    }

    /// Waits for a span.
    pub async fn wait_for(&self, is_it: impl Fn(&Span) -> bool) -> Span {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(span) = self.spans().into_iter().find(&is_it) {
                return span;
            }
            assert!(Instant::now() < until, "it did not come: {:#?}", self.spans());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn take(State(kept): State<Kept>, headers: HeaderMap, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    let mut kept = kept.lock().expect("nobody panics");
    kept.1.push(headers);
    for of_resource in request.resource_spans {
        let resource = texts(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            kept.0.push(Span {
                trace_id: hex::encode(&span.trace_id),
                id: hex::encode(&span.span_id),
                parent: hex::encode(&span.parent_span_id),
                kind: span.kind(),
                has_failed: span.status.as_ref().is_some_and(|status| status.code == 2),
                name: span.name,
                attributes: texts(span.attributes),
                resource: resource.clone(),
            });
        }
    }
}

fn texts(attributes: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>) -> HashMap<String, String> {
    let text = |value: Any| match value {
        Any::StringValue(text) => text,
        Any::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = attributes.into_iter();
    pairs.map(|pair| (pair.key, pair.value.and_then(|it| it.value).map(text).unwrap_or_default())).collect()
}
