//! A receiver of webhooks on loopback: it keeps what it gets, and answers as its test says.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, Response, StatusCode},
    routing::any,
};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// One request that came.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// `webhook-id`.
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// `item.created`
    pub fn kind(&self) -> String {
        self.json()["type"].as_str().expect("a type").to_owned()
    }

    /// What a library of the standard does with it, at the time that was signed.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let webhook = standardwebhooks::Webhook::new(secret).expect("a secret");
        let timestamp = self.header("webhook-timestamp").parse().expect("seconds");
        let own = webhook.sign(self.id(), timestamp, &self.body).expect("text");
        self.header("webhook-signature").split(' ').any(|given| given == own)
    }
}

/// How it answers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// Before it answers.
    pub after: Duration,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new(), after: Duration::ZERO }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    pub fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }
}

type Manner = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

/// It ends with its last clone.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    manner: Arc<Mutex<Manner>>,
    open: Arc<Open>,
    _server: Arc<Serving>,
}

struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Requests that are being answered, and the most there ever were.
#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// One of them; it ends with the answer, or when the sender gives up.
struct Answering(Arc<Open>);

impl Answering {
    fn begin(open: Arc<Open>) -> Self {
        let now = open.now.fetch_add(1, Ordering::SeqCst) + 1;
        open.most.fetch_max(now, Ordering::SeqCst);
        Self(open)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Receiver {
    /// One that accepts everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let accept: Manner = Arc::new(|_: &Received| Answer::status(204));
        let manner = Arc::new(Mutex::new(accept));
        let open = Arc::<Open>::default();
        let (kept, says, begun) = (received.clone(), manner.clone(), open.clone());
        let handle = move |request: Request| {
            let (kept, says, answering) = (kept.clone(), says.clone(), Answering::begin(begun.clone()));
            async move {
                let _answering = answering;
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
                let path = parts.uri.path().to_owned();
                let one = Received { path, headers: parts.headers, body, at: Instant::now() };
                kept.lock().expect("kept").push(one.clone());
                let manner = says.lock().expect("a manner").clone();
                let answer = manner(&one);
                tokio::time::sleep(answer.after).await;
                let status = StatusCode::from_u16(answer.status).expect("a status");
                let mut response = Response::builder().status(status);
                for (name, value) in answer.headers {
                    response = response.header(name, value);
                }
                response.body(Body::from(answer.body)).expect("an answer")
            }
        };
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, Router::new().fallback(any(handle))).await;
        });
        Self { address, received, manner, open, _server: Arc::new(Serving(server)) }
    }

    /// From now on it answers like this.
    pub fn answers(&self, manner: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        *self.manner.lock().expect("a manner") = Arc::new(manner);
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The same receiver under another path.
    pub fn url_of(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Requests that were being answered at the same time, at most.
    pub fn most_at_once(&self) -> usize {
        self.open.most.load(Ordering::SeqCst)
    }

    /// All that has come.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("kept").clone()
    }

    /// What has come since the last call.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.received.lock().expect("kept"))
    }

    /// The types of what has come since the last call, in order.
    pub fn take_kinds(&self) -> Vec<String> {
        self.take().iter().map(Received::kind).collect()
    }
}
