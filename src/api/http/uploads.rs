//! `PUT /uploads/{token}`: the file of an import, as it comes. Whoever knows the address may send it, once.

use std::time::Duration;

use axum::{
    Extension, Json,
    body::{Body, HttpBody as _},
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::refusal::{Refusal, charge};
use crate::{
    api::endpoint::Api,
    base::id::ImportId,
    data::actor::Origin,
    domains::imports::upload::{MAX_BYTES, NotTaken, PART, Upload},
    platform::state::State as ServerState,
};

/// How long a file may take, whatever its size: 16 MiB at 150 kbit/s.
const LONGEST: Duration = Duration::from_secs(15 * 60);

pub async fn file(
    State(api): State<Api>,
    Extension(origin): Extension<Origin>,
    token: Result<Path<String>, PathRejection>,
    body: Body,
) -> Response {
    let token = token.map(|Path(token)| token).unwrap_or_default();
    match take(&api.state, &origin, &token, body).await {
        Ok(id) => (StatusCode::ACCEPTED, Json(json!({ "importId": id }))).into_response(),
        Err(refusal) => refusal.into_response(&origin),
    }
}

async fn take(state: &ServerState, origin: &Origin, token: &str, body: Body) -> Result<ImportId, Refusal> {
    let mut upload = Upload::begin(&state.db, &state.secret, token, origin).await?.map_err(not_taken)?;
    let span = tracing::Span::current();
    span.record("organization", tracing::field::display(upload.scope().organization_id()));
    span.record("actor", tracing::field::display(upload.scope().actor().any_id()));
    if usize::try_from(body.size_hint().lower()).map_or(true, |bytes| bytes > MAX_BYTES) {
        return Err(too_large());
    }
    let until = Instant::now() + LONGEST;
    let mut chunks = body.into_data_stream();
    let (mut part, mut size) = (Vec::with_capacity(PART), 0);
    loop {
        // A sender that says nothing for so long as a request may take is gone.
        let pause = Instant::now() + state.config.limits.body_timeout;
        let Ok(chunk) = timeout_at(pause.min(until), chunks.next()).await else {
            let message = "The file took too long to arrive.";
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "TIMEOUT", message));
        };
        let Some(chunk) = chunk else { break };
        let Ok(chunk) = chunk else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", "The file broke off; send it again."));
        };
        size += chunk.len();
        if size > MAX_BYTES {
            return Err(too_large());
        }
        let mut rest = &chunk[..];
        while part.len() + rest.len() >= PART {
            let (now, later) = rest.split_at(PART - part.len());
            part.extend_from_slice(now);
            let whole = std::mem::replace(&mut part, Vec::with_capacity(PART));
            charge(state, upload.scope()).await?;
            upload.keep(whole).await?.map_err(not_taken)?;
            rest = later;
        }
        part.extend_from_slice(rest);
    }
    if !part.is_empty() {
        charge(state, upload.scope()).await?;
        upload.keep(part).await?.map_err(not_taken)?;
    }
    upload.finish().await?.map_err(not_taken)
}

fn too_large() -> Refusal {
    let message = format!("A file has at most {MAX_BYTES} bytes; split it, or have the server's operator import it.");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
}

fn not_taken(why: NotTaken) -> Refusal {
    let (status, code, message) = match why {
        NotTaken::Unknown => (StatusCode::NOT_FOUND, "NOT_FOUND", "No file is expected at this address."),
        NotTaken::Over => (StatusCode::CONFLICT, "INVALID_STATE", "The file is there, or it is too late for it."),
        NotTaken::Forbidden => {
            (StatusCode::FORBIDDEN, "FORBIDDEN", "Whoever asked for the import may not write here any more.")
        }
        NotTaken::Overtaken => (StatusCode::CONFLICT, "CONFLICT", "The file is being sent by another request."),
        NotTaken::Empty => (StatusCode::BAD_REQUEST, "BAD_REQUEST", "The file is empty; send it as the body."),
    };
    Refusal::new(status, code, message)
}

/// What comes by another method.
pub async fn only_put(Extension(origin): Extension<Origin>) -> Response {
    Refusal::only("PUT", "Files are sent with PUT.", &origin)
}
