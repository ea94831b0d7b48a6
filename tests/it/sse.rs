//! `text/event-stream` after graphql-sse's distinct connections mode.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use todo_test_macros::databases;

fn json_of(data: &str) -> Value {
    serde_json::from_str(data).expect("JSON")
}

#[databases]
async fn a_broken_stream_resumes_by_the_last_id(app: TestApp) {
    let acme = app.company("acme").await;
    let query = "subscription { events { events { type subjectId } cursor isLive } }";
    let mut stream = app.call(&acme, &acme.member, query).events().await.expect("a stream");
    let (event, id, data) = stream.next().await.expect("the beginning");
    let batch = json_of(&data)["data"]["events"].clone();
    assert_eq!((event.as_str(), &batch["cursor"]), ("next", &json!(id)));
    assert_eq!((&batch["events"], &batch["isLive"]), (&json!([]), &json!(true)));
    let first = app.item(&acme, "first").await;
    let (_, id, data) = stream.next().await.expect("the event");
    assert_eq!(json_of(&data)["data"]["events"]["events"], json!([{ "type": "ITEM_CREATED", "subjectId": first }]));
    drop(stream);
    let second = app.item(&acme, "second").await;
    let call = app.call(&acme, &acme.member, query).header("last-event-id", &id);
    let mut stream = call.events().await.expect("a stream");
    let (_, _, data) = stream.next().await.expect("what was missed");
    assert_eq!(json_of(&data)["data"]["events"]["events"], json!([{ "type": "ITEM_CREATED", "subjectId": second }]));
    let nonsense = app.call(&acme, &acme.member, query).header("last-event-id", "nonsense").answer().await;
    assert_eq!(nonsense["errors"][0]["extensions"]["code"], json!("INVALID_CURSOR"));
}

#[databases]
async fn queries_and_mutations_are_streams_of_one_answer(app: TestApp) {
    let acme = app.company("acme").await;
    let create = "mutation { itemCreate(input: {title: \"x\"}) { item { identifier } userErrors { code } } }";
    for (query, at) in [("{ organization { slug } }", "/organization/slug"), (create, "/itemCreate/item/identifier")] {
        let mut stream = app.call(&acme, &acme.member, query).events().await.expect("a stream");
        let (event, id, data) = stream.next().await.expect("the answer");
        assert_eq!((event.as_str(), id.as_str()), ("next", ""));
        assert!(json_of(&data)["data"].pointer(at).is_some_and(Value::is_string), "{data}");
        assert_eq!(stream.next().await, Some(("complete".to_owned(), String::new(), String::new())));
        assert_eq!(stream.next().await, None);
    }
}

/// What clients need not try again: the protocol wants it in the stream, and they try again on any HTTP error.
#[tokio::test]
async fn what_can_never_run_is_told_in_the_stream() {
    let app = TestApp::start(&[]).await;
    let acme = app.company("acme").await;
    for (query, code) in [
        ("{ nonsense }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { nonsense }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { events(after: \"nonsense\") { cursor } }", "INVALID_CURSOR"),
    ] {
        let mut stream = app.call(&acme, &acme.member, query).events().await.expect("a stream");
        let (event, _, data) = stream.next().await.expect("the errors");
        assert_eq!(
            (event.as_str(), &json_of(&data)["errors"][0]["extensions"]["code"]),
            ("next", &json!(code)),
            "{query}"
        );
        assert_eq!(stream.next().await.expect("the end").0, "complete");
        assert_eq!(stream.next().await, None);
    }
}

#[tokio::test]
async fn what_can_not_begin_is_an_http_error() {
    let app = TestApp::start(&[]).await;
    let acme = app.company("acme").await;
    let live = "subscription { events { cursor } }";
    let reply = app.gql(live).at("acme").token("nonsense").header("accept", "text/event-stream").reply().await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(reply.json()["errors"][0]["extensions"]["code"], json!("UNAUTHENTICATED"));
    // Where JSON is welcome it is JSON.
    let both = "application/graphql-response+json, text/event-stream";
    let reply = app.call(&acme, &acme.member, "subscription { nonsense }").header("accept", both).reply().await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.json()["errors"][0]["extensions"]["code"], json!("GRAPHQL_VALIDATION_FAILED"));
    // A subscription needs a transport that can carry it.
    let reply = app.call(&acme, &acme.member, live).reply().await;
    let message = reply.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("WebSocket") && message.contains("text/event-stream"), "{message}");
    // urql's header: whatever fits the operation.
    let all = "application/graphql-response+json, application/json, text/event-stream, multipart/mixed";
    let reply = app.call(&acme, &acme.member, "{ organization { slug } }").header("accept", all).reply().await;
    assert_eq!(reply.header("content-type"), "application/graphql-response+json; charset=utf-8");
}

/// What an `EventSource` sends; a proxy is told not to hold it back, and nobody compresses it.
#[tokio::test]
async fn a_get_may_subscribe() {
    let app = TestApp::start(&[]).await;
    let acme = app.company("acme").await;
    let request = |query: &str| {
        Request::get(format!(
            "/o/acme/graphql?query={}",
            query.replace(' ', "%20").replace('{', "%7B").replace('}', "%7D")
        ))
        .header("accept", "text/event-stream")
        .header("accept-encoding", "gzip")
        .header("authorization", format!("Bearer {}", acme.member.token))
        .body(Body::empty())
        .expect("a request")
    };
    let answer = tower::ServiceExt::oneshot(app.router.clone(), request("subscription { events { cursor } }")).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    assert!(answer.headers().contains_key("ratelimit") && !answer.headers().contains_key(header::CONTENT_ENCODING));
    let refused = app.http(request("mutation { sessionRevoke(input: {}) { deletedId } }")).await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_stream_that_is_withdrawn_says_so_and_completes() {
    let app = TestApp::start(&[("TODO_SUBSCRIPTIONS_POLL", "20ms".to_owned())]).await;
    let acme = app.company("acme").await;
    let call = app.call(&acme, &acme.member, "subscription { events { cursor } }");
    let mut stream = call.events().await.expect("a stream");
    stream.next().await.expect("the beginning");
    app.call(&acme, &acme.member, "mutation { sessionRevoke(input: {}) { deletedId userErrors { code } } }")
        .done()
        .await;
    let (event, _, data) = stream.next().await.expect("the error");
    assert_eq!(
        (event.as_str(), &json_of(&data)["errors"][0]["extensions"]["code"]),
        ("next", &json!("UNAUTHENTICATED"))
    );
    assert_eq!(stream.next().await.expect("the end").0, "complete");
    assert_eq!(stream.next().await, None);
}
