//! What surrounds every request, also one that goes wrong.

use std::sync::Arc;

use axum::{Router, middleware, routing::get};
use axum::{body::Body, http::Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use todo_platform::{api::http::observe::observe, platform::metrics::Metrics};
use tower::ServiceExt;

use crate::support::app::config;

#[tokio::test]
async fn a_panic_becomes_a_masked_500_with_the_requests_id() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = Arc::new(config(&folder, &[]));
    let explode = || async {
        if true {
            panic!("the password is hunter2")
        }
    };
    let router: Router = Router::new()
        .route("/boom", get(explode))
        .layer(middleware::from_fn_with_state((config, Metrics::new(false)), observe));
    let request = Request::get("/boom").header("x-request-id", "abc").body(Body::empty()).expect("a request");
    let response = router.oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), 500);
    assert_eq!(response.headers()["x-request-id"], "abc");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["errors"][0]["extensions"], json!({ "code": "INTERNAL", "requestId": "abc" }));
    assert!(!body.to_string().contains("hunter2"));
}
