//! Talks to a test's server the way clients do, through its whole HTTP stack.

use std::net::{IpAddr, SocketAddr};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{app::TestApp, socket::Events};

/// An HTTP answer, its body read.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// One GraphQL request.
#[must_use]
pub struct Call<'a> {
    app: &'a TestApp,
    query: String,
    variables: Value,
    headers: Vec<(String, String)>,
    path: String,
    peer: Option<IpAddr>,
}

impl TestApp {
    pub fn gql(&self, query: impl Into<String>) -> Call<'_> {
        Call {
            app: self,
            query: query.into(),
            variables: json!({}),
            headers: Vec::new(),
            path: "/graphql".to_owned(),
            peer: None,
        }
    }

    /// Any HTTP request.
    pub async fn http(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.expect("the router answers everything");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the body arrives").to_bytes().to_vec();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.http(Request::get(path).body(Body::empty()).expect("a request")).await
    }
}

impl Call<'_> {
    pub fn vars(mut self, variables: Value) -> Self {
        self.variables = variables;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As the person with this access token.
    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// With this API key.
    pub fn key(self, key: &str) -> Self {
        self.header("x-api-key", key)
    }

    /// In this organization, by its path.
    pub fn at(mut self, slug: &str) -> Self {
        self.path = format!("/o/{slug}/graphql");
        self
    }

    /// From this address.
    pub fn from(mut self, address: &str) -> Self {
        self.peer = Some(address.parse().expect("an address"));
        self
    }

    /// The raw answer.
    pub async fn reply(self) -> Reply {
        let app = self.app.clone();
        app.http(self.request()).await
    }

    /// The answers of a subscription as they come; `Err` with what came instead.
    pub async fn events(self) -> Result<Events, Value> {
        let router = self.app.router.clone();
        let request = self.header("accept", "text/event-stream").request();
        let response = router.oneshot(request).await.expect("the router answers everything");
        let (parts, body) = response.into_parts();
        if parts.headers[header::CONTENT_TYPE] == "text/event-stream" {
            return Ok(Events::of(body));
        }
        let body = body.collect().await.expect("the body arrives").to_bytes();
        Err(serde_json::from_slice(&body).expect("JSON"))
    }

    fn request(&self) -> Request<Body> {
        let mut request =
            Request::builder().method(Method::POST).uri(&self.path).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = json!({ "query": self.query, "variables": self.variables }).to_string();
        if let Some(peer) = self.peer {
            request = request.extension(ConnectInfo(SocketAddr::from((peer, 4711))));
        }
        request.body(Body::from(body)).expect("a request")
    }

    /// The whole answer, errors and all; of a subscription the first.
    pub async fn answer(self) -> Value {
        if !self.query.starts_with("subscription") {
            return self.reply().await.json();
        }
        match self.events().await {
            Ok(mut events) => {
                let (_, _, data) = events.next().await.expect("an answer");
                serde_json::from_str(&data).expect("JSON")
            }
            Err(answer) => answer,
        }
    }

    /// `data`, of an answer without errors.
    pub async fn data(self) -> Value {
        let query = self.query.clone();
        let answer = self.answer().await;
        assert!(answer.get("errors").is_none(), "{query}\n{answer:#}");
        answer["data"].clone()
    }

    /// The payload of the one mutation, which must have succeeded. The document selects `userErrors`.
    pub async fn done(self) -> Value {
        let query = self.query.clone();
        let payload = only_field(&self.data().await);
        assert_eq!(payload["userErrors"], json!([]), "{query}\n{payload:#}");
        payload
    }

    /// The `userErrors` of the one mutation, which must have failed: `(code, path)` of each.
    pub async fn refused(self) -> Vec<(String, String)> {
        let query = self.query.clone();
        let payload = only_field(&self.data().await);
        let errors = payload["userErrors"].as_array().unwrap_or_else(|| panic!("{query}\n{payload:#}"));
        assert!(!errors.is_empty(), "it was expected to fail: {query}\n{payload:#}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let path = |error: &Value| {
            let segments = error["path"].as_array().cloned().unwrap_or_default();
            segments.iter().map(text).collect::<Vec<_>>().join(".")
        };
        errors.iter().map(|error| (text(&error["code"]), path(error))).collect()
    }

    /// The code of the first top-level error.
    pub async fn error_code(self) -> String {
        let query = self.query.clone();
        let answer = self.answer().await;
        let code = answer["errors"][0]["extensions"]["code"].as_str();
        code.unwrap_or_else(|| panic!("it was expected to fail: {query}\n{answer:#}")).to_owned()
    }
}

fn only_field(data: &Value) -> Value {
    let fields = data.as_object().expect("an object of root fields");
    assert_eq!(fields.len(), 1, "one root field: {data:#}");
    fields.values().next().cloned().unwrap_or_default()
}

/// What `refused` gives for one error.
pub fn problem(code: &str, path: &str) -> Vec<(String, String)> {
    vec![(code.to_owned(), path.to_owned())]
}
