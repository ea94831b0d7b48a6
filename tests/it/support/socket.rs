//! Sockets and event streams to a test's server, over a real connection.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use todo_platform::api::http::serve::{Draining, serve};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use super::{
    app::TestApp,
    world::{Company, Person},
};

/// Far more than anything takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

impl TestApp {
    /// Listens on a free port, until the test ends; gives `host:port`.
    pub async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        let (router, state) = (self.router.clone(), self.state.clone());
        tokio::spawn(async move {
            serve(listener, router, &state, &Draining::default(), std::future::pending()).await;
        });
        address
    }

    /// A socket that has said nothing yet.
    pub async fn socket(&self) -> Socket {
        Socket::connect(&self.listen().await, "/graphql", &[]).await
    }

    /// A socket of a member, let in.
    pub async fn socket_of(&self, company: &Company, person: &Person) -> Socket {
        Socket::of(&self.listen().await, company, person).await
    }
}

/// What comes from a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    Json(Value),
    Closed(u16, String),
    /// Without a close frame.
    Gone,
}

pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    last_id: u32,
}

impl Socket {
    /// # Errors
    ///
    /// What the server answered instead of a socket.
    pub async fn try_connect(address: &str, path: &str, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await.map_err(Error::Io)?;
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().expect("a header"));
        for (name, value) in headers {
            if value.is_empty() {
                request.headers_mut().remove(*name);
            } else {
                request.headers_mut().insert(*name, value.parse().expect("a header"));
            }
        }
        let (stream, _) = client_async(request, stream).await?;
        Ok(Self { stream, last_id: 0 })
    }

    pub async fn connect(address: &str, path: &str, headers: &[(&'static str, &str)]) -> Self {
        Self::try_connect(address, path, headers).await.expect("a socket")
    }

    /// Of a member, let in.
    pub async fn of(address: &str, company: &Company, person: &Person) -> Self {
        Self::let_in(
            address,
            json!({ "authorization": format!("Bearer {}", person.token), "organization": company.slug }),
        )
        .await
    }

    /// With this `connection_init`, let in.
    pub async fn let_in(address: &str, payload: Value) -> Self {
        let mut socket = Self::connect(address, "/graphql", &[]).await;
        socket.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(socket.next().await, Frame::Json(json!({ "type": "connection_ack" })));
        socket
    }

    pub async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        // A server that has closed says so when it is read from.
        let _ = self.stream.send(Message::text(text)).await;
    }

    pub async fn send_binary(&mut self) {
        let _ = self.stream.send(Message::binary(vec![1, 2, 3])).await;
    }

    /// Begins an operation; gives its id.
    pub async fn subscribe(&mut self, query: &str, variables: Value) -> String {
        self.start(json!({ "query": query, "variables": variables })).await
    }

    pub async fn start(&mut self, payload: Value) -> String {
        self.last_id += 1;
        let id = format!("op-{}", self.last_id);
        self.send(json!({ "type": "subscribe", "id": id, "payload": payload })).await;
        id
    }

    /// The next message, or the end. Pings are answered and passed over.
    pub async fn next(&mut self) -> Frame {
        let read = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return Frame::Json(serde_json::from_str(&text).expect("messages are JSON"));
                    }
                    Some(Ok(Message::Close(Some(close)))) => {
                        return Frame::Closed(close.code.into(), close.reason.to_string());
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(other)) => panic!("no such frame: {other:?}"),
                    Some(Err(_)) | None => return Frame::Gone,
                }
            }
        };
        tokio::time::timeout(DEADLINE, read).await.expect("the server says something")
    }

    /// The code that the server closes with, whatever it says before.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            match self.next().await {
                Frame::Closed(code, _) => return code,
                Frame::Json(_) => {}
                Frame::Gone => panic!("gone without a close frame"),
            }
        }
    }

    /// The payload of the next message, which must be a `next`.
    pub async fn payload(&mut self) -> Value {
        match self.next().await {
            Frame::Json(message) if message["type"] == "next" => message["payload"].clone(),
            other => panic!("expected a next: {other:#?}"),
        }
    }

    /// The code of the first error of the next message, which must be an `error`.
    pub async fn error_code(&mut self) -> String {
        match self.next().await {
            Frame::Json(message) if message["type"] == "error" => {
                message["payload"][0]["extensions"]["code"].as_str().expect("a code").to_owned()
            }
            other => panic!("expected an error: {other:#?}"),
        }
    }

    /// The next batch of `subscription { events { … } }`.
    pub async fn batch(&mut self) -> Value {
        let payload = self.payload().await;
        assert!(payload.get("errors").is_none(), "{payload:#}");
        payload["data"]["events"].clone()
    }

    /// Events until one is found, batches without events passed over.
    pub async fn events_until(&mut self, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let batch = self.batch().await;
            events.extend(batch["events"].as_array().expect("events").iter().cloned());
            if events.last().is_some_and(&is_last) {
                return events;
            }
        }
    }

    /// Reads a result and its `complete`.
    pub async fn result(&mut self) -> Value {
        let payload = self.payload().await;
        match self.next().await {
            Frame::Json(message) if message["type"] == "complete" => payload,
            other => panic!("expected a complete: {other:#?}"),
        }
    }
}

/// The blocks of an event stream as they come: `(event, id, data)`.
pub struct Events {
    body: axum::body::BodyDataStream,
    buffer: String,
}

impl Events {
    pub fn of(body: axum::body::Body) -> Self {
        Self { body: body.into_data_stream(), buffer: String::new() }
    }

    /// `None` at the end.
    pub async fn next(&mut self) -> Option<(String, String, String)> {
        let read = async {
            loop {
                if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                    let field = |name: &str| {
                        let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                        line.unwrap_or_default().trim_start().to_owned()
                    };
                    let found = (field("event"), field("id"), field("data"));
                    self.buffer = rest.to_owned();
                    return Some(found);
                }
                let bytes = self.body.next().await?.expect("the body goes on");
                self.buffer.push_str(std::str::from_utf8(&bytes).expect("UTF-8"));
            }
        };
        tokio::time::timeout(DEADLINE, read).await.expect("the server says something")
    }
}
