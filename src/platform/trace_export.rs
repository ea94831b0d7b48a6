//! Sends spans to a collector: OTLP over HTTP, in protobuf. Whatever becomes of the collector, nobody waits for it: spans
//! wait in a queue of [`QUEUE`], what finds it full is dropped, a batch that is not taken is dropped, and both are counted
//! ([`COUNTS`]).

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, HOST},
};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry::{Context, KeyValue};
use opentelemetry_proto::{
    tonic::collector::trace::v1::ExportTraceServiceRequest,
    transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanProcessor},
};
use prost::Message as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use url::{Position, Url};

use crate::base::{
    config::{ConfigError, TracingConfig},
    secret,
    trace::COUNTS,
};

/// Spans that wait at most: some seconds of a busy server.
const QUEUE: usize = 8_192;
/// Spans in one request at most.
const BATCH: usize = 512;
/// How long a batch that is not full waits for more.
const GATHER: Duration = Duration::from_secs(1);
/// For one request, all of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a request that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// For what is left when the process ends.
const LAST: Duration = Duration::from_secs(5);

/// Spans on their way: made with the subscriber of the log, before there is a runtime; started within one.
#[derive(Debug)]
pub struct TraceExport {
    provider: SdkTracerProvider,
    queue: Receiver<SpanData>,
    collector: Collector,
    resource: Resource,
}

impl TraceExport {
    /// `None` where no collector is configured.
    pub fn new(config: &TracingConfig) -> Result<Option<Self>, ConfigError> {
        let Some(collector) = Collector::new(config)? else { return Ok(None) };
        let (sender, queue) = mpsc::channel(QUEUE);
        let instance = config.instance.clone().or_else(|| secret::random::<8>().ok().map(hex::encode));
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", config.service_name.clone()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance.unwrap_or_default()),
        ]);
        let resource = resource.build();
        // Whoever sends a trace has decided; what begins here is decided by chance.
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio)));
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_resource(resource.clone())
            .with_span_processor(Queue(Mutex::new(Some(sender))))
            .build();
        Ok(Some(Self { provider, queue, collector, resource }))
    }

    /// Makes the tracer that spans are made by.
    pub fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    /// Begins to send.
    pub fn start(self) -> Exporting {
        let attributes = ResourceAttributesWithSchema::from(&self.resource);
        let task = tokio::spawn(export(self.queue, self.collector, attributes));
        Exporting { provider: self.provider, task }
    }
}

/// Sends until it is finished.
#[derive(Debug)]
pub struct Exporting {
    provider: SdkTracerProvider,
    task: JoinHandle<()>,
}

impl Exporting {
    /// Sends what is left, for some seconds at most.
    pub async fn finish(self) {
        let _ = self.provider.shutdown();
        if timeout(LAST, self.task).await.is_err() {
            tracing::warn!("the last spans could not be sent in time");
        }
    }
}

/// Puts spans that have ended into the queue.
struct Queue(Mutex<Option<Sender<SpanData>>>);

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queue(…)")
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Without a sender the process ends, and nobody sends any more.
        if sender.as_ref().is_some_and(|sender| sender.try_send(span).is_err()) {
            dropped(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        // The exporter ends when it has sent what is left.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}

fn dropped(spans: usize) {
    COUNTS.dropped.fetch_add(spans as u64, Ordering::Relaxed);
}

async fn export(mut queue: Receiver<SpanData>, collector: Collector, resource: ResourceAttributesWithSchema) {
    let mut is_away = false;
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        if queue.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        let _ = timeout(GATHER, gather(&mut queue, &mut batch)).await;
        let spans = batch.len();
        let resource_spans = group_spans_by_resource_and_scope(batch, &resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        match collector.send(body.into()).await {
            Ok(()) => {
                COUNTS.exported.fetch_add(spans as u64, Ordering::Relaxed);
                if std::mem::take(&mut is_away) {
                    tracing::info!("the collector of traces takes spans again");
                }
            }
            Err(cause) => {
                dropped(spans);
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(cause, "the collector of traces takes no spans: they are dropped until it does");
                }
                // Not at the end, when what is left is to go while there is time.
                if !queue.is_closed() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Adds to a batch until it is full, or nothing more can come.
async fn gather(queue: &mut Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        if queue.recv_many(batch, room).await == 0 {
            return;
        }
    }
}

/// Where spans are sent.
pub struct Collector {
    url: Url,
    headers: HeaderMap,
    tls: TlsConnector,
}

impl fmt::Debug for Collector {
    /// Without the headers, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl Collector {
    /// `None` where none is configured. The operator has named it: it may be at any address.
    pub fn new(config: &TracingConfig) -> Result<Option<Self>, ConfigError> {
        let Some(url) = config.url()? else { return Ok(None) };
        let mut headers = config.header_map()?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError::Unreadable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Some(Self { url, headers, tls: TlsConnector::from(Arc::new(tls)) }))
    }

    /// Whether it takes a request, without any span; why not.
    pub async fn probe(&self) -> Result<(), String> {
        self.send(ExportTraceServiceRequest::default().encode_to_vec().into()).await
    }

    /// One request on a connection of its own.
    async fn send(&self, body: Bytes) -> Result<(), String> {
        let sent = timeout(PATIENCE, self.exchange(body)).await;
        let status = sent.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))?;
        status.is_success().then_some(()).ok_or_else(|| format!("it answered {status}"))
    }

    async fn exchange(&self, body: Bytes) -> Result<StatusCode, String> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = self.url.port_or_known_default().unwrap_or(80);
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
        let request = self.request(body)?;
        if self.url.scheme() == "http" {
            return post(stream, request).await;
        }
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(host).map_err(|error| error.to_string())?,
        };
        post(self.tls.connect(name, stream).await.map_err(|error| error.to_string())?, request).await
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            self.url[Position::BeforePath..Position::AfterQuery].parse().map_err(|_| "no path".to_owned())?;
        *request.headers_mut() = self.headers.clone();
        let authority =
            self.url[Position::BeforeHost..Position::AfterPort].parse().map_err(|_| "no host".to_owned())?;
        request.headers_mut().insert(HOST, authority);
        Ok(request)
    }
}

/// The answer's status; what else it says is not read.
async fn post<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error: hyper::Error| error.to_string())?;
    let answer = async move { sender.send_request(request).await.map_err(|error| error.to_string()) };
    // Polled here, so that the connection never outlives the call.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => Ok(answer?.status()),
        () = drive => Err("the connection ended".to_owned()),
    }
}
