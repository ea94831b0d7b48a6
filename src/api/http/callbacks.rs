//! `POST /callbacks/{token}` and `/callbacks/billing`: what other systems say of themselves. Answers are JSON, and tell
//! a wrong signature from an address that nobody has in nothing.

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::json;

use super::refusal::{Refusal, charge};
use crate::{
    api::endpoint::{
        Api,
        http::request::{Unread, collect},
    },
    base::{
        enums::{Feature, InboundOutcome},
        plan,
        signature::Forged,
    },
    data::{
        actor::Origin,
        db::{OrgScope, identity::HookHolder},
    },
    domains::{
        inbound_hooks::{
            body,
            receive::{self, Receipted},
            service,
            verify::{self, Verified},
        },
        plans::billing::{self, Outcome},
    },
    platform::{auth::session::Credential, state::State as ServerState},
};

/// Why a callback whose signature is right is rejected all the same.
const BAD_TIME: &str = "The signed time is more than 5 minutes off.";

const NO_JSON: &str = "The body is not JSON in UTF-8 (content type application/json).";

impl Refusal {
    /// The same for every address, so that trying them tells nothing.
    fn forged(forged: Forged) -> Self {
        let (code, message) = match forged {
            Forged::Signature => {
                ("BAD_SIGNATURE", "Nothing at this address has that signature; check the address and the secret.")
            }
            Forged::Time => ("BAD_TIME", BAD_TIME),
        };
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }
}

/// Of an inbound hook.
pub async fn hook(
    State(api): State<Api>,
    Extension(origin): Extension<Origin>,
    token: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    // What is no text, or holds NUL (which PostgreSQL refuses), is an address that nobody has.
    let token = token.map(|Path(token)| token.replace('\0', "")).unwrap_or_default();
    match take(&api.state, &origin, token, &headers, body).await {
        Ok(receipted) => answer(receipted, &origin),
        Err(refusal) => refusal.into_response(&origin),
    }
}

async fn take(
    state: &ServerState,
    origin: &Origin,
    token: String,
    headers: &HeaderMap,
    body: Body,
) -> Result<Receipted, Refusal> {
    let body = read(state, body).await?;
    let limiter = &state.rate_limit;
    // Guesses at addresses are counted as guesses at keys are.
    let credential = Credential::ApiKey(token.clone());
    limiter.may_look_up(&credential, limiter.of_address(origin)).map_err(|refused| Refusal::rate_limited(&refused))?;
    let now = state.clock().now();
    let Some(holder) = state.db.identify_hook(&token).await? else {
        let forged = verify::verify_nobody(headers, &body, now);
        return Err(reject(state, origin, Refusal::forged(forged)).await);
    };
    let hook = &holder.hook;
    let secrets = service::secrets(hook, &state.secret, now)?;
    let verified = match verify::verify(hook.provider, &secrets, headers, &body, now) {
        Ok(verified) => verified,
        Err(forged) => {
            let refusal = reject(state, origin, Refusal::forged(forged)).await;
            // Whoever knows the address alone writes no more rows than their own address pays for.
            if refusal.status == StatusCode::UNAUTHORIZED {
                note_later(state, origin, &holder, forged);
            }
            return Err(refusal);
        }
    };
    limiter.was_good(&credential);
    let scope = holder.scope(&state.db, origin.clone());
    let span = tracing::Span::current();
    span.record("organization", tracing::field::display(scope.organization_id()));
    span.record("actor", tracing::field::display(scope.actor().any_id()));
    charge(state, &scope).await?;
    handle(&scope, &holder, &verified, &body).await
}

/// What a verified callback comes to.
async fn handle(scope: &OrgScope, holder: &HookHolder, verified: &Verified, body: &[u8]) -> Result<Receipted, Refusal> {
    let hook = &holder.hook;
    let rejected = if !hook.is_enabled {
        Some((StatusCode::FORBIDDEN, "HOOK_DISABLED", "The hook is not enabled."))
    } else if !plan::includes(scope.organization().plan_tier, Feature::InboundHooks) {
        Some((StatusCode::FORBIDDEN, "NOT_IN_PLAN", "The organization's plan does not include inbound hooks."))
    } else if !holder.creator_is_active {
        Some((StatusCode::FORBIDDEN, "FORBIDDEN", "Whoever made this hook is no active member any more."))
    } else {
        None
    };
    let parsed = body::parse(body);
    let rejected = rejected.or_else(|| parsed.is_none().then_some((StatusCode::BAD_REQUEST, "BAD_REQUEST", NO_JSON)));
    if let Some((status, code, reason)) = rejected {
        receive::note(scope, hook, InboundOutcome::Rejected, verified.delivery_id.as_deref(), reason).await?;
        return Err(Refusal::new(status, code, reason));
    }
    let body = parsed.unwrap_or_default();
    Ok(receive::receive(scope, hook, verified, &body).await?)
}

fn answer(receipted: Receipted, origin: &Origin) -> Response {
    let Receipted { outcome, receipt_id, items, reason } = receipted;
    if outcome == InboundOutcome::Failed {
        let reason = reason.unwrap_or_default();
        let error = json!({
            "code": "FAILED", "message": reason, "receiptId": receipt_id, "requestId": &*origin.request_id,
        });
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": error }))).into_response();
    }
    let outcome = plan::name(outcome);
    Json(json!({ "outcome": outcome, "receiptId": receipt_id, "items": items, "reason": reason })).into_response()
}

/// What proves nobody costs its address a point; without one left it is RATE_LIMITED instead.
async fn reject(state: &ServerState, origin: &Origin, refusal: Refusal) -> Refusal {
    let allowance = state.rate_limit.of_address(origin);
    if allowance.capacity == 0 {
        return refusal;
    }
    match state.rate_limit.take(allowance, 1).await {
        Ok(taken) => {
            drop(taken);
            refusal
        }
        Err(refused) => Refusal::rate_limited(&refused),
    }
}

/// Counts what was rejected, and now and then leaves a receipt, written behind the answer: that it takes longer would
/// tell that the hook exists.
fn note_later(state: &ServerState, origin: &Origin, holder: &HookHolder, forged: Forged) {
    let (name, reason) = match forged {
        Forged::Signature => ("signature", "The signature is not this hook's."),
        Forged::Time => ("time", BAD_TIME),
    };
    state.metrics.refused_callback(name);
    let (scope, hook) = (holder.scope(&state.db, origin.clone()), holder.hook.clone());
    let Some(more) = state.refusals.count(scope.organization_id(), hook.id, state.clock().now()) else { return };
    let reason = match more {
        0 => reason.to_owned(),
        more => format!("{reason} {more} more were rejected since the last such receipt."),
    };
    state.later("noting a refused callback", move |_| {
        let (scope, hook, reason) = (scope.clone(), hook.clone(), reason.clone());
        async move { receive::note(&scope, &hook, InboundOutcome::Rejected, None, &reason).await.map(drop) }
    });
}

/// Of the payment provider.
pub async fn billing(
    State(api): State<Api>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let state = &api.state;
    let outcome = async {
        let config = &state.config.billing;
        let Some(secret) = &config.webhook_secret else {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Billing is not configured on this server."));
        };
        let body = read(state, body).await?;
        let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let Err(forged) = billing::verify(secret, header, &body, state.clock().now()) {
            return Err(reject(state, &origin, Refusal::forged(forged)).await);
        }
        let event = body::parse(&body).ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", NO_JSON))?;
        Ok(billing::receive(&state.db, config, &origin, event).await?)
    };
    match outcome.await {
        Ok(Outcome::Applied(tier)) => Json(json!({ "outcome": "APPLIED", "plan": plan::name(tier) })).into_response(),
        Ok(Outcome::Duplicate) => Json(json!({ "outcome": "DUPLICATE" })).into_response(),
        Ok(Outcome::Ignored(reason)) => Json(json!({ "outcome": "IGNORED", "reason": reason })).into_response(),
        Ok(Outcome::Failed(reason)) => {
            tracing::warn!(reason, "a billing event could not be applied");
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "FAILED", reason).into_response(&origin)
        }
        Err(refusal) => refusal.into_response(&origin),
    }
}

/// The whole body, as it came.
async fn read(state: &ServerState, body: Body) -> Result<Bytes, Refusal> {
    let limits = &state.config.limits;
    let (status, code, message) = match collect(body, limits).await {
        Ok(bytes) => return Ok(bytes),
        Err(Unread::Late) => (StatusCode::REQUEST_TIMEOUT, "TIMEOUT", "The body took too long to arrive.".to_owned()),
        Err(Unread::TooLarge) => {
            let message = format!("A callback has at most {} bytes.", limits.body_bytes);
            (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
        }
        Err(Unread::Broken) => (StatusCode::BAD_REQUEST, "BAD_REQUEST", "The body broke off.".to_owned()),
    };
    Err(Refusal::new(status, code, message))
}

/// What comes by another method.
pub async fn only_post(Extension(origin): Extension<Origin>) -> Response {
    Refusal::only("POST", "Callbacks are sent with POST.", &origin)
}
