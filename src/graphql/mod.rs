//! The API's machinery: the [`gate`] in front of the executor, the [`guard`] in front of each field, and the shapes that
//! all domains share (connections, payloads, scalars, filters).
//!
//! No async-graphql extension is registered: any takes every field off the executor's fast path.

pub mod api;
mod body;
pub mod budget;
pub mod connection;
pub mod context;
pub mod coordinate;
pub mod cost;
pub mod document;
pub mod error;
pub mod federation;
pub mod field_tags;
pub mod filter;
pub mod gate;
pub mod guard;
pub mod http;
pub mod loaders;
pub mod loads;
mod media;
pub mod node;
mod outbox;
pub mod patch;
pub mod payload;
pub mod price_list;
pub mod processor;
pub mod range;
pub mod response;
pub mod scalars;
pub mod schema;
pub mod share;
pub mod sse;
pub mod stream;

pub mod ws;
