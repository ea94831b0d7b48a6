//! `/metrics`, for Prometheus.

use std::time::Duration;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use crate::{
    api::endpoint::Api,
    data::db::Health,
    platform::metrics::{self, Snapshot},
};

/// For what is asked of the database: without it the rest is told all the same.
const PATIENCE: Duration = Duration::from_secs(1);

pub async fn text(State(api): State<Api>) -> Response {
    let headers = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")];
    let (metrics, db) = (&api.state.metrics, &api.state.db);
    metrics.database_is_writable(db.last_known_health() == Health::Ok);
    let snapshot = Snapshot {
        pools: db.pools(),
        backlog: timeout(PATIENCE, db.backlog()).await.ok().and_then(Result::ok),
        caches: api.cache_uses(),
        uptime: metrics.uptime(),
    };
    (headers, metrics.text_with(&snapshot)).into_response()
}
