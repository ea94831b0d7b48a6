//! The kit that domain types are written with: connections, payloads, scalars, filters, loaders, the [`guard`] before each
//! field, and the request's [`context`].
//!
//! It names no domain. How a request gets as far as a resolver is in `api/`.

pub mod budget;
pub mod connection;
pub mod context;
pub mod error;
pub mod field_tags;
pub mod filter;
pub mod guard;
pub mod loaders;
pub mod loads;
pub mod node;
pub mod objects;
pub mod patch;
pub mod payload;
pub mod range;
pub mod response;
pub mod rule;
pub mod scalars;
pub mod type_name;
