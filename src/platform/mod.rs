//! What every request needs besides the data, put together in [`state`]: sign-in, mail, outgoing requests, rate limits,
//! metering, live events, Redis, metrics, and the count of clients' connections.
//!
//! Nothing here knows GraphQL or a domain.

pub mod auth;
pub mod connections;
pub mod live;
pub mod mail;
pub mod metering;
pub mod metrics;
pub mod outgoing;
pub mod rate_limit;
pub mod redis;
pub mod refused_callbacks;
pub mod state;
pub mod trace_export;
