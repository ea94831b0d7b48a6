//! Automatic persisted queries.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::app::TestApp;

async fn post(app: &TestApp, body: Value) -> Value {
    let request = Request::post("/graphql")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request");
    app.http(request).await.json()
}

fn named(document: &str) -> Value {
    let hash: String = Sha256::digest(document.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } })
}

#[tokio::test]
async fn a_document_once_sent_with_its_hash_is_known_by_it() {
    let app = TestApp::start(&[]).await;
    let document = "{ server { version } }";
    let unknown = post(&app, json!({ "extensions": named(document) })).await;
    assert_eq!(unknown["errors"][0]["message"], json!("PersistedQueryNotFound"));
    assert_eq!(unknown["errors"][0]["extensions"]["code"], json!("PERSISTED_QUERY_NOT_FOUND"));
    let sent = post(&app, json!({ "query": document, "extensions": named(document) })).await;
    let recalled = post(&app, json!({ "extensions": named(document) })).await;
    assert_eq!(sent["data"]["server"]["version"], json!(env!("CARGO_PKG_VERSION")));
    assert_eq!(recalled, sent);
}

#[tokio::test]
async fn a_hash_of_another_document_is_refused_and_nothing_is_remembered() {
    let app = TestApp::start(&[]).await;
    let body = json!({ "query": "{ server { version } }", "extensions": named("{ __typename }") });
    assert_eq!(post(&app, body).await["errors"][0]["extensions"]["code"], json!("BAD_REQUEST"));
    let recalled = post(&app, json!({ "extensions": named("{ __typename }") })).await;
    assert_eq!(recalled["errors"][0]["extensions"]["code"], json!("PERSISTED_QUERY_NOT_FOUND"));
    // What doesn't pass validation isn't remembered either.
    let broken = "{ server { version }";
    post(&app, json!({ "query": broken, "extensions": named(broken) })).await;
    let recalled = post(&app, json!({ "extensions": named(broken) })).await;
    assert_eq!(recalled["errors"][0]["extensions"]["code"], json!("PERSISTED_QUERY_NOT_FOUND"));
}
