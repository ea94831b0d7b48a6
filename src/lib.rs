//! The Enterprise Todo Platform: a multi-tenant work-management server with a GraphQL API.
//!
//! The rooms, from the ground up; each names only those before it, which `tests/it/architecture.rs` holds to and
//! `docs/ARCHITECTURE.md` draws:
//!
//! - [`base`]: ids, time, errors, settings, and the tables of permissions and plans;
//! - [`data`]: entities, the database behind scopes and write transactions, the ledger;
//! - [`platform`]: what every request needs besides: sign-in, mail, outgoing requests, rate limits, metering, live events;
//! - [`graphql`]: the kit that domain types are written with;
//! - [`domains`]: one folder each, of one shape: the product;
//! - [`api`]: how requests come in and answers go out;
//! - [`jobs`]: what works beside requests: deliveries, durable jobs, maintenance;
//! - [`app`] puts them together, [`cli`] is the command line.

// The futures of a request nest deep. An optimized build computes their layout in another order than a debug build and
// went over the compiler's limit of 128 first: with twice as much there, whoever nests deeper is stopped by a debug build,
// which every check makes.
#![cfg_attr(not(debug_assertions), recursion_limit = "256")]

pub mod api;
pub mod app;
pub mod base;
pub mod cli;
pub mod data;
pub mod domains;
pub mod graphql;
pub mod jobs;
pub mod platform;
