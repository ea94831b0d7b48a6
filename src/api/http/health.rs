//! `/health`: the process lives. `/health/ready`: it can do its work; a load balancer asks this one.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::time::timeout;

use super::router::App;
use crate::{base::clock::format_instant, data::db::Health};

/// How long the database may take with an answer: a server of PostgreSQL that hangs keeps connections open and says nothing.
const LIMIT: Duration = Duration::from_secs(5);

pub async fn live(State(app): State<App>) -> Response {
    let body = json!({
        "status": "ok",
        "time": format_instant(app.api.state.clock().now()),
        "version": env!("CARGO_PKG_VERSION"),
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// 503 while shutting down, without the database, while it takes no writes, or before its schema is current.
pub async fn ready(State(app): State<App>) -> Response {
    let db = &app.api.state.db;
    let database = timeout(LIMIT, db.ping()).await.is_ok_and(|answer| answer.is_ok());
    let pending = async { db.pending_migrations().await.is_ok_and(|pending| pending.is_empty()) };
    let migrations = database && timeout(LIMIT, pending).await.unwrap_or_default();
    let writes = if database { db.health().await } else { Health::Failing };
    let draining = app.draining.has_begun();
    let is_ready = database && migrations && writes == Health::Ok && !draining;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = |ok: bool| if ok { "ok" } else { "failing" };
    let body = json!({
        "status": if is_ready { "ready" } else { "unavailable" },
        "checks": {
            "database": word(database),
            "writes": writes.word(),
            "migrations": word(migrations),
            "shutdown": if draining { "draining" } else { "no" },
        },
    });
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
