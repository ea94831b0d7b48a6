//! The product, a folder a domain, of one shape: `types` (objects), `input` and `filter` (input objects), `resolvers` (root
//! fields), `query` (lists), `loaders` (batches), `service` (the rules; knows neither async-graphql nor axum).
//!
//! A `service` may call another's service, `types` use another's types and loaders: the types of a graph refer to each other
//! by nature. No domain knows how a request came in. `docs/ARCHITECTURE.md` walks through a new field and a new entity.

pub mod accounts;
pub mod api_keys;
pub mod comments;
pub mod document_sets;
pub mod events;
pub mod inbound_hooks;
pub mod items;
pub mod members;
pub mod node;
pub mod organizations;
pub mod plans;
pub mod server;
pub mod sync;
pub mod tags;
pub mod teams;
pub mod usage;
pub mod webhooks;
