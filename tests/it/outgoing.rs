//! Requests that the server makes: whom it never connects to, and how long and how much it listens to the others.
//! Only loopback is ever contacted. Public addresses are checked, never called.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode};
use todo_platform::{
    base::{config::WebhooksConfig, id::OrganizationId},
    platform::outgoing::{Answer, Dependencies, Limits, Outgoing, Post, Refused, Resolver, SendError},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

const LOOPBACK: &[&str] = &["127.0.0.0/8", "::1/128"];
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

/// On whose behalf.
fn someone() -> OrganizationId {
    OrganizationId::from_uuid(uuid::Uuid::from_u128(1))
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn config(allowed: &[&str]) -> WebhooksConfig {
    let allowed_cidrs = allowed.iter().map(|network| network.parse().expect("a network")).collect();
    WebhooksConfig { allowed_cidrs, allow_http: true, ..WebhooksConfig::default() }
}

/// A resolver that knows these names alone.
fn names(known: &'static [(&str, &[&str])]) -> Resolver {
    Resolver::new(move |host| {
        let found = known.iter().find(|(name, _)| *name == host);
        let addresses =
            found.map(|(_, addresses)| addresses.iter().map(|address| address.parse().expect("an address")).collect());
        async move { addresses.ok_or_else(|| std::io::Error::other("no such name")) }.boxed()
    })
}

fn outgoing(allowed: &[&str], known: &'static [(&str, &[&str])], limits: Limits) -> Outgoing {
    let dependencies = Dependencies { resolver: names(known), limits, ..Dependencies::default() };
    Outgoing::within(&config(allowed), dependencies).expect("a client")
}

/// To loopback addresses, within these limits.
fn to_loopback(limits: Limits) -> Outgoing {
    outgoing(LOOPBACK, &[], limits)
}

async fn post(outgoing: &Outgoing, url: &str) -> Result<Answer, SendError> {
    outgoing
        .send(Post { organization_id: someone(), url, headers: HeaderMap::new(), body: Bytes::from_static(b"{}") })
        .await
}

/// A server on loopback that counts who connects.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start<F>(handle: impl Fn(TcpStream) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::<AtomicUsize>::default();
        // The same port of ::1, where there is one.
        let second = TcpListener::bind(("::1", address.port())).await.ok();
        for listener in [Some(listener), second].into_iter().flatten() {
            let (connections, handle) = (connections.clone(), handle.clone());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(handle(stream));
                }
            });
        }
        Self { address, connections }
    }

    /// Reads each request, then says `answer`, and keeps the connection open.
    async fn saying(answer: &'static str) -> Self {
        Self::start(move |mut stream| async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            until_closed(&mut stream).await;
        })
        .await
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"{}") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            break;
        }
    }
    String::from_utf8(request).expect("text")
}

async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) {
    while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
}

/// Spellings of 127.0.0.1, or of a name for it.
const SPELLINGS: &[&str] = &[
    "127.0.0.1",
    "127.0.0.1.",
    "@127.0.0.1",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0X7F000001",
    "0177.0.0.1",
    "0177.0000.0000.0001",
    "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1",
    "127.1",
    "127.1.",
    "127.0.1",
    "0x7f.1",
    "0177.1",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "１２７.０.０.１",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "LocalHost.",
    "ⓛocalhost",
    "ｌｏｃａｌｈｏｓｔ",
    "local\u{ad}host",
    "local\thost",
    "bücher.example",
    "BÜCHER.example",
    "xn--bcher-kva.example",
];

/// More hosts that nobody may reach.
const DENIED: &[&str] = &[
    "127.255.255.254",
    "0",
    "0.0.0.0",
    "0x0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "012.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:8.8.8.8]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::8.8.8.8]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:808:808::1]",
    "[2001:0:7f00:1::]",
    "[2001:0:808:808::80ff:fffe]",
    "[2001:470::5efe:127.0.0.1]",
    "[2001:470::200:5efe:10.0.0.1]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[100::1]",
    "[2001:2::1]",
    "[2001:10::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[5f00::1]",
    "inside.example",
    "mixed.example",
    "mapped.example",
    "six.example",
];

const NAMES: &[(&str, &[&str])] = &[
    ("localhost", &["127.0.0.1"]),
    ("localhost.", &["127.0.0.1"]),
    ("xn--bcher-kva.example", &["127.0.0.1"]),
    ("inside.example", &["10.0.0.5"]),
    ("mixed.example", &["1.1.1.1", "127.0.0.1"]),
    ("mapped.example", &["::ffff:127.0.0.1"]),
    ("six.example", &["::1"]),
    ("public.example", &["1.1.1.1", "2606:4700::1111"]),
    ("nothing.example", &[]),
];

#[tokio::test]
async fn nobody_inside_is_reached_however_the_host_is_written() {
    let server = Server::saying(OK).await;
    let port = server.address.port();
    let outgoing = outgoing(&[], NAMES, Limits::default());
    for host in SPELLINGS.iter().chain(DENIED) {
        for url in [format!("http://{host}:{port}/"), format!("https://{host}:{port}/a?b")] {
            assert_eq!(outgoing.check(someone(), &url).await.err(), Some(Refused::Denied), "check {url}");
            assert_eq!(post(&outgoing, &url).await, Err(SendError::Refused(Refused::Denied)), "send {url}");
        }
    }
    assert_eq!(server.connections(), 0);
}

/// The counterpart of the test above: its server would have been reached.
#[tokio::test]
async fn what_the_operator_allows_is_reached_however_it_is_written() {
    let server = Server::saying(OK).await;
    let outgoing = outgoing(LOOPBACK, NAMES, Limits::default());
    for host in SPELLINGS {
        let url = format!("http://{host}:{}/", server.address.port());
        outgoing.check(someone(), &url).await.unwrap_or_else(|refused| panic!("check {url}: {refused}"));
        let answer = post(&outgoing, &url).await.unwrap_or_else(|error| panic!("send {url}: {error}"));
        assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, b"hi".as_slice()), "{url}");
    }
    assert_eq!(server.connections(), SPELLINGS.len());
}

#[tokio::test]
async fn each_kind_of_bad_url_has_its_own_refusal() {
    let server = Server::saying(OK).await;
    let outgoing = outgoing(LOOPBACK, NAMES, Limits::default());
    let port = server.address.port();
    let cases: &[(String, Refused)] = &[
        (String::new(), Refused::Url),
        ("nonsense".into(), Refused::Url),
        ("//127.0.0.1/".into(), Refused::Url),
        ("http://".into(), Refused::Url),
        ("http://[fe80::1%25eth0]/".into(), Refused::Url),
        (format!("http://[::1%25lo]:{port}/"), Refused::Url),
        ("http://[::1/".into(), Refused::Url),
        ("http://256.0.0.1/".into(), Refused::Url),
        ("http://08.0.0.1/".into(), Refused::Url),
        ("http://4294967296/".into(), Refused::Url),
        ("http://127.0.0.1.1/".into(), Refused::Url),
        ("http://a b/".into(), Refused::Url),
        ("http://127.0.0.1:65536/".into(), Refused::Url),
        ("https://a..example/".into(), Refused::Url),
        ("ftp://127.0.0.1/".into(), Refused::Scheme),
        ("gopher://127.0.0.1/".into(), Refused::Scheme),
        ("ws://127.0.0.1/".into(), Refused::Scheme),
        ("file:///etc/passwd".into(), Refused::Scheme),
        ("data:,text".into(), Refused::Scheme),
        (format!("http://public.example@127.0.0.1:{port}/"), Refused::Credentials),
        (format!("http://public.example:443@127.0.0.1:{port}/"), Refused::Credentials),
        (format!("http://:secret@127.0.0.1:{port}/"), Refused::Credentials),
        ("http://127.0.0.1:0/".into(), Refused::Port),
        ("https://unknown.example/".into(), Refused::Unresolvable),
        ("https://nothing.example/".into(), Refused::Unresolvable),
        // A `\` is a `/`: everything after it is the path.
        ("http://10.0.0.1\\@public.example/".into(), Refused::Denied),
    ];
    for (url, refused) in cases {
        assert_eq!(outgoing.check(someone(), url).await.err(), Some(*refused), "check {url}");
        assert_eq!(post(&outgoing, url).await, Err(SendError::Refused(*refused)), "send {url}");
    }
    assert_eq!(server.connections(), 0);
    // No message tells what the host resolves to.
    let messages: Vec<String> = cases.iter().map(|(_, refused)| refused.to_string()).collect();
    assert!(messages.iter().all(|message| !message.contains(char::is_numeric) || message.starts_with("port 0")));
}

#[tokio::test]
async fn public_hosts_pass_the_check() {
    let outgoing = outgoing(&[], NAMES, Limits::default());
    for host in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "[2606:4700::1111]",
        "[2001:470::1]",
        "[2001:470::5efe:8.8.8.8]",
        "[2003::1]",
        "[2a00::1]",
        "public.example",
        "PUBLIC.example",
    ] {
        outgoing
            .check(someone(), &format!("https://{host}/"))
            .await
            .unwrap_or_else(|refused| panic!("{host}: {refused}"));
    }
    let target = outgoing.check(someone(), "HTTPS://Public.Example:443/a b?c#d").await.expect("a target");
    assert_eq!(target.url(), "https://public.example/a%20b?c#d");
}

#[tokio::test]
async fn plain_http_is_for_operators_who_allow_it() {
    let server = Server::saying(OK).await;
    let config = WebhooksConfig { allow_http: false, ..config(LOOPBACK) };
    let outgoing = Outgoing::new(&config).expect("a client");
    assert_eq!(outgoing.check(someone(), &server.url()).await.err(), Some(Refused::Http));
    assert_eq!(post(&outgoing, &server.url()).await, Err(SendError::Refused(Refused::Http)));
    assert_eq!(server.connections(), 0);
}

/// Who allows a form that holds IPv4 addresses has not allowed every address that it may hold.
#[tokio::test]
async fn an_allowed_translation_does_not_lead_inside() {
    for (allowed, inside, outside) in [
        ("64:ff9b::/96", "[64:ff9b::7f00:1]", Some("[64:ff9b::808:808]")),
        ("::ffff:0:0/96", "[::ffff:127.0.0.1]", Some("[::ffff:8.8.8.8]")),
        ("2002::/16", "[2002:a00:1::]", Some("[2002:808:808::]")),
        ("2001::/32", "[2001:0:808:808::80ff:fffe]", Some("[2001:0:808:808::f7f7:f7f7]")),
        ("::/96", "[::10.0.0.1]", None),
    ] {
        let outgoing = outgoing(&[allowed], &[], Limits::default());
        let url = format!("https://{inside}/");
        assert_eq!(outgoing.check(someone(), &url).await.err(), Some(Refused::Denied), "{url} with {allowed}");
        if let Some(outside) = outside {
            assert!(
                outgoing.check(someone(), &format!("https://{outside}/")).await.is_ok(),
                "{outside} with {allowed}"
            );
        }
    }
    let both = outgoing(&["64:ff9b::/96", "10.0.0.0/8"], &[], Limits::default());
    assert!(both.check(someone(), "https://[64:ff9b::a00:1]/").await.is_ok());
    assert_eq!(both.check(someone(), "https://[64:ff9b::7f00:1]/").await.err(), Some(Refused::Denied));
}

#[tokio::test]
async fn the_systems_resolver_is_checked_too() {
    let outgoing = Outgoing::new(&WebhooksConfig::default()).expect("a client");
    assert_eq!(outgoing.check(someone(), "https://localhost/").await.err(), Some(Refused::Denied));
    let allowed = Outgoing::new(&config(LOOPBACK)).expect("a client");
    let server = Server::saying(OK).await;
    let answer = post(&allowed, &format!("http://localhost:{}/", server.address.port())).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::OK);
}

/// A name that is public when it is checked, and loopback from then on.
#[tokio::test]
async fn a_name_that_changes_is_judged_by_where_it_leads_now() {
    let server = Server::saying(OK).await;
    let asked = Arc::<AtomicUsize>::default();
    let count = asked.clone();
    let resolver = Resolver::new(move |_| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        let address = if first { Ipv4Addr::new(1, 1, 1, 1) } else { Ipv4Addr::LOCALHOST };
        async move { Ok(vec![IpAddr::V4(address)]) }.boxed()
    });
    let outgoing = Outgoing::within(&config(&[]), Dependencies { resolver, ..Dependencies::default() }).unwrap();
    let url = format!("http://rebound.example:{}/", server.address.port());
    outgoing.check(someone(), &url).await.expect("public");
    assert_eq!(post(&outgoing, &url).await, Err(SendError::Refused(Refused::Denied)));
    assert_eq!((server.connections(), asked.load(Ordering::SeqCst)), (0, 2));
}

/// The other way around: what has been checked is connected to, and the name is not asked for again.
#[tokio::test]
async fn the_address_that_was_checked_is_the_one_connected_to() {
    let server = Server::saying(OK).await;
    let asked = Arc::<AtomicUsize>::default();
    let count = asked.clone();
    let resolver = Resolver::new(move |_| {
        let octet = if count.fetch_add(1, Ordering::SeqCst) == 0 { 1 } else { 77 };
        async move { Ok(vec![IpAddr::V4(Ipv4Addr::new(127, 0, 0, octet))]) }.boxed()
    });
    let outgoing = Outgoing::within(&config(LOOPBACK), Dependencies { resolver, ..Dependencies::default() }).unwrap();
    let url = format!("http://rebound.example:{}/", server.address.port());
    assert_eq!(post(&outgoing, &url).await.expect("an answer").status, StatusCode::OK);
    assert_eq!((server.connections(), asked.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_redirect_is_the_answer() {
    for location in ["http://169.254.169.254/latest/meta-data/", "/again", "//10.0.0.1/"] {
        let text = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let server = Server::saying(text.leak()).await;
        let answer = post(&to_loopback(Limits::default()), &server.url()).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::FOUND);
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn the_request_is_what_the_caller_gave_and_no_more() {
    let (sent, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let sent = sent.clone();
        async move {
            sent.send(read_request(&mut stream).await).expect("the test listens");
            let _ = stream.write_all(OK.as_bytes()).await;
        }
    })
    .await;
    let outgoing = outgoing(LOOPBACK, &[("hook.example.", &["127.0.0.1"])], Limits::default());
    let port = server.address.port();
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static("msg_1"));
    for (name, lie) in [("host", "inside"), ("content-length", "1"), ("transfer-encoding", "chunked")] {
        headers.insert(name, HeaderValue::from_static(lie));
    }
    let url = format!("http://hook.example.:{port}/a/../b%2F?c=d&e#f");
    outgoing
        .send(Post { organization_id: someone(), url: &url, headers, body: Bytes::from_static(b"{}") })
        .await
        .expect("an answer");
    let request = requests.recv().await.expect("a request");
    let (first, rest) = request.split_once("\r\n").expect("lines");
    assert_eq!(first, "POST /b%2F?c=d&e HTTP/1.1");
    let mut lines: Vec<&str> = rest.strip_suffix("\r\n\r\n{}").expect("the body").split("\r\n").collect();
    lines.sort_unstable();
    let host = format!("host: hook.example:{port}");
    assert_eq!(lines, ["connection: close", "content-length: 2", &host, "webhook-id: msg_1"]);
}

#[tokio::test]
async fn answers_come_in_any_framing_and_each_on_a_connection_of_its_own() {
    let framings = [
        OK,
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi",
    ];
    for framing in framings {
        let server = Server::saying(framing).await;
        let outgoing = to_loopback(Limits::default());
        for _ in 0..2 {
            let answer = post(&outgoing, &server.url()).await.unwrap_or_else(|error| panic!("{framing}: {error}"));
            assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, b"hi".as_slice()), "{framing}");
            assert!(answer.duration < Duration::from_secs(5), "the server keeps the connection, the client does not");
        }
        assert_eq!(server.connections(), 2);
    }
    // Until the end of the connection, and cut short: the status counts.
    for answer in ["HTTP/1.0 200 OK\r\n\r\nhi", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi"] {
        let server = Server::start(move |mut stream| async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await;
        let answer = post(&to_loopback(Limits::default()), &server.url()).await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, b"hi".as_slice()));
    }
}

#[tokio::test]
async fn retry_after_is_handed_on() {
    let server = Server::saying("HTTP/1.1 503 Busy\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n").await;
    let answer = post(&to_loopback(Limits::default()), &server.url()).await.expect("an answer");
    assert_eq!((answer.status, answer.retry_after.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("120")));
    let server = Server::saying(OK).await;
    assert_eq!(post(&to_loopback(Limits::default()), &server.url()).await.expect("an answer").retry_after, None);
}

#[tokio::test]
async fn what_is_no_answer_fails() {
    for answer in ["SSH-2.0-OpenSSH\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nbroken\r\n\r\n"] {
        let server = Server::saying(answer).await;
        let result = post(&to_loopback(Limits::default()), &server.url()).await;
        assert!(matches!(result, Err(SendError::Answer(_))), "{answer}: {result:?}");
    }
    let server = Server::start(|stream| async move { drop(stream) }).await;
    let result = post(&to_loopback(Limits::default()), &server.url()).await;
    assert!(matches!(result, Err(SendError::Answer(_))), "{result:?}");
}

/// Whoever sends a byte now and then is cut at the deadline: with the status where it was there, without otherwise.
#[tokio::test]
async fn a_slow_sender_is_cut_at_the_deadline() {
    let limits = Limits { total: millis(600), ..Limits::default() };
    let in_body = ("HTTP/1.1 200 OK\r\n\r\n", Some(StatusCode::OK));
    let in_head = ("HTTP/1.1 200 OK\r\nx: ", None);
    for (quick, expected) in [in_body, in_head] {
        let (told, mut closed) = tokio::sync::mpsc::unbounded_channel();
        let server = Server::start(move |mut stream| {
            let told = told.clone();
            async move {
                read_request(&mut stream).await;
                let _ = stream.write_all(quick.as_bytes()).await;
                while stream.write_all(b"1").await.is_ok() {
                    sleep(millis(50)).await;
                }
                told.send(()).expect("the test listens");
            }
        })
        .await;
        let began = Instant::now();
        let result = post(&to_loopback(limits), &server.url()).await;
        let took = began.elapsed();
        assert!(took >= millis(550) && took < millis(3_000), "{took:?}");
        match expected {
            Some(status) => assert_eq!(result.expect("the status counts").status, status),
            None => assert_eq!(result, Err(SendError::TimedOut)),
        }
        timeout(Duration::from_secs(5), closed.recv()).await.expect("the connection is closed");
    }
}

#[tokio::test]
async fn a_server_that_only_listens_is_left_at_the_deadline() {
    let limits = Limits { total: millis(400), ..Limits::default() };
    // It neither reads nor answers.
    let server = Server::start(|stream| async move {
        sleep(Duration::from_secs(20)).await;
        drop(stream);
    })
    .await;
    for body in [Bytes::from_static(b"{}"), Bytes::from(vec![b' '; 32 << 20])] {
        let began = Instant::now();
        let result = to_loopback(limits)
            .send(Post { organization_id: someone(), url: &server.url(), headers: HeaderMap::new(), body })
            .await;
        assert_eq!(result, Err(SendError::TimedOut));
        assert!(began.elapsed() < millis(3_000));
    }
}

#[tokio::test]
async fn of_a_long_answer_64_kib_are_read() {
    // Keeps all it reads, so that the answer shows how much that was.
    let limits = Limits { kept_bytes: usize::MAX, ..Limits::default() };
    let (told, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let told = told.clone();
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n").await;
            let result = stream.write_all(&vec![b'x'; 10 << 20]).await;
            until_closed(&mut stream).await;
            told.send(result.is_err()).expect("the test listens");
        }
    })
    .await;
    let answer = post(&to_loopback(limits), &server.url()).await.expect("the status counts");
    assert_eq!(answer.status, StatusCode::OK);
    assert!((32 << 10..64 << 10).contains(&answer.body.len()), "{}", answer.body.len());
    timeout(Duration::from_secs(5), closed.recv()).await.expect("the connection is closed");
    // Of these, 4 KiB are handed on.
    let answer = post(&to_loopback(Limits::default()), &server.url()).await.expect("the status counts");
    assert_eq!(answer.body, vec![b'x'; 4 << 10]);
}

#[tokio::test]
async fn endless_heads_and_interim_answers_are_not_listened_to() {
    for (first, again) in [("HTTP/1.1 200 OK\r\nx: ", "x"), ("", "HTTP/1.1 100 Continue\r\n\r\n")] {
        let server = Server::start(move |mut stream| async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(first.as_bytes()).await;
            while stream.write_all(again.repeat(1_000).as_bytes()).await.is_ok() {}
        })
        .await;
        let began = Instant::now();
        let result = post(&to_loopback(Limits::default()), &server.url()).await;
        assert!(matches!(result, Err(SendError::Answer(_))), "{result:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "long before the deadline");
    }
}

/// A listener that takes no connection any more: its queue is full, so the system drops what comes.
async fn hanging() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(millis(300), TcpStream::connect(address)).await {
        waiting.push(stream.expect("a connection"));
        assert!(waiting.len() < 100, "the queue gets full");
    }
    (listener, waiting)
}

#[tokio::test]
async fn a_connection_that_hangs_costs_the_connect_timeout() {
    const TWO: &[(&str, &[&str])] = &[("two.example", &["127.0.0.1", "127.0.0.2"])];
    let (listener, _waiting) = hanging().await;
    let port = listener.local_addr().unwrap().port();
    let limits = Limits { connect: millis(500), ..Limits::default() };
    let outgoing = outgoing(LOOPBACK, TWO, limits);
    let began = Instant::now();
    let result = post(&outgoing, &format!("http://127.0.0.1:{port}/")).await;
    assert!(matches!(result, Err(SendError::Connect(_))), "{result:?}");
    assert!((millis(450)..millis(3_000)).contains(&began.elapsed()), "{:?}", began.elapsed());
    // The next address gets its share of the time.
    let second = TcpListener::bind(("127.0.0.2", port)).await.expect("the same port of another address");
    tokio::spawn(async move {
        let (mut stream, _) = second.accept().await.expect("a connection");
        read_request(&mut stream).await;
        let _ = stream.write_all(OK.as_bytes()).await;
    });
    let answer = post(&outgoing, &format!("http://two.example:{port}/")).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn nobody_there_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().unwrap();
    drop(listener);
    let result = post(&to_loopback(Limits::default()), &format!("http://{address}/")).await;
    assert!(matches!(&result, Err(SendError::Connect(reason)) if !reason.contains("127")), "{result:?}");
}

#[tokio::test]
async fn a_name_server_that_hangs_costs_the_connect_timeout() {
    let resolver = Resolver::new(|_| std::future::pending().boxed());
    let limits = Limits { connect: millis(200), ..Limits::default() };
    let dependencies = Dependencies { resolver, limits, ..Dependencies::default() };
    let outgoing = Outgoing::within(&config(&[]), dependencies).expect("a client");
    let began = Instant::now();
    assert_eq!(outgoing.check(someone(), "https://slow.example/").await.err(), Some(Refused::Unresolvable));
    assert_eq!(post(&outgoing, "https://slow.example/").await, Err(SendError::Refused(Refused::Unresolvable)));
    assert!(began.elapsed() < millis(3_000));
}

/// Names whose servers are silent hold their own organization's places, and nobody else's; who finds none has not failed.
#[tokio::test]
async fn silent_name_servers_hold_up_their_own_organization_alone() {
    let resolver = Resolver::new(|host| {
        async move {
            match host.as_str() {
                "slow.example" => std::future::pending().await,
                _ => Ok(vec![IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1))]),
            }
        }
        .boxed()
    });
    let limits = Limits { lookups: 8, organization_lookups: 2, connect: millis(60_000), ..Limits::default() };
    let dependencies = Dependencies { resolver, limits, ..Dependencies::default() };
    let outgoing = Outgoing::within(&config(&[]), dependencies).expect("a client");
    let hanging: Vec<_> = (0..4)
        .map(|_| {
            let outgoing = outgoing.clone();
            tokio::spawn(async move { outgoing.check(someone(), "https://slow.example/").await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(outgoing.check(someone(), "https://good.example/").await.err(), Some(Refused::Busy));
    let other = OrganizationId::from_uuid(uuid::Uuid::from_u128(2));
    outgoing.check(other, "https://good.example/").await.expect("its own places are free");
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}

const TLS_NAMES: &[(&str, &[&str])] =
    &[("hook.example", &["127.0.0.1"]), ("hook.example.", &["127.0.0.1"]), ("other.example", &["127.0.0.1"])];

/// A server with a certificate of its own for `hook.example` that answers with the name it was asked for by TLS.
async fn tls_server() -> (Server, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["hook.example".to_owned()]).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key))
        .expect("a TLS server");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let name = stream.get_ref().1.server_name().unwrap_or("nobody").to_owned();
            answer_with(&mut stream, &name).await;
        }
    })
    .await;
    (server, roots)
}

async fn answer_with(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &str) {
    let request = read_request(stream).await;
    assert!(request.contains(&format!("host: {text}:")), "{request}");
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    let _ = stream.write_all(head.as_bytes()).await;
    until_closed(stream).await;
}

fn over_tls(roots: RootCertStore, limits: Limits) -> Outgoing {
    let dependencies = Dependencies { resolver: names(TLS_NAMES), limits, roots };
    Outgoing::within(&WebhooksConfig { allow_http: false, ..config(LOOPBACK) }, dependencies).expect("a client")
}

#[tokio::test]
async fn the_certificate_is_for_the_urls_host() {
    let (server, roots) = tls_server().await;
    let port = server.address.port();
    let trusting = over_tls(roots, Limits::default());
    for host in ["hook.example", "hook.example."] {
        let answer = post(&trusting, &format!("https://{host}:{port}/")).await.expect("an answer");
        assert_eq!(answer.body, b"hook.example", "the name in the handshake");
    }
    for host in ["other.example", "127.0.0.1"] {
        let result = post(&trusting, &format!("https://{host}:{port}/")).await;
        assert!(matches!(result, Err(SendError::Tls(_))), "{host}: {result:?}");
    }
    // Whom nobody vouches for.
    let public = over_tls(Dependencies::default().roots, Limits::default());
    let result = post(&public, &format!("https://hook.example:{port}/")).await;
    assert!(matches!(result, Err(SendError::Tls(_))), "{result:?}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_fails_in_time() {
    let limits = Limits { connect: millis(300), ..Limits::default() };
    let roots = Dependencies::default().roots;
    let silent = Server::start(|mut stream| async move { until_closed(&mut stream).await }).await;
    let plain = Server::start(|mut stream| async move {
        let _ = stream.write_all(OK.as_bytes()).await;
        until_closed(&mut stream).await;
    })
    .await;
    for server in [silent, plain] {
        let began = Instant::now();
        let result = post(&over_tls(roots.clone(), limits), &format!("https://{}/", server.address)).await;
        assert!(matches!(result, Err(SendError::Tls(_))), "{result:?}");
        assert!(began.elapsed() < millis(3_000));
    }
}
