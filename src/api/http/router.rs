//! The routes.

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{any, get, post, put},
};
use serde_json::json;
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{NotForContentType, Predicate, SizeAbove},
    },
    cors::CorsLayer,
};

use super::{callbacks, connection, health, metrics, observe, playground, serve::Draining, uploads};
use crate::{
    api::{
        endpoint::{Api, http::graphql},
        schema,
    },
    data::actor::Origin,
};

/// What handlers need.
#[derive(Clone)]
pub struct App {
    pub api: Api,
    pub draining: Draining,
    pub demo: playground::DemoAccounts,
    /// Health and metrics alone.
    pub no_api: bool,
}

impl axum::extract::FromRef<App> for Api {
    fn from_ref(app: &App) -> Self {
        app.api.clone()
    }
}

/// All routes, with what surrounds each request: log line and request id outermost, then CORS, then compression.
pub fn router(app: App) -> Router {
    let config = app.api.state.config.clone();
    let counted = app.api.state.metrics.clone();
    let mut routes = Router::new().route("/health", get(health::live)).route("/health/ready", get(health::ready));
    if config.server.metrics {
        routes = routes.route("/metrics", get(metrics::text));
    }
    if !app.no_api {
        routes = routes.merge(api_routes(config.server.playground));
        if config.server.introspection {
            routes = routes.route("/schema.graphql", get(schema_file));
        }
    }
    routes
        .fallback(not_found)
        .layer(middleware::from_fn(connection::weigh))
        .layer(
            CompressionLayer::new()
                .quality(CompressionLevel::Fastest)
                .compress_when(SizeAbove::new(1024).and(NotForContentType::SSE)),
        )
        .layer(cors(&config.server.cors_origins))
        .layer(middleware::from_fn_with_state((config, counted), observe::observe))
        .with_state(app)
}

fn api_routes(has_playground: bool) -> Router<App> {
    let routes = Router::new()
        .route("/graphql", any(graphql))
        .route("/o/{organization}/graphql", any(graphql))
        .route("/callbacks/billing", post(callbacks::billing).fallback(callbacks::only_post))
        .route("/callbacks/{token}", post(callbacks::hook).fallback(callbacks::only_post))
        .route("/uploads/{token}", put(uploads::file).fallback(uploads::only_put));
    if !has_playground {
        return routes.route("/", get(name_and_version));
    }
    routes
        .route("/", get(playground::page))
        .route("/o/{organization}/", get(playground::page))
        .route("/o/{organization}", get(playground::redirect))
        .route("/playground/assets/{file}", get(playground::asset))
}

/// Exactly the configured origins; nothing is reflected, and `null` is none.
fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            name("x-api-key"),
            name("x-organization"),
            name("x-request-id"),
            name("idempotency-key"),
            name("x-include-cost"),
            header::IF_NONE_MATCH,
        ])
        .expose_headers([
            name("x-request-id"),
            name("x-process-time"),
            name("ratelimit"),
            name("ratelimit-policy"),
            header::RETRY_AFTER,
            header::ETAG,
        ])
        .max_age(std::time::Duration::from_secs(3600))
}

async fn schema_file(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], schema::sdl(&api.schema)).into_response()
}

async fn name_and_version() -> Json<serde_json::Value> {
    Json(json!({ "name": "Enterprise Todo Platform", "version": env!("CARGO_PKG_VERSION"), "graphql": "/graphql" }))
}

async fn not_found(request: Request) -> Response {
    let request_id = request.extensions().get::<Origin>().map(|origin| origin.request_id.to_string());
    let error = json!({
        "message": "There is nothing here; the API is at /graphql.",
        "extensions": { "code": "NOT_FOUND", "requestId": request_id },
    });
    (StatusCode::NOT_FOUND, Json(json!({ "errors": [error] }))).into_response()
}
