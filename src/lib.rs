//! The Enterprise Todo Platform: a multi-tenant work-management server with a GraphQL API.
//!
//! Who may name whom is drawn in `docs/ARCHITECTURE.md`; a test reads the sources and fails on a breach.
//!
//! A domain is a folder of one shape: `types` (objects), `input`, `resolvers` or `query`/`mutation`, `loaders`, `service`
//! (the rules; knows neither async-graphql nor axum). A `service` may call another's service; `types` may use another's
//! types and loaders. `docs/ARCHITECTURE.md` walks through a query, a mutation, a new field and a new entity.

pub mod accounts;
pub mod api_keys;
pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod comments;
pub mod config;
pub mod connections;
pub mod db;
pub mod document_sets;
pub mod entity;
pub mod error;
pub mod events;
pub mod graphql;
pub mod http;
pub mod id;
pub mod inbound_hooks;
pub mod items;
pub mod jobs;
pub mod ledger;
pub mod live;
pub mod mail;
pub mod maintenance;
pub mod members;
pub mod metering;
pub mod metrics;
pub mod organizations;
pub mod outgoing;
pub mod plans;
pub mod priority;
pub mod rate_limit;
pub mod redis;
pub mod server;
pub mod state;
pub mod sync;
pub mod tags;
pub mod teams;
pub mod usage;
pub mod webhooks;
pub mod worker;
