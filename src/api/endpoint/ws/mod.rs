//! `graphql-transport-ws` to the letter (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>). Queries and
//! mutations run here too, behind the same validation as over HTTP. One task reads and writes; each operation has its own
//! (`outbox.rs`), so that a client that does not read holds nothing but its own answers.

mod close;
mod handshake;
mod operation;
mod outbox;

use std::{
    convert::Infallible,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use async_graphql::Request;
use futures_util::{StreamExt as _, stream::SplitStream};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        error::{CapacityError, Error as SocketError},
        protocol::Message,
    },
};

pub use self::handshake::{is_upgrade, upgrade};
use self::{
    close::{Close, End, going_away, malformed, refused},
    operation::{failed, operate},
    outbox::Outbox,
};
use super::{
    Api, Client, Envelope,
    body::{InMessage, names_document},
    http::bearer,
};
use crate::{
    base::error::{Error, Refusal},
    platform::{auth::session::Credential, connections::Connection},
};

/// How long a client may take to hear that its socket is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

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
        let _ = timeout(CLOSE_TIMEOUT, writing).await;
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
        self.read_init_payload(&payload)?;
        match self.api.check_credential(&self.envelope).await {
            Ok(()) => {}
            Err(Error::Refused(refusal)) => return Err(refused(&refusal).into()),
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
    fn read_init_payload(&mut self, payload: &Map<String, Value>) -> Result<(), Close> {
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
