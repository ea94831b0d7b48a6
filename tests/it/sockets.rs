//! `graphql-transport-ws` to the letter, and everything that must hold on a socket as it does over HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;

use crate::support::{
    app::TestApp,
    socket::{Frame, Socket},
};
use todo_test_macros::databases;

fn init() -> Value {
    json!({ "type": "connection_init" })
}

/// What a client may do wrong, and how the server closes.
#[tokio::test]
async fn each_fault_has_its_close_code() {
    let app = TestApp::start(&[("TODO_SOCKETS_INIT_TIMEOUT", "300ms".to_owned())]).await;
    let address = app.listen().await;
    let query = json!({ "query": "{ server { version } }" });
    let live = json!({ "query": "subscription { events { cursor } }" });
    let subscribe = |id: &str, payload: &Value| json!({ "type": "subscribe", "id": id, "payload": payload });
    let cases: Vec<(&str, Vec<Value>, u16)> = vec![
        ("no message at all", vec![], 4408),
        ("no object", vec![json!([1])], 4400),
        ("an unknown type", vec![json!({ "type": "start" })], 4400),
        ("no type", vec![json!({ "id": "1" })], 4400),
        ("a server's message", vec![init(), json!({ "type": "next", "id": "1", "payload": {} })], 4400),
        ("a payload of init that is no object", vec![json!({ "type": "connection_init", "payload": "x" })], 4400),
        (
            "a credential that is no string",
            vec![json!({ "type": "connection_init", "payload": { "authorization": 1 } })],
            4400,
        ),
        ("subscribe before init", vec![subscribe("1", &query)], 4401),
        (
            "a bad credential",
            vec![json!({ "type": "connection_init", "payload": { "authorization": "Bearer x" } })],
            4403,
        ),
        ("no Bearer", vec![json!({ "type": "connection_init", "payload": { "authorization": "x" } })], 4403),
        ("a bad key", vec![json!({ "type": "connection_init", "payload": { "X-API-Key": "tdp_x" } })], 4403),
        (
            "two credentials",
            vec![
                json!({ "type": "connection_init", "payload": { "authorization": "Bearer x", "x-api-key": "tdp_x" } }),
            ],
            4400,
        ),
        ("init twice", vec![init(), init()], 4429),
        ("no id", vec![init(), json!({ "type": "subscribe", "payload": query })], 4400),
        ("an empty id", vec![init(), subscribe("", &query)], 4400),
        ("a number for an id", vec![init(), json!({ "type": "subscribe", "id": 1, "payload": query })], 4400),
        ("no query", vec![init(), subscribe("1", &json!({}))], 4400),
        ("a query that is no string", vec![init(), subscribe("1", &json!({ "query": 1 }))], 4400),
        (
            "variables that are no object",
            vec![init(), subscribe("1", &json!({ "query": "{ __typename }", "variables": [] }))],
            4400,
        ),
    ];
    for (what, messages, code) in cases {
        let mut socket = Socket::connect(&address, "/graphql", &[]).await;
        for message in messages {
            socket.send(message).await;
        }
        assert_eq!(socket.close_code().await, code, "{what}");
    }
    let acme = app.company("acme").await;
    let mut socket = Socket::of(&address, &acme, &acme.member).await;
    socket.send(subscribe("1", &live)).await;
    socket.batch().await;
    socket.send(subscribe("1", &live)).await;
    assert_eq!(socket.next().await, Frame::Closed(4409, "Subscriber for 1 already exists".to_owned()));

    let mut socket = Socket::connect(&address, "/graphql", &[]).await;
    socket.send_text("{").await;
    assert_eq!(socket.close_code().await, 4400, "no JSON");
    let mut socket = Socket::connect(&address, "/graphql", &[]).await;
    socket.send_binary().await;
    assert_eq!(socket.close_code().await, 4400, "binary");
    let mut socket = Socket::connect(&address, "/graphql", &[]).await;
    socket.send_text(&json!({ "type": "ping", "payload": { "x": "x".repeat(64 * 1024) } }).to_string()).await;
    assert_eq!(socket.close_code().await, 1009, "too large");
    let mut socket = Socket::connect(&address, "/graphql", &[("sec-websocket-protocol", "")]).await;
    assert_eq!(socket.close_code().await, 4406, "no protocol");
}

#[tokio::test]
async fn a_foreign_page_gets_no_socket() {
    let app = TestApp::start(&[("PUBLIC_URL", "https://todo.example.com/app".to_owned())]).await;
    let address = app.listen().await;
    let own = format!("http://{address}");
    for (origin, is_let_in) in [
        ("https://app.example.com", true),
        ("https://todo.example.com", true),
        (own.as_str(), true),
        ("https://evil.example.com", false),
        ("https://app.example.com.evil.com", false),
        ("http://app.example.com", false),
        ("null", false),
    ] {
        let connected = Socket::try_connect(&address, "/graphql", &[("origin", origin)]).await;
        match connected {
            Ok(_) => assert!(is_let_in, "{origin}"),
            Err(Error::Http(response)) => assert!(!is_let_in && response.status() == 403, "{origin}: {response:?}"),
            Err(error) => panic!("{origin}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_ping_is_answered_also_before_init() {
    let app = TestApp::start(&[]).await;
    let mut socket = app.socket().await;
    for payload in [Some(json!({ "a": [1, null] })), None] {
        let mut ping = json!({ "type": "ping" });
        let mut pong = json!({ "type": "pong" });
        if let Some(payload) = payload {
            ping["payload"] = payload.clone();
            pong["payload"] = payload;
        }
        socket.send(ping).await;
        assert_eq!(socket.next().await, Frame::Json(pong));
    }
    socket.send(json!({ "type": "pong" })).await;
    socket.send(json!({ "type": "complete", "id": "nobody's" })).await;
    socket.send(init()).await;
    assert_eq!(socket.next().await, Frame::Json(json!({ "type": "connection_ack" })));
}

#[tokio::test]
async fn whoever_is_silent_for_too_long_is_gone() {
    let settings = [("TODO_SOCKETS_PING", "50ms".to_owned()), ("TODO_SOCKETS_IDLE", "200ms".to_owned())];
    let app = TestApp::start(&settings).await;
    let address = app.listen().await;
    let mut quiet = Socket::let_in(&address, json!({})).await;
    let mut reading = Socket::let_in(&address, json!({})).await;
    // Reading is what answers pings.
    let read = tokio::time::timeout(Duration::from_secs(1), reading.next()).await;
    assert!(read.is_err(), "a socket that answers pings stays open: {read:?}");
    // The ping that went unanswered, then the close.
    assert!(matches!(quiet.next().await, Frame::Closed(1001, _) | Frame::Gone));
}

/// The same validation, limits, errors and idempotency as over HTTP.
#[databases]
async fn queries_and_mutations_run_over_the_socket(app: TestApp) {
    let acme = app.company("acme").await;
    let mut socket = app.socket_of(&acme, &acme.member).await;
    socket.subscribe("{ viewer { user { username } } }", json!({})).await;
    assert_eq!(socket.result().await, json!({ "data": { "viewer": { "user": { "username": "acme-member" } } } }));

    let create =
        "mutation($title: String!) { itemCreate(input: {title: $title}) { item { identifier } userErrors { code } } }";
    let create = json!({
        "query": create, "variables": { "title": "Once" }, "extensions": { "idempotencyKey": "the same" },
    });
    let mut answers = Vec::new();
    for _ in 0..2 {
        socket.start(create.clone()).await;
        answers.push(socket.result().await);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0]["data"]["itemCreate"]["item"]["identifier"], json!("ACME-1"));
    let items = app.call(&acme, &acme.member, "{ items { totalCount } }").data().await;
    assert_eq!(items["items"]["totalCount"], json!(1));

    let deep = format!("{{ items {{ nodes {{ {} id {} }} }} }}", "parent {".repeat(14), "}".repeat(14));
    let many = format!("{{ {} }}", (0..31).map(|n| format!("a{n}: __typename")).collect::<Vec<_>>().join(" "));
    for (query, code) in [
        ("{ nonsense }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ viewer {", "GRAPHQL_PARSE_FAILED"),
        (&deep, "QUERY_TOO_DEEP"),
        (&many, "QUERY_TOO_COMPLEX"),
        ("subscription { events { cursor } b: events { cursor } }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "subscription { ... on Subscription { events { cursor } other: events { cursor } } }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("subscription { __typename }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { events(after: \"nonsense\") { cursor } }", "INVALID_CURSOR"),
        ("subscription { events(filter: {occurredAt: {}}) { cursor } }", "BAD_REQUEST"),
    ] {
        socket.subscribe(query, json!({})).await;
        assert_eq!(socket.error_code().await, code, "{query}");
    }
    // An id is free again once its operation is over.
    for _ in 0..2 {
        socket.send(json!({ "type": "subscribe", "id": "x", "payload": { "query": "{ __typename }" } })).await;
        socket.result().await;
    }
}

#[tokio::test]
async fn nobody_may_do_on_a_socket_what_nobody_may_do() {
    let app = TestApp::start(&[]).await;
    let acme = app.company("acme").await;
    let rival = app.company("rival").await;
    let address = app.listen().await;
    let mut anonymous = Socket::let_in(&address, json!({})).await;
    for query in ["subscription { events { cursor } }", "{ viewer { user { id } } }", "{ items { totalCount } }"] {
        anonymous.subscribe(query, json!({})).await;
        match anonymous.next().await {
            Frame::Json(message) => {
                let payload = &message["payload"];
                let errors = payload.get("errors").unwrap_or(payload);
                assert_eq!(errors[0]["extensions"]["code"], json!("UNAUTHENTICATED"), "{query}: {message}");
                if message["type"] == "next" {
                    anonymous.next().await;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    let stranger = json!({ "authorization": format!("Bearer {}", rival.owner.token), "organization": acme.slug });
    let mut stranger = Socket::let_in(&address, stranger).await;
    stranger.subscribe("subscription { events { cursor } }", json!({})).await;
    assert_eq!(stranger.error_code().await, "ORGANIZATION_REQUIRED");
    // By the path, by the upgrade's headers, with a key.
    let bearer = format!("Bearer {}", acme.member.token);
    let mut by_path = Socket::connect(&address, "/o/acme/graphql", &[("authorization", &bearer)]).await;
    by_path.send(init()).await;
    by_path.next().await;
    by_path.subscribe("{ organization { slug } }", json!({})).await;
    assert_eq!(by_path.result().await["data"]["organization"]["slug"], json!("acme"));
    let (_, key) = app.api_key(&acme, &acme.owner, &["ITEM_READ"]).await;
    let mut with_key = Socket::let_in(&address, json!({ "authorization": format!("Bearer {key}") })).await;
    with_key.subscribe("{ items { totalCount } }", json!({})).await;
    assert_eq!(with_key.result().await["data"]["items"]["totalCount"], json!(0));
}

#[tokio::test]
async fn fifty_operations_and_not_one_more() {
    let app = TestApp::start(&[]).await;
    let acme = app.company("acme").await;
    let mut socket = app.socket_of(&acme, &acme.member).await;
    for _ in 0..50 {
        socket.subscribe("subscription { events { cursor } }", json!({})).await;
    }
    for _ in 0..50 {
        socket.batch().await;
    }
    let last = socket.subscribe("subscription { events { cursor } }", json!({})).await;
    let Frame::Json(refused) = socket.next().await else { panic!("an error message") };
    assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!(last)));
    let extensions = &refused["payload"][0]["extensions"];
    assert_eq!((&extensions["code"], &extensions["limit"]), (&json!("BAD_REQUEST"), &json!(50)));
    socket.send(json!({ "type": "complete", "id": "op-7" })).await;
    socket.subscribe("subscription { events { cursor } }", json!({})).await;
    socket.batch().await;
}

#[tokio::test]
async fn points_are_taken_on_a_socket_too() {
    let app = TestApp::start(&[("TODO_LIMITS_COST_PER_MINUTE", "60".to_owned())]).await;
    let ann = app.register("ann").await;
    app.found(&ann, "acme").await;
    app.clock.advance(chrono::Duration::minutes(2));
    let token = json!({ "authorization": format!("Bearer {}", ann.token) });
    let mut socket = Socket::let_in(&app.listen().await, token).await;
    let dear = "{ items(first: 50) { nodes { id } } }";
    for _ in 0..59 {
        socket.subscribe("{ viewer { role } }", json!({})).await;
        socket.result().await;
    }
    socket.subscribe(dear, json!({})).await;
    assert_eq!(socket.error_code().await, "RATE_LIMITED");
}

/// What would never be otherwise, a client must not try again and again.
#[tokio::test]
async fn what_will_never_work_is_not_to_be_tried_again() {
    let app = TestApp::start(&[]).await;
    let acme = app.company("acme").await;
    let address = app.listen().await;
    let mut socket = Socket::connect(&address, "/o/acme/graphql", &[]).await;
    let payload = json!({ "authorization": format!("Bearer {}", acme.member.token), "organization": "another" });
    socket.send(json!({ "type": "connection_init", "payload": payload })).await;
    assert_eq!(socket.close_code().await, 4400, "path and payload name different organizations");
    let mut socket = Socket::connect(&address, "/graphql", &[]).await;
    let both = json!({ "Authorization": format!("Bearer {}", acme.member.token), "X-API-Key": "tdp_other" });
    socket.send(json!({ "type": "connection_init", "payload": both })).await;
    assert_eq!(socket.close_code().await, 4400, "two credentials");
}

/// Wrong credentials on sockets cost their address what they cost over HTTP.
#[tokio::test]
async fn guessing_on_sockets_is_not_for_nothing() {
    let app = TestApp::start(&[("TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE", "3".to_owned())]).await;
    let address = app.listen().await;
    let mut codes = Vec::new();
    for _ in 0..5 {
        let mut socket = Socket::connect(&address, "/graphql", &[]).await;
        let payload = json!({ "authorization": "Bearer guess" });
        socket.send(json!({ "type": "connection_init", "payload": payload })).await;
        codes.push(socket.close_code().await);
    }
    assert_eq!(codes, [4403, 4403, 4403, 1013, 1013]);
}

/// Long before the next ping (25 s); subscribers are told to come again by the lack of a `complete`.
#[tokio::test]
async fn a_server_that_stops_closes_its_sockets_at_once() {
    let app = TestApp::start(&[]).await;
    let acme = app.company("acme").await;
    let address = app.listen().await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let mut socket = Socket::of(&address, &acme, &acme.member).await;
        socket.subscribe("subscription { events { cursor } }", json!({})).await;
        socket.batch().await;
        sockets.push(socket);
    }
    tokio::time::timeout(Duration::from_secs(10), app.state.live.stop()).await.expect("all sockets have been closed");
    for mut socket in sockets {
        assert_eq!(socket.next().await, Frame::Closed(1001, "Going away".to_owned()));
    }
}
