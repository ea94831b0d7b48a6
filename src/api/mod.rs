//! How requests come in and answers go out: [`http`] (routes, health, playground, callbacks), [`endpoint`] (GraphQL over HTTP,
//! SSE and WebSocket), what stands before the executor ([`document`], [`validation`], [`cost`], [`processor`]), and the
//! [`schema`] with its roots.
//!
//! No async-graphql extension is registered: any takes every field off the executor's fast path.

mod answer_cache;
pub mod cost;
pub mod document;
pub mod endpoint;
pub mod federation;
pub mod http;
pub mod processor;
pub mod response_sharing;
pub mod schema;
pub mod validation;
