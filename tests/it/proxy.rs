//! `docker/nginx/nginx.conf`, as it is, in front of two instances: TLS, queries, events, sockets, an instance that goes, and
//! what must not be seen from outside. Needs nginx: without it, it passes and says so; with `TEST_REQUIRE_NGINX=1` it fails.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use crate::{
    process::{KEY, Process, folder, register},
    support::postgres,
};

/// Far more than a busy machine needs.
const DEADLINE: Duration = Duration::from_secs(60);

/// nginx in the foreground; it ends with the test.
pub struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether there is nginx; says so where there is none.
pub fn is_there() -> bool {
    let found = Command::new("nginx").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    if !is_there {
        assert!(
            std::env::var("TEST_REQUIRE_NGINX").as_deref() != Ok("1"),
            "TEST_REQUIRE_NGINX=1, but there is no nginx"
        );
        postgres::announce("nginx is not installed: its configuration is not tried");
    }
    is_there
}

/// RFC 7468.
fn pem(what: &str, bytes: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(bytes);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// The configuration of `docker/nginx` with the instances of a test (two or more), and ports that anybody may listen on.
pub async fn start(folder: &Path, instances: &[&str]) -> (Nginx, Front) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/nginx");
    let (secure, plain) = (free_port(), free_port());
    let read = |name: &str| fs::read_to_string(here.join(name)).expect("a file of docker/nginx");
    let configuration = read("nginx.conf")
        .replace("listen 443 ssl", &format!("listen 127.0.0.1:{secure} ssl"))
        .replace("listen 80;", &format!("listen 127.0.0.1:{plain};"))
        .replace("/tmp/nginx", &format!("{}/nginx", folder.display()))
        .replace("/dev/stdout", &format!("{}/access.log", folder.display()));
    let configuration = format!("daemon off;\nmaster_process off;\n{configuration}");
    let mut upstream = read("upstream.conf");
    for (name, instance) in ["api-1:8000", "api-2:8000"].into_iter().zip(instances) {
        assert!(upstream.contains(name), "{name}");
        upstream = upstream.replace(name, instance.trim_start_matches("http://"));
    }
    // More of them, as the file has the second.
    let second = instances[1].trim_start_matches("http://");
    let line = upstream.lines().find(|line| line.contains(second)).expect("its line").to_owned();
    for instance in instances.iter().skip(2).rev() {
        let another = line.replace(second, instance.trim_start_matches("http://"));
        upstream = upstream.replace(&line, &format!("{line}\n{another}"));
    }
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair for TLS");
    fs::create_dir(folder.join("certificates")).expect("a folder");
    fs::write(folder.join("certificates/server.crt"), pem("CERTIFICATE", pair.cert.der())).expect("written");
    fs::write(folder.join("certificates/server.key"), pem("PRIVATE KEY", &pair.signing_key.serialize_der()))
        .expect("written");
    fs::write(folder.join("nginx.conf"), configuration).expect("written");
    fs::write(folder.join("upstream.conf"), upstream).expect("written");
    let arguments = |command: &mut Command| {
        command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
    };
    let mut test = Command::new("nginx");
    arguments(&mut test);
    let tested = test.arg("-t").output().expect("nginx -t");
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    let mut command = Command::new("nginx");
    arguments(&mut command);
    let running = Nginx(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nginx starts"));
    let until = Instant::now() + DEADLINE;
    while TcpStream::connect(("127.0.0.1", secure)).await.is_err() {
        assert!(Instant::now() < until, "nginx listens");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut trusted = RootCertStore::empty();
    trusted.add(CertificateDer::from(pair.cert.der().to_vec())).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(trusted)
        .with_no_client_auth();
    (running, Front { secure, plain, tls: TlsConnector::from(Arc::new(config)) })
}

/// nginx, as clients reach it. Clones reach the same.
#[derive(Clone)]
pub struct Front {
    secure: u16,
    plain: u16,
    tls: TlsConnector,
}

impl Front {
    pub async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.secure)).await.expect("nginx listens");
        self.tls.connect("localhost".try_into().expect("a name"), stream).await.expect("its certificate is good")
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect().await)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        tokio::time::timeout(DEADLINE, sender.send_request(request)).await.expect("in time").expect("an answer")
    }

    /// Status and body; an error where the body ends early.
    pub async fn answer(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), hyper::Error> {
        let answer = self.send(request).await;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    /// A socket, as `graphql-transport-ws` has it, that has said nothing yet.
    pub async fn socket(&self) -> Result<WebSocketStream<TlsStream<TcpStream>>, Error> {
        let mut request = "wss://localhost/graphql".into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().expect("a value"));
        Ok(tokio_tungstenite::client_async(request, self.connect().await).await?.0)
    }

    pub fn post(token: &str) -> http::request::Builder {
        Request::post("/graphql")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
    }

    pub async fn ask(&self, token: &str, query: &str) -> Value {
        let body = Bytes::from(json!({ "query": query }).to_string());
        let answer = self.send(Self::post(token).body(Full::new(body)).expect("a request")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let text = answer.into_body().collect().await.expect("a body").to_bytes();
        serde_json::from_slice(&text).expect("JSON")
    }

    async fn status_of(&self, path: &str, token: &str) -> StatusCode {
        let request = Request::get(path).header("host", "localhost").header("authorization", format!("Bearer {token}"));
        let answer = self.send(request.body(Full::default()).expect("a request")).await;
        let status = answer.status();
        answer.into_body().collect().await.expect("a body");
        status
    }
}

const CREATE: &str = "mutation { itemCreate(input: {title: \"One\"}) { item { id } userErrors { code } } }";
const EVENTS: &str = "subscription { events { events { type } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_behind_nginx_are_one_server() {
    if !is_there() {
        return;
    }
    let Some(server) = postgres::server() else { return };
    let (folder, schema) = (folder(), server.create_schema().await);
    let url = server.schema_url(&schema);
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("SECRET_KEY", KEY),
        ("TODO_MODE", "production"),
        ("TODO_DATABASE_MAX_CONNECTIONS", "4"),
        ("TODO_SERVER_TRUSTED_PROXIES", "127.0.0.1/32"),
        ("TODO_SERVER_METRICS", "on"),
        ("TODO_SERVER_DRAIN_DELAY", "1s"),
    ];
    assert!(Process::spawn(folder.path(), &["migrate"], &settings).ended().status.success());
    let mut instances = [Process::spawn(folder.path(), &[], &settings), Process::spawn(folder.path(), &[], &settings)];
    let urls = [instances[0].url(), instances[1].url()];
    let (_nginx, front) = start(folder.path(), &[&urls[0], &urls[1]]).await;

    let ann = register(&urls[0], "ann").await;
    let token = ann["accessToken"].as_str().expect("a token");
    let found = "mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }";
    assert_eq!(front.ask(token, found).await["data"]["organizationCreate"]["userErrors"], json!([]));
    for _ in 0..4 {
        // Whichever instance answers.
        assert_eq!(
            front.ask(token, "{ viewer { user { username } } }").await["data"]["viewer"]["user"]["username"],
            "ann"
        );
    }
    // What is for the inside, and what is not encrypted.
    assert_eq!(front.status_of("/metrics", token).await, StatusCode::NOT_FOUND);
    assert_eq!(front.status_of("/health/ready", token).await, StatusCode::OK);
    let plain = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let moved = plain.get(format!("http://127.0.0.1:{}/graphql?a=b", front.plain)).send().await.expect("an answer");
    assert_eq!(
        (moved.status().as_u16(), &moved.headers()["location"]),
        (308, &"https://127.0.0.1/graphql?a=b".parse().expect("a value"))
    );

    events_come_as_they_happen(&front, token).await;
    sockets_are_carried(&front, token).await;

    // One instance drains and goes: who reads notices nothing.
    instances[0].terminate();
    let query = "/graphql?query=%7B__typename%7D";
    let until = Instant::now() + Duration::from_secs(4);
    let mut read = 0;
    while Instant::now() < until {
        assert_eq!(front.status_of(query, token).await, StatusCode::OK, "after {read}");
        read += 1;
    }
    let [first, _second] = instances;
    assert_eq!(first.ended().status.code(), Some(0));
    assert_eq!(front.ask(token, CREATE).await["data"]["itemCreate"]["userErrors"], json!([]));
    server.drop_schema(&schema).await;
}

/// Server-sent events: not held back until there are more.
async fn events_come_as_they_happen(front: &Front, token: &str) {
    let body = Bytes::from(json!({ "query": EVENTS }).to_string());
    let request = Front::post(token).header("accept", "text/event-stream").body(Full::new(body));
    let answer = front.send(request.expect("a request")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    front.ask(token, CREATE).await;
    let until = tokio::time::Instant::now() + DEADLINE;
    let mut text = String::new();
    while !text.contains("ITEM_CREATED") {
        let frame =
            tokio::time::timeout_at(until, body.frame()).await.expect("an event in time").expect("an open stream");
        text.push_str(&String::from_utf8_lossy(frame.expect("a frame").data_ref().expect("data")));
    }
}

/// A subscription over a WebSocket.
async fn sockets_are_carried(front: &Front, token: &str) {
    let mut socket = front.socket().await.expect("a socket");
    let init = json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}") } });
    socket.send(Message::text(init.to_string())).await.expect("sent");
    let subscribe = json!({ "type": "subscribe", "id": "1", "payload": { "query": EVENTS } });
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until {
        match tokio::time::timeout(Duration::from_millis(500), socket.next()).await {
            // It may have begun after the last one.
            Err(_) => drop(front.ask(token, CREATE).await),
            Ok(message) => {
                let Message::Text(text) = message.expect("open").expect("whole") else { continue };
                if text.contains("connection_ack") {
                    socket.send(Message::text(subscribe.to_string())).await.expect("sent");
                } else if text.contains("ITEM_CREATED") {
                    return;
                }
            }
        }
    }
    panic!("no event came");
}
