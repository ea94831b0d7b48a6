//! `graphql-transport-ws` to the letter (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>), over one task a
//! socket. Queries and mutations run here too, behind the same gate as over HTTP.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use async_graphql::Request;
use axum::{
    extract::{
        FromRequestParts,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response as HttpResponse},
};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_stream::StreamMap;
use tungstenite::error::{CapacityError, Error as SocketError};

use super::{
    api::{Api, Client, Envelope, Started},
    error::{finish, server_error},
    http::{bearer, log_of},
    response::{has_data, text_of},
    stream::Step,
};
use crate::{
    auth::session::Credential,
    config::ServerConfig,
    error::{Code, Error, Refusal},
};

const PROTOCOL: &str = "graphql-transport-ws";
/// Small: most sockets are idle, and there are many.
const READ_BUFFER: usize = 4096;
/// Bytes that may wait to be written beside the message being written.
const WRITE_BUFFER: usize = 1 << 20;

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
    let socket = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(socket) => socket,
        Err(rejection) => return rejection.into_response(),
    };
    let limit = api.state.config.sockets.message_bytes;
    let socket = socket
        .protocols([PROTOCOL])
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(limit)
        .max_frame_size(limit);
    socket.on_upgrade(move |socket| Box::pin(serve(socket, api, envelope)))
}

fn refused(refusal: Refusal, envelope: &Envelope) -> String {
    let mut response = async_graphql::Response::from_errors(vec![server_error(refusal.into())]);
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
        CloseFrame { code: self.code, reason: self.reason.into() }
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
    Subscribe { id: String, payload: Box<Request> },
    Complete { id: String },
}

/// What an operation brings.
enum Outgoing {
    Next(Arc<str>),
    /// The operation is over: the JSON text of the errors.
    Error(String),
    /// Also the caller may not call any more.
    Withdrawn(String),
    Complete,
}

type Operation = Pin<Box<dyn Stream<Item = Outgoing> + Send>>;

struct Socket {
    socket: WebSocket,
    api: Api,
    envelope: Envelope,
    operations: StreamMap<String, Operation>,
    /// Operations so far.
    count: u64,
    /// When something came last.
    heard: Instant,
}

async fn serve(socket: WebSocket, api: Api, envelope: Envelope) {
    let _open = api.state.live.open_socket();
    let mut socket = Socket { socket, api, envelope, operations: StreamMap::new(), count: 0, heard: Instant::now() };
    let ended = match Box::pin(socket.greet()).await {
        Ok(()) => socket.run().await,
        Err(end) => Err(end),
    };
    if let Err(End::Close(close)) = ended {
        // Whoever does not take this is gone.
        let _ = timeout(Duration::from_secs(5), socket.socket.send(Message::Close(Some(close.frame())))).await;
    }
}

impl Socket {
    /// Waits for `connection_init`, and says that it is good.
    async fn greet(&mut self) -> Result<(), End> {
        if self.socket.protocol().is_none() {
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
        match self.api.greet(&self.envelope).await {
            Ok(()) => {}
            Err(Error::Refused(refusal)) if refusal.code == Code::Unauthenticated => {
                return Err(Close::new(4403, format!("Forbidden: {}", refusal.message)).into());
            }
            Err(Error::Refused(refusal)) => {
                return Err(Close::new(1013, format!("Try again later: {}", refusal.code)).into());
            }
            Err(error) => {
                tracing::error!(error = %error.describe(), "a socket could not be let in");
                return Err(Close::new(4500, "Internal server error").into());
            }
        }
        self.send(r#"{"type":"connection_ack"}"#.to_owned()).await
    }

    async fn init(&mut self) -> Result<Map<String, Value>, End> {
        loop {
            match self.receive().await? {
                Some(Incoming::ConnectionInit { payload }) => return Ok(payload.unwrap_or_default()),
                Some(Incoming::Ping { payload }) => self.pong(payload).await?,
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
        if let Some(value) = text("authorization")? {
            let credential = bearer(value).map_err(|refusal| Close::new(4403, refusal.message))?;
            self.envelope.credential = Some(credential);
        }
        if let Some(key) = text("x-api-key")? {
            self.envelope.credential = Some(Credential::ApiKey(key.to_owned()));
        }
        for name in ["organization", "x-organization"] {
            if let Some(organization) = text(name)? {
                self.envelope.organization.1 = Some(organization.to_owned());
            }
        }
        Ok(())
    }

    /// Until the client goes or the server must end it.
    async fn run(&mut self) -> Result<(), End> {
        let stopping = self.api.state.live.stopping().clone();
        let (ping, idle) = (self.api.state.config.sockets.ping, self.api.state.config.sockets.idle);
        let mut pings = tokio::time::interval_at(tokio::time::Instant::now() + ping, ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_closing = false;
        loop {
            tokio::select! {
                // `None`: the last has ended, perhaps with the server; the check below must see it.
                next = self.operations.next(), if !self.operations.is_empty() => {
                    if let Some((id, outgoing)) = next {
                        self.forward(&id, outgoing).await?;
                    }
                }
                message = receive(&mut self.socket) => {
                    self.heard = Instant::now();
                    if let Some(message) = parse(message?)? {
                        self.handle(message, is_closing).await?;
                    }
                }
                _ = pings.tick() => {
                    if self.heard.elapsed() >= idle {
                        return Err(Close::new(1001, "Nothing came for too long").into());
                    }
                    self.write(Message::Ping(Vec::new().into())).await?;
                }
                () = stopping.cancelled(), if !is_closing => is_closing = true,
            }
            // Subscriptions have ended by themselves; what else is under way may finish.
            if is_closing && self.operations.is_empty() {
                return Err(going_away().into());
            }
        }
    }

    async fn handle(&mut self, message: Incoming, is_closing: bool) -> Result<(), End> {
        match message {
            Incoming::ConnectionInit { .. } => Err(Close::new(4429, "Too many initialisation requests").into()),
            Incoming::Ping { payload } => self.pong(payload).await,
            Incoming::Pong {} => Ok(()),
            Incoming::Complete { id } => {
                self.operations.remove(&id);
                Ok(())
            }
            Incoming::Subscribe { .. } if is_closing => Ok(()),
            Incoming::Subscribe { id, payload } => self.subscribe(id, *payload).await,
        }
    }

    async fn subscribe(&mut self, id: String, request: Request) -> Result<(), End> {
        if id.is_empty() || request.query.trim().is_empty() && !request.extensions.contains_key("persistedQuery") {
            return Err(malformed("`subscribe` needs an id and a query").into());
        }
        if self.operations.contains_key(&id) {
            return Err(Close::new(4409, format!("Subscriber for {id} already exists")).into());
        }
        let mut envelope = self.envelope.clone();
        self.count += 1;
        envelope.origin.request_id = format!("{}.{}", envelope.origin.request_id, self.count).into();
        let limit = self.api.state.config.sockets.operations;
        if self.operations.len() >= limit {
            let message = format!("At most {limit} operations may run on one socket at a time.");
            let refusal = Refusal::bad_request(message).details(json!({ "limit": limit }));
            let mut response = async_graphql::Response::from_errors(vec![server_error(refusal.into())]);
            finish(&mut response, &envelope.origin.request_id);
            let errors = serde_json::to_string(&response.errors).unwrap_or_default();
            return self.forward(&id, Outgoing::Error(errors)).await;
        }
        let client = Arc::new(Client { api: self.api.clone(), envelope });
        self.operations.insert(id, operation(client, request));
        Ok(())
    }

    async fn forward(&mut self, id: &str, outgoing: Outgoing) -> Result<(), End> {
        let id = serde_json::to_string(id).unwrap_or_default();
        match outgoing {
            Outgoing::Next(payload) => self.send(message(&id, "next", Some(&payload))).await,
            Outgoing::Error(errors) => self.send(message(&id, "error", Some(&errors))).await,
            Outgoing::Complete => self.send(message(&id, "complete", None)).await,
            Outgoing::Withdrawn(errors) => {
                self.send(message(&id, "error", Some(&errors))).await?;
                Err(Close::new(4403, "Forbidden").into())
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<Incoming>, End> {
        let message = receive(&mut self.socket).await?;
        self.heard = Instant::now();
        parse(message)
    }

    async fn pong(&mut self, payload: Option<Value>) -> Result<(), End> {
        let mut pong = json!({ "type": "pong" });
        if let Some(payload) = payload {
            pong["payload"] = payload;
        }
        self.send(pong.to_string()).await
    }

    async fn send(&mut self, text: String) -> Result<(), End> {
        self.write(Message::Text(text.into())).await
    }

    /// Whoever takes nothing for too long is gone.
    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.api.state.config.sockets.idle, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(End::Gone),
        }
    }
}

/// The next frame that matters.
async fn receive(socket: &mut WebSocket) -> Result<Message, End> {
    match socket.recv().await {
        None => Err(End::Gone),
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => match error.into_inner().downcast_ref::<SocketError>() {
            Some(SocketError::Capacity(CapacityError::MessageTooLong { max_size, .. })) => {
                Err(Close::new(1009, format!("A message has at most {max_size} bytes")).into())
            }
            Some(SocketError::Utf8(_)) => Err(Close::new(1007, "Text must be UTF-8").into()),
            Some(SocketError::Protocol(_)) => Err(Close::new(1002, "Protocol error").into()),
            _ => Err(End::Gone),
        },
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
        Message::Ping(_) | Message::Pong(_) => Ok(None),
        Message::Close(_) => Err(End::Gone),
    }
}

fn malformed(what: &str) -> Close {
    Close::new(4400, format!("Invalid message: {what}"))
}

fn going_away() -> Close {
    Close::new(1001, "Going away")
}

/// `{"id":…,"type":…,"payload":…}`. The payload is JSON text as it is.
fn message(id: &str, kind: &str, payload: Option<&str>) -> String {
    let mut text = String::with_capacity(id.len() + kind.len() + payload.map_or(0, str::len) + 32);
    for part in ["{\"id\":", id, ",\"type\":\"", kind, "\""] {
        text.push_str(part);
    }
    if let Some(payload) = payload {
        text.push_str(",\"payload\":");
        text.push_str(payload);
    }
    text.push('}');
    text
}

/// Runs one operation. A panic ends it and nothing else.
fn operation(client: Arc<Client>, request: Request) -> Operation {
    let request_id = client.envelope.origin.request_id.clone();
    let steps = stream::once(begin(client, request)).flatten();
    Box::pin(AssertUnwindSafe(steps).catch_unwind().map(move |step| {
        step.unwrap_or_else(|_| {
            // The hook has logged where it was.
            let mut response =
                async_graphql::Response::from_errors(vec![server_error(Error::internal("an operation panicked"))]);
            finish(&mut response, &request_id);
            Outgoing::Error(serde_json::to_string(&response.errors).unwrap_or_default())
        })
    }))
}

async fn begin(client: Arc<Client>, request: Request) -> Operation {
    let begun = Instant::now();
    let started = client.start(request).await;
    let (Started::Answer(answer) | Started::Stream(answer, _)) = &started;
    log_of(answer).say(&client.envelope.origin, begun.elapsed());
    match started {
        Started::Stream(_, answers) => {
            let steps = answers.into_stream().map(|step| match step {
                Step::Next { text, .. } => Outgoing::Next(text),
                Step::Failed { errors, is_withdrawn: true } => Outgoing::Withdrawn(errors),
                Step::Failed { errors, is_withdrawn: false } => Outgoing::Error(errors),
            });
            // Without a `complete`: the client is to come again.
            Box::pin(steps.take_until(client.api.state.live.stopping().clone().cancelled_owned()))
        }
        Started::Answer(answer) => {
            let response = &answer.response;
            let is_subscription = answer.is_subscription();
            if has_data(response) && !is_subscription {
                Box::pin(stream::iter([Outgoing::Next(text_of(response).into()), Outgoing::Complete]))
            } else {
                let errors = serde_json::to_string(&response.errors).unwrap_or_default();
                Box::pin(stream::iter([Outgoing::Error(errors)]))
            }
        }
    }
}
