//! From a request to a socket.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Request as HttpRequest, StatusCode, header, request::Parts},
    response::{IntoResponse, Response as HttpResponse},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::server::create_response_with_body,
        protocol::{Role, WebSocketConfig},
    },
};

use super::serve;
use crate::{
    api::endpoint::{Api, Envelope},
    base::{
        config::ServerConfig,
        error::{Code, Refusal},
    },
    graphql::{
        error::{finish, server_errors},
        response::text_of,
    },
    platform::connections::Connection,
};

const PROTOCOL: &str = "graphql-transport-ws";
/// Small: most sockets are idle, and there are many.
const READ_BUFFER: usize = 4096;

/// Whether a request asks for a socket.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// Answers with a socket, unless a foreign page asks for it.
pub async fn upgrade(api: Api, mut parts: Parts, envelope: Envelope) -> HttpResponse {
    if !is_own_page(&parts.headers, &api.state.config.server) {
        let refusal = Refusal::new(Code::Forbidden, "Pages of this origin may not connect (CORS_ORIGINS).");
        return (StatusCode::FORBIDDEN, refused(refusal, &envelope)).into_response();
    }
    let (Some(upgrade), Some(connection)) =
        (parts.extensions.remove::<OnUpgrade>(), parts.extensions.remove::<Arc<Connection>>())
    else {
        let refusal = Refusal::bad_request("This connection can't become a WebSocket.");
        return (StatusCode::UPGRADE_REQUIRED, refused(refusal, &envelope)).into_response();
    };
    let is_spoken = speaks(&parts.headers);
    // Checks what the client asks for, and signs it.
    let mut response = match create_response_with_body(&HttpRequest::from_parts(parts, ()), Body::empty) {
        Ok(response) => response,
        Err(error) => {
            let refusal = Refusal::bad_request(format!("This is no WebSocket's handshake: {error}."));
            return (StatusCode::BAD_REQUEST, refused(refusal, &envelope)).into_response();
        }
    };
    if is_spoken {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let limit = Some(api.state.config.sockets.message_bytes);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(limit)
            .max_frame_size(limit);
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        Box::pin(serve(stream, is_spoken, api, envelope, connection)).await;
    });
    response
}

/// Whether the client offers the protocol.
fn speaks(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offered.flat_map(|value| value.split(',')).any(|protocol| protocol.trim() == PROTOCOL)
}

fn refused(refusal: Refusal, envelope: &Envelope) -> String {
    let mut response = async_graphql::Response::from_errors(server_errors(refusal.into()));
    finish(&mut response, &envelope.origin.request_id);
    text_of(&response)
}

/// Browsers name the page's origin and enforce nothing: it must be configured, or this server's own. Other clients name
/// none.
fn is_own_page(headers: &HeaderMap, config: &ServerConfig) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    config.cors_origins.iter().any(|allowed| allowed == origin)
        || config.public_url.as_deref().is_some_and(|url| url == origin || url.starts_with(&format!("{origin}/")))
        || authority.is_some() && authority == host
}
