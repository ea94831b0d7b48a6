//! The GraphiQL playground, its assets inside the binary. `scripts/refresh-playground.sh` makes the assets from npm.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use rust_embed::RustEmbed;
use serde::Serialize;

use super::router::App;
use crate::base::secret;

#[derive(RustEmbed)]
#[folder = "src/api/http/playground/assets"]
struct Assets;

const PAGE: &str = include_str!("index.html");

/// A published account of the demo organization; the page shows a button for each.
#[derive(Clone, Debug, Serialize)]
pub struct DemoAccount {
    pub role: &'static str,
    pub email: String,
    pub password: String,
}

/// The accounts to show; none outside the demo.
pub type DemoAccounts = Arc<[DemoAccount]>;

/// `/` and `/o/{organization}/`.
pub async fn page(State(app): State<App>, path: Option<Path<String>>) -> Response {
    let endpoint = match path {
        None => "/graphql".to_owned(),
        Some(Path(name)) if is_name(&name) => format!("/o/{name}/graphql"),
        Some(_) => return StatusCode::NOT_FOUND.into_response(),
    };
    let Ok(nonce) = secret::random::<16>() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let nonce = BASE64_STANDARD_NO_PAD.encode(nonce);
    let accounts = serde_json::to_string(&app.demo).unwrap_or_default();
    let html = PAGE
        .replace("{{NONCE}}", &nonce)
        .replace("{{ENDPOINT}}", &escape(&endpoint))
        .replace("{{DEMO_ACCOUNTS}}", &escape(&accounts))
        .replace("{{VERSION}}", env!("CARGO_PKG_VERSION"));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (headers, html).into_response()
}

/// `/o/{organization}` without the slash.
pub async fn redirect(Path(name): Path<String>) -> Response {
    if is_name(&name) {
        Redirect::permanent(&format!("/o/{name}/")).into_response()
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

/// A slug or an id: nothing that could leave its place in a URL or an attribute.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// `/playground/assets/{file}`.
pub async fn asset(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = Assets::get(&file) else { return StatusCode::NOT_FOUND.into_response() };
    let tag = hex::encode(&asset.metadata.sha256_hash()[..8]);
    let tag = format!("\"{tag}\"");
    let known =
        headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(|value| value == tag);
    let common = [(header::ETAG, tag), (header::CACHE_CONTROL, "public, max-age=600".to_owned())];
    if known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, asset.metadata.mimetype().to_owned())];
    (common, content_type, asset.data.into_owned()).into_response()
}

/// For an HTML attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}
