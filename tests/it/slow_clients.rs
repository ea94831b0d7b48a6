//! Clients that are silent, slow, or too many: they lose their own connection, and nobody else notices.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use crate::support::{
    app::TestApp,
    socket::{DEADLINE, Socket},
    world::Company,
};
use todo_test_macros::databases;

/// From an address of loopback, with a small window, so that what is not read soon stops the writer.
async fn connect_from(source: &str, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.bind(SocketAddr::new(source.parse::<IpAddr>().expect("an address"), 0)).expect("a port");
    socket.connect(address.parse().expect("an address")).await.expect("a connection")
}

async fn connect(address: &str) -> TcpStream {
    connect_from("127.0.0.1", address).await
}

/// Waits until the server has so many connections.
async fn until_open(app: &TestApp, count: usize, what: &str) {
    let reached = async {
        while app.state.connections.count() != count {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("{what}: {}", app.state.connections.count()));
}

/// Whatever comes until the connection ends.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
    bytes
}

/// An item with a description of 50,000 characters.
async fn fat_item(app: &TestApp, acme: &Company) -> String {
    let input = json!({ "title": "Fat", "description": "x".repeat(50_000) });
    app.create(acme, &acme.member, "item", input).await
}

const FAT: &str = "{ items(first: 20) { nodes { description } } }";

/// A request of a member, as bytes.
fn post(acme: &Company, accept: &str, query: &str) -> Vec<u8> {
    let body = json!({ "query": query }).to_string();
    let head = format!(
        "POST /o/{}/graphql HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\naccept: {accept}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        acme.slug,
        acme.member.token,
        body.len()
    );
    (head + &body).into_bytes()
}

/// Fifty operations of a client that never reads: whatever they change is done or undone, none of them keeps a
/// connection or a transaction, and the server can stop.
#[databases]
async fn a_socket_that_is_not_read_holds_up_nobody(app: TestApp) {
    let app = app
        .another_instance(|config| {
            config.limits.cost_per_minute = Some(0);
            config.server.write_timeout = Duration::from_secs(1);
        })
        .await;
    let acme = app.company("acme").await;
    for _ in 0..18 {
        fat_item(&app, &acme).await;
    }
    let address = app.listen().await;
    let mut stalled = Socket::of(&address, &acme, &acme.member).await;
    let subtasks: Vec<Value> = (1..40).map(|number| json!({ "title": format!("{number}") })).collect();
    let create = "mutation($input: ItemCreateInput!) { itemCreate(input: $input) { item { subtasks(first: 100) { nodes { id title } } } } }";
    for number in 0..25 {
        stalled.subscribe(FAT, json!({})).await;
        stalled
            .subscribe(create, json!({ "input": { "title": format!("parent {number}"), "subtasks": subtasks } }))
            .await;
    }
    // Somebody else, meanwhile, until the socket is gone.
    let mut written = 0;
    let meanwhile = async {
        while app.state.connections.count() > 0 || written == 0 {
            // Until it is full, whatever the system's buffers take.
            stalled.subscribe(FAT, json!({})).await;
            app.item(&acme, "in between").await;
            let found = app.call(&acme, &acme.viewer, "{ items(first: 1) { totalCount } }").data().await;
            assert!(found["items"]["totalCount"].is_number(), "{found}");
            written += 1;
        }
    };
    timeout(Duration::from_secs(300), meanwhile).await.expect("the socket is cut");
    let all = app.call(&acme, &acme.member, "{ items(first: 1) { totalCount } }").data().await;
    let created = all["items"]["totalCount"].as_u64().expect("a number") - 18 - written;
    assert_eq!(created % 40, 0, "each create is whole or not at all: {created}");
    timeout(DEADLINE, app.state.live.stop()).await.expect("the server can stop");
    drop(stalled);
}

/// More than fits in any buffer of a socket, for a subscriber who was away.
#[databases]
async fn a_large_history_arrives(app: TestApp) {
    let acme = app.company("acme").await;
    let mut socket = app.socket_of(&acme, &acme.member).await;
    let document = "subscription($after: Cursor) { events(after: $after) { events { sequence changes { field before after } \
                    subject { ... on Item { description } } } cursor isLive } }";
    socket.subscribe(document, json!({})).await;
    let begun = socket.batch().await["cursor"].clone();
    let id = fat_item(&app, &acme).await;
    let update = "mutation($id: ID!, $text: Markdown!) { itemUpdate(input: {id: $id, patch: {description: $text}}) { userErrors { code } } }";
    for number in 0..12 {
        let text = format!("{number:02}").repeat(25_000);
        app.call(&acme, &acme.member, update).vars(json!({ "id": id, "text": text })).done().await;
    }
    let last = format!("{:02}", 11).repeat(25_000);
    let is_last = |event: &Value| {
        event["changes"].as_array().is_some_and(|changes| changes.iter().any(|change| change["after"] == json!(last)))
    };
    let live = socket.events_until(is_last).await;
    let mut again = app.socket_of(&acme, &acme.member).await;
    again.subscribe(document, json!({ "after": begun })).await;
    let resumed = again.events_until(is_last).await;
    for events in [live, resumed] {
        let sequences: Vec<i64> = events.iter().filter_map(|event| event["sequence"].as_str()?.parse().ok()).collect();
        assert_eq!(sequences.len(), 13);
        assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
    }
}

#[tokio::test]
async fn whoever_takes_nothing_is_cut_off() {
    let app = TestApp::start(&[("TODO_SERVER_WRITE_TIMEOUT", "1s".to_owned())]).await;
    let acme = app.company("acme").await;
    for _ in 0..20 {
        fat_item(&app, &acme).await;
    }
    let begun = app.call(&acme, &acme.member, "{ events(last: 1) { nodes { cursor } } }").data().await;
    assert!(begun["events"]["nodes"][0]["cursor"].is_string());
    let address = app.listen().await;
    let live =
        "subscription { events { events { subject { ... on Item { description } } changes { after } } cursor } }";
    let mut streaming = connect(&address).await;
    streaming.write_all(&post(&acme, "text/event-stream", live)).await.expect("it is sent");
    let mut plain = connect(&address).await;
    let ten = post(&acme, "application/json", FAT).repeat(10);
    plain.write_all(&ten).await.expect("they are sent");
    // HTTP/2: a window of nothing, then a request.
    let mut closed = connect(&address).await;
    closed.write_all(&http2(&[setting(4, 0), get("/schema.graphql", true)])).await.expect("it is sent");
    until_open(&app, 3, "all have come").await;
    // What goes to the stream, until its buffers are full.
    let fill = async {
        while app.state.connections.count() > 0 {
            fat_item(&app, &acme).await;
        }
    };
    timeout(DEADLINE, fill).await.expect("all have been cut");
    let answer = rest(&mut plain).await;
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.len() < 9_000_000, "cut in the middle: {}", answer.len());
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(4, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// HEADERS of a GET; without the flag END_HEADERS more is to come.
fn get(path: &str, is_whole: bool) -> Vec<u8> {
    let text = |value: &str| [&[u8::try_from(value.len()).expect("short")], value.as_bytes()].concat();
    // `:method: GET`, `:scheme: http`, then path and authority as literals.
    let block = [&[0x82, 0x86, 0x04][..], &text(path), &[0x01], &text("localhost")].concat();
    frame(1, if is_whole { 0x5 } else { 0x1 }, 1, &block)
}

fn http2(frames: &[Vec<u8>]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frames.concat()].concat()
}

#[tokio::test]
async fn whoever_says_nothing_is_let_go() {
    let app = TestApp::start(&[("TODO_SERVER_IDLE_TIMEOUT", "1s".to_owned())]).await;
    let address = app.listen().await;
    let cases: [(&str, Vec<u8>); 7] = [
        ("nothing", Vec::new()),
        ("half a preface", b"PRI * HTTP/2.0\r\n".to_vec()),
        ("half a head", b"GET /health HTTP/1.1\r\nhost: loc".to_vec()),
        ("a request, then nothing", b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec()),
        ("HTTP/2 without a request", http2(&[setting(4, 65_535)])),
        ("HTTP/2 after a request", http2(&[setting(4, 65_535), get("/health", true)])),
        ("HEADERS without an end", http2(&[setting(4, 65_535), get("/health", false)])),
    ];
    for (what, bytes) in cases {
        let mut stream = connect(&address).await;
        stream.write_all(&bytes).await.expect("it is sent");
        rest(&mut stream).await;
        until_open(&app, 0, what).await;
    }
}

#[tokio::test]
async fn connections_are_counted() {
    let settings = [
        ("TODO_SERVER_MAX_CONNECTIONS", "6".to_owned()),
        ("TODO_SERVER_MAX_CONNECTIONS_PER_ADDRESS", "2".to_owned()),
        ("TODO_SERVER_TRUSTED_PROXIES", "127.0.0.9/32".to_owned()),
    ];
    let app = TestApp::start(&settings).await;
    let address = app.listen().await;
    let refused = async |source: &str| {
        let answer = rest(&mut connect_from(source, &address).await).await;
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["errors"][0]["extensions"]["code"], json!("UNAVAILABLE"));
    };
    // A socket counts like any other.
    let socket = Socket::connect(&address, "/graphql", &[]).await;
    let silent = connect(&address).await;
    until_open(&app, 2, "both").await;
    refused("127.0.0.1").await;
    // A proxy stands for many.
    let mut proxied = Vec::new();
    for count in 3..=5 {
        proxied.push(connect_from("127.0.0.9", &address).await);
        until_open(&app, count, "of the proxy").await;
    }
    let other = connect_from("127.0.0.2", &address).await;
    until_open(&app, 6, "full").await;
    refused("127.0.0.3").await;
    drop((socket, other));
    until_open(&app, 4, "two have gone").await;
    let mut asking = connect(&address).await;
    asking
        .write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .expect("it is sent");
    assert!(rest(&mut asking).await.starts_with(b"HTTP/1.1 200"), "there is room again");
    drop((silent, proxied));
}

/// What waits for all clients together is bounded: whoever has most of it goes.
#[tokio::test]
async fn the_heaviest_goes_first() {
    let settings = [
        ("TODO_SERVER_WAITING_BYTES", (16 << 20).to_string()),
        ("TODO_SERVER_WRITE_TIMEOUT", "1h".to_owned()),
        ("TODO_LIMITS_COST_PER_MINUTE", "0".to_owned()),
    ];
    let app = TestApp::start(&settings).await;
    let acme = app.company("acme").await;
    for _ in 0..20 {
        fat_item(&app, &acme).await;
    }
    let address = app.listen().await;
    let mut modest = Socket::of(&address, &acme, &acme.member).await;
    modest.subscribe(FAT, json!({})).await;
    until_open(&app, 1, "the modest one").await;
    let mut greedy = Socket::of(&address, &acme, &acme.member).await;
    for _ in 0..40 {
        greedy.subscribe(FAT, json!({})).await;
    }
    until_open(&app, 1, "the greedy one is cut").await;
    assert_eq!(modest.result().await["data"]["items"]["nodes"].as_array().map(Vec::len), Some(20));
    drop(greedy);
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_asked_for() {
    let app = TestApp::start(&[]).await;
    let address = app.listen().await;
    for path in ["/graphql", "/o/acme/graphql"] {
        let mut stream = connect(&address).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n\
             content-length: 1048577\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it is sent");
        let answer = String::from_utf8(rest(&mut stream).await).expect("text");
        assert!(answer.starts_with("HTTP/1.1 413"), "{path}: {answer}");
        assert!(answer.contains("PAYLOAD_TOO_LARGE"), "{path}: {answer}");
    }
}
