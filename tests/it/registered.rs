//! Registered documents: the operator's manifests, by `documentId`, over every transport; and nothing else where that is
//! set.

use std::path::PathBuf;

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use todo_platform::app::{Options, start};

use crate::support::{
    app::{TestApp, config},
    socket::{Frame, Socket},
};

const BOARD: &str = "query Board($first: Int = 2) { items(first: $first) { nodes { title } } }";
const VERSION: &str = "query Version { server { version } }";
const FEED: &str = "subscription Feed { events { isLive } }";

/// A manifest of each form that tools write, and the setting that names them.
fn manifests(folder: &TempDir) -> String {
    let by_codegen = json!({ "board-1": BOARD });
    let by_relay = json!({ "3be4abb8": FEED });
    let operation = json!({ "id": "version-1", "name": "Version", "type": "query", "body": VERSION });
    let by_apollo = json!({ "format": "apollo-persisted-query-manifest", "version": 1, "operations": [operation] });
    let files = [("codegen.json", by_codegen), ("relay.json", by_relay), ("apollo.json", by_apollo)];
    let paths = files.map(|(name, manifest)| {
        let path: PathBuf = folder.path().join(name);
        std::fs::write(&path, manifest.to_string()).expect("it is written");
        path.display().to_string()
    });
    paths.join(",")
}

async fn post(app: &TestApp, body: Value, token: &str) -> Value {
    let mut request = Request::post("/graphql").header("content-type", "application/json");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}")).header("x-organization", "acme");
    }
    app.http(request.body(Body::from(body.to_string())).expect("a request")).await.json()
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_registered_document_runs_by_its_id_over_every_transport() {
    let folder = TempDir::new().expect("a folder");
    let app = TestApp::start(&[("TODO_SERVER_DOCUMENTS", manifests(&folder))]).await;
    let acme = app.company("acme").await;
    app.item(&acme, "one").await;
    let token = acme.member.token.as_str();
    let board = post(&app, json!({ "documentId": "board-1", "variables": { "first": 1 } }), token).await;
    assert_eq!(board["data"]["items"]["nodes"], json!([{ "title": "one" }]), "{board:#}");
    let version = json!({ "data": { "server": { "version": env!("CARGO_PKG_VERSION") } } });
    for body in [
        json!({ "documentId": "version-1" }),
        json!({ "documentId": "version-1", "query": VERSION }),
        json!({ "extensions": { "documentId": "version-1" } }),
        // As Apollo's clients name what their manifest has.
        json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "version-1" } } }),
        json!({ "query": VERSION }),
    ] {
        assert_eq!(post(&app, body.clone(), "").await, version, "{body}");
    }
    assert_eq!(app.get("/graphql?documentId=version-1").await.json(), version);
    for (body, expected) in [
        (json!({ "documentId": "nothing" }), "PERSISTED_QUERY_NOT_FOUND"),
        (json!({ "documentId": "version-1", "query": BOARD }), "BAD_REQUEST"),
        (json!({ "documentId": 5 }), "BAD_REQUEST"),
        (json!({ "documentId": "" }), "BAD_REQUEST"),
    ] {
        let answer = post(&app, body.clone(), "").await;
        assert_eq!(code(&answer), expected, "{body}: {answer:#}");
    }
    let mut socket = app.socket_of(&acme, &acme.viewer).await;
    socket.start(json!({ "documentId": "3be4abb8" })).await;
    assert_eq!(socket.batch().await["isLive"], json!(true));
    socket.start(json!({ "documentId": "nothing" })).await;
    assert_eq!(socket.error_code().await, "PERSISTED_QUERY_NOT_FOUND");
    // Others run as before, and the metrics name those that are registered.
    assert_eq!(code(&post(&app, json!({ "query": "query Other { __typename }" }), "").await), "");
    let metrics = String::from_utf8(app.get("/metrics").await.body).expect("text");
    assert!(metrics.contains("todo_operations_total{operation=\"Board\",outcome=\"ok\"} 1"), "{metrics}");
    assert!(metrics.contains("todo_operation_duration_seconds_count{operation=\"Version\"} 6"), "{metrics}");
    assert!(!metrics.contains("Other"), "{metrics}");
}

#[tokio::test]
async fn nothing_else_runs_where_that_is_set() {
    let folder = TempDir::new().expect("a folder");
    let settings = [
        ("TODO_SERVER_DOCUMENTS", manifests(&folder)),
        ("TODO_SERVER_DOCUMENTS_ONLY", "on".to_owned()),
        ("TODO_SERVER_PLAYGROUND", "off".to_owned()),
    ];
    let app = TestApp::start(&settings).await;
    let address = app.listen().await;
    assert_eq!(code(&post(&app, json!({ "query": VERSION }), "").await), "");
    for query in [
        "{ server { version } }",
        "query Version { server { version } } ",
        "{ __schema { types { name } } }",
        "nonsense",
    ] {
        let answer = post(&app, json!({ "query": query }), "").await;
        assert_eq!(code(&answer), "FORBIDDEN", "{query}: {answer:#}");
        let mut socket = Socket::let_in(&address, json!({})).await;
        socket.subscribe(query, json!({})).await;
        match socket.next().await {
            Frame::Json(message) if message["type"] == "error" => {
                assert_eq!(message["payload"][0]["extensions"]["code"], json!("FORBIDDEN"));
            }
            other => panic!("{query}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_manifest_that_is_wrong_stops_the_start() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("manifest.json");
    let cases = [
        (json!({ "a": "{ nothing }" }).to_string(), "document a: GRAPHQL_VALIDATION_FAILED"),
        (json!({ "a": 5 }).to_string(), "it is no manifest"),
        ("[]".to_owned(), "it is no manifest"),
        ("nonsense".to_owned(), "it is no manifest"),
    ];
    for (manifest, why) in cases {
        std::fs::write(&path, &manifest).expect("it is written");
        let data = TempDir::new().expect("a folder");
        let settings = [("TODO_SERVER_DOCUMENTS", path.display().to_string())];
        let config = config(&data, &settings);
        let started = start(config.into(), Options::default()).await;
        let said = started.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains(why) && said.contains("manifest.json"), "{manifest}: {said}");
    }
}
