//! `graphql-transport-ws` to the letter (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>). Queries and
//! mutations run here too, behind the same validation as over HTTP. One task reads and writes; each operation has its own
//! (`outbox.rs`), so that a client that does not read holds nothing but its own answers.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use async_graphql::Request;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Request as HttpRequest, StatusCode, header, request::Parts},
    response::{IntoResponse, Response as HttpResponse},
};
use futures_util::{Stream, StreamExt as _, stream, stream::SplitStream};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        error::{CapacityError, Error as SocketError},
        handshake::server::create_response_with_body,
        protocol::{CloseFrame, Message, Role, WebSocketConfig},
    },
};

use super::{
    Api, Client, Envelope, Started,
    body::{InMessage, names_document},
    http::{bearer, log_of},
    outbox::{Outbox, Outgoing, Ticket},
    stream::Step,
};
use crate::{
    base::{
        config::ServerConfig,
        error::{Code, Error, Refusal},
    },
    graphql::{
        error::{finish, server_errors},
        response::{has_data, text_of},
    },
    platform::{auth::session::Credential, connections::Connection},
};

const PROTOCOL: &str = "graphql-transport-ws";
/// Small: most sockets are idle, and there are many.
const READ_BUFFER: usize = 4096;
/// How long a client may take to hear that its socket is closed.
const FAREWELL: Duration = Duration::from_secs(5);

/// Whether a request asks for a socket.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// Answers with a socket, unless a foreign page asks for it.
pub async fn upgrade(api: Api, mut parts: Parts, envelope: Envelope) -> HttpResponse {
    if !is_own_page(&parts.headers, &api.state.config.server) {
        let refusal = Refusal::new(Code::Forbidden, "Pages of this origin may not connect (CORS_ORIGINS).");
        return (StatusCode::FORBIDDEN, refused(refusal, &envelope)).into_response();
    }
    let (Some(upgrade), Some(connection)) =
        (parts.extensions.remove::<OnUpgrade>(), parts.extensions.remove::<Arc<Connection>>())
    else {
        let refusal = Refusal::bad_request("This connection can't become a WebSocket.");
        return (StatusCode::UPGRADE_REQUIRED, refused(refusal, &envelope)).into_response();
    };
    let is_spoken = speaks(&parts.headers);
    // Checks what the client asks for, and signs it.
    let mut response = match create_response_with_body(&HttpRequest::from_parts(parts, ()), Body::empty) {
        Ok(response) => response,
        Err(error) => {
            let refusal = Refusal::bad_request(format!("This is no WebSocket's handshake: {error}."));
            return (StatusCode::BAD_REQUEST, refused(refusal, &envelope)).into_response();
        }
    };
    if is_spoken {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let limit = Some(api.state.config.sockets.message_bytes);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(limit)
            .max_frame_size(limit);
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        Box::pin(serve(stream, is_spoken, api, envelope, connection)).await;
    });
    response
}

/// Whether the client offers the protocol.
fn speaks(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offered.flat_map(|value| value.split(',')).any(|protocol| protocol.trim() == PROTOCOL)
}

fn refused(refusal: Refusal, envelope: &Envelope) -> String {
    let mut response = async_graphql::Response::from_errors(server_errors(refusal.into()));
    finish(&mut response, &envelope.origin.request_id);
    text_of(&response)
}

/// Browsers name the page's origin and enforce nothing: it must be configured, or this server's own. Other clients name
/// none.
fn is_own_page(headers: &HeaderMap, config: &ServerConfig) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    config.cors_origins.iter().any(|allowed| allowed == origin)
        || config.public_url.as_deref().is_some_and(|url| url == origin || url.starts_with(&format!("{origin}/")))
        || authority.is_some() && authority == host
}

/// Why the server closes a socket.
#[derive(Debug)]
struct Close {
    code: u16,
    reason: String,
}

impl Close {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// A close frame holds 123 bytes of reason.
    fn frame(mut self) -> CloseFrame {
        let end = (0..=self.reason.len().min(123)).rev().find(|end| self.reason.is_char_boundary(*end));
        self.reason.truncate(end.unwrap_or_default());
        CloseFrame { code: self.code.into(), reason: self.reason.into() }
    }
}

/// How a socket ends.
enum End {
    /// The client is gone.
    Gone,
    Close(Close),
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// What clients send.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Incoming {
    ConnectionInit { payload: Option<Map<String, Value>> },
    Ping { payload: Option<Value> },
    Pong {},
    Subscribe { id: String, payload: Box<InMessage> },
    Complete { id: String },
}

type Raw = WebSocketStream<TokioIo<Upgraded>>;

type Operation = Pin<Box<dyn Stream<Item = Outgoing> + Send>>;

struct Socket {
    source: SplitStream<Raw>,
    is_spoken: bool,
    api: Api,
    envelope: Envelope,
    outbox: Arc<Outbox>,
    /// Operations so far.
    count: u64,
    /// When something came last.
    heard: Instant,
}

async fn serve(stream: Raw, is_spoken: bool, api: Api, envelope: Envelope, connection: Arc<Connection>) {
    let _open = api.state.live.open_socket();
    let (sink, source) = stream.split();
    let outbox = Arc::new(Outbox::new(api.state.config.sockets.queue_bytes, connection.clone()));
    let deadline = api.state.config.server.write_timeout;
    let mut socket =
        Socket { source, is_spoken, api, envelope, outbox: outbox.clone(), count: 0, heard: Instant::now() };
    let mut writing = pin!(outbox.write(sink, deadline));
    let end = tokio::select! {
        end = socket.run() => end,
        () = &mut writing => End::Gone,
        () = connection.cut().cancelled() => End::Gone,
    };
    outbox.stop_all();
    if let End::Close(close) = end {
        outbox.close(close.frame());
        // Whoever does not take this is gone.
        let _ = timeout(FAREWELL, writing).await;
    }
}

impl Socket {
    /// Until the client goes or the server must end it.
    async fn run(&mut self) -> End {
        let Err(end) = async {
            Box::pin(self.check_credential()).await?;
            self.listen().await
        }
        .await;
        end
    }

    /// Waits for `connection_init`, and says that it is good.
    async fn check_credential(&mut self) -> Result<(), End> {
        if !self.is_spoken {
            return Err(Close::new(4406, "Subprotocol not acceptable").into());
        }
        let patience = self.api.state.config.sockets.init_timeout;
        let stopping = self.api.state.live.stopping().clone();
        let payload = tokio::select! {
            payload = timeout(patience, self.init()) => {
                payload.map_err(|_| Close::new(4408, "Connection initialisation timeout"))??
            }
            () = stopping.cancelled() => return Err(going_away().into()),
        };
        self.introduce(&payload)?;
        match self.api.check_credential(&self.envelope).await {
            Ok(()) => {}
            Err(Error::Refused(refusal)) => return Err(turned_away(&refusal).into()),
            Err(error) => {
                tracing::error!(error = %error.describe(), "a socket could not be let in");
                return Err(Close::new(4500, "Internal server error").into());
            }
        }
        self.outbox.say_plainly(r#"{"type":"connection_ack"}"#.to_owned()).await;
        Ok(())
    }

    async fn init(&mut self) -> Result<Map<String, Value>, End> {
        loop {
            match self.receive().await? {
                Some(Incoming::ConnectionInit { payload }) => return Ok(payload.unwrap_or_default()),
                Some(Incoming::Ping { payload }) => self.pong(payload).await,
                Some(Incoming::Subscribe { .. }) => return Err(Close::new(4401, "Unauthorized").into()),
                Some(Incoming::Pong {} | Incoming::Complete { .. }) | None => {}
            }
        }
    }

    /// What `connection_init` says of credential and organization; it counts more than the upgrade's headers.
    fn introduce(&mut self, payload: &Map<String, Value>) -> Result<(), Close> {
        let text = |name: &str| {
            let found = payload.iter().find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null());
            found
                .map(|(_, value)| value.as_str().ok_or_else(|| Close::new(4400, format!("`{name}` must be a string"))))
                .transpose()
        };
        let token = text("authorization")?.map(bearer).transpose();
        let token = token.map_err(|refusal| Close::new(4403, refusal.message))?;
        let key = text("x-api-key")?.map(|key| Credential::ApiKey(key.to_owned()));
        if key.is_some() && token.is_some() && key != token {
            return Err(Close::new(4400, "`authorization` and `x-api-key` are two credentials; send one"));
        }
        if let Some(credential) = key.or(token) {
            self.envelope.credential = Some(credential);
        }
        for name in ["organization", "x-organization"] {
            if let Some(organization) = text(name)? {
                self.envelope.organization.1 = Some(organization.to_owned());
            }
        }
        Ok(())
    }

    /// Deals with what the client says.
    async fn listen(&mut self) -> Result<Infallible, End> {
        let stopping = self.api.state.live.stopping().clone();
        let (ping, idle) = (self.api.state.config.sockets.ping, self.api.state.config.sockets.idle);
        let mut pings = tokio::time::interval_at(tokio::time::Instant::now() + ping, ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_closing = false;
        loop {
            tokio::select! {
                message = receive(&mut self.source) => {
                    self.heard = Instant::now();
                    if let Some(message) = parse(message?)? {
                        self.handle(message, is_closing).await?;
                    }
                }
                _ = pings.tick() => {
                    if self.heard.elapsed() >= idle {
                        return Err(Close::new(1001, "Nothing came for too long").into());
                    }
                    self.outbox.ping();
                }
                () = stopping.cancelled(), if !is_closing => is_closing = true,
                // Subscriptions end by themselves; what else is under way may finish.
                () = self.outbox.idle(), if is_closing => return Err(going_away().into()),
            }
        }
    }

    async fn handle(&mut self, message: Incoming, is_closing: bool) -> Result<(), End> {
        match message {
            Incoming::ConnectionInit { .. } => Err(Close::new(4429, "Too many initialisation requests").into()),
            Incoming::Ping { payload } => {
                self.pong(payload).await;
                Ok(())
            }
            Incoming::Pong {} => Ok(()),
            Incoming::Complete { id } => {
                self.outbox.stop(&id);
                Ok(())
            }
            Incoming::Subscribe { .. } if is_closing => Ok(()),
            Incoming::Subscribe { id, payload } => self.subscribe(id, (*payload).into()).await,
        }
    }

    async fn subscribe(&mut self, id: String, request: Request) -> Result<(), End> {
        if id.is_empty() || !names_document(&request) {
            return Err(malformed("`subscribe` needs an id and a query").into());
        }
        if self.outbox.is_running(&id) {
            return Err(Close::new(4409, format!("Subscriber for {id} already exists")).into());
        }
        let mut envelope = self.envelope.clone();
        self.count += 1;
        envelope.meter = self.api.processor.meter(envelope.origin.ip);
        envelope.origin.request_id = format!("{}.{}", envelope.origin.request_id, self.count).into();
        let limit = self.api.state.config.sockets.operations;
        let is_full = self.outbox.running() >= limit;
        let client = Arc::new(Client { api: self.api.clone(), envelope });
        let outbox = self.outbox.clone();
        self.outbox.begin(id, |ticket| async move {
            if is_full {
                let message = format!("At most {limit} operations may run on one socket at a time.");
                let refusal = Refusal::bad_request(message).details(json!({ "limit": limit }));
                return outbox.say(&ticket, failed(refusal.into(), &client.envelope.origin.request_id)).await;
            }
            operate(&outbox, &ticket, client, request).await;
        });
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Incoming>, End> {
        let message = receive(&mut self.source).await?;
        self.heard = Instant::now();
        parse(message)
    }

    async fn pong(&mut self, payload: Option<Value>) {
        let mut pong = json!({ "type": "pong" });
        if let Some(payload) = payload {
            pong["payload"] = payload;
        }
        self.outbox.say_plainly(pong.to_string()).await;
    }
}

/// The next frame that matters.
async fn receive(source: &mut SplitStream<Raw>) -> Result<Message, End> {
    match source.next().await {
        None => Err(End::Gone),
        Some(Ok(message)) => Ok(message),
        Some(Err(SocketError::Capacity(CapacityError::MessageTooLong { max_size, .. }))) => {
            Err(Close::new(1009, format!("A message has at most {max_size} bytes")).into())
        }
        Some(Err(SocketError::Utf8(_))) => Err(Close::new(1007, "Text must be UTF-8").into()),
        Some(Err(SocketError::Protocol(_))) => Err(Close::new(1002, "Protocol error").into()),
        Some(Err(_)) => Err(End::Gone),
    }
}

/// `None` for frames of the socket itself.
fn parse(message: Message) -> Result<Option<Incoming>, End> {
    match message {
        Message::Text(text) => match serde_json::from_str(&text) {
            Ok(incoming) => Ok(Some(incoming)),
            Err(error) => Err(malformed(&error.to_string()).into()),
        },
        Message::Binary(_) => Err(malformed("messages are text").into()),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
        Message::Close(_) => Err(End::Gone),
    }
}

/// Why a client is not let in: what will pass by itself, what the credential is not good for, what is wrong for ever.
fn turned_away(refusal: &Refusal) -> Close {
    match refusal.code {
        Code::Unauthenticated | Code::Forbidden => Close::new(4403, format!("Forbidden: {}", refusal.message)),
        Code::RateLimited | Code::Unavailable | Code::Timeout => {
            Close::new(1013, format!("Try again later: {}", refusal.code))
        }
        _ => Close::new(4400, format!("{}: {}", refusal.code, refusal.message)),
    }
}

fn malformed(what: &str) -> Close {
    Close::new(4400, format!("Invalid message: {what}"))
}

fn going_away() -> Close {
    Close::new(1001, "Going away")
}

/// The end of an operation by an error.
fn failed(error: Error, request_id: &str) -> Outgoing {
    let mut response = async_graphql::Response::from_errors(server_errors(error));
    finish(&mut response, request_id);
    Outgoing::Error(serde_json::to_string(&response.errors).unwrap_or_default())
}

/// Runs one operation. A panic ends it and nothing else.
async fn operate(outbox: &Outbox, ticket: &Ticket, client: Arc<Client>, request: Request) {
    let request_id = client.envelope.origin.request_id.clone();
    // The meter has it in a box of its own, which goes once it has begun: it is large, and there are many idle streams.
    let meter = client.envelope.meter.clone();
    let steps = stream::once(meter.run(begin(client, request))).flatten();
    let mut steps: Operation = Box::pin(AssertUnwindSafe(steps).catch_unwind().map(move |step| {
        // The hook has logged where it was.
        step.unwrap_or_else(|_| failed(Error::internal("an operation panicked"), &request_id))
    }));
    while let Some(outgoing) = steps.next().await {
        outbox.say(ticket, outgoing).await;
    }
    outbox.end(ticket);
}

async fn begin(client: Arc<Client>, request: Request) -> Operation {
    let begun = Instant::now();
    let started = client.start(request).await;
    let (Started::Answer(answer) | Started::Stream(answer, _)) = &started;
    log_of(answer).say(&client.envelope.origin, begun.elapsed(), None);
    match started {
        Started::Stream(_, answers) => {
            let steps = answers.into_stream().map(|step| match step {
                Step::Next { text, .. } => Outgoing::Next(text),
                Step::Failed { errors, is_withdrawn: true } => {
                    Outgoing::Withdrawn(errors, Close::new(4403, "Forbidden").frame())
                }
                Step::Failed { errors, is_withdrawn: false } => Outgoing::Error(errors),
            });
            // Without a `complete`: the client is to come again.
            Box::pin(steps.take_until(client.api.state.live.stopping().clone().cancelled_owned()))
        }
        Started::Answer(answer) => {
            let response = &answer.response;
            let is_subscription = answer.is_subscription();
            if has_data(response) && !is_subscription {
                let text = client.api.state.connections.weigh(text_of(response));
                Box::pin(stream::iter([Outgoing::Next(text), Outgoing::Complete]))
            } else {
                let errors = serde_json::to_string(&response.errors).unwrap_or_default();
                Box::pin(stream::iter([Outgoing::Error(errors)]))
            }
        }
    }
}
