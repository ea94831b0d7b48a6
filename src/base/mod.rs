//! What everything may name: ids, time, errors, enums, settings, encryption, and the two tables of the product, of
//! permissions ([`policy`]) and of plans ([`plan`]).
//!
//! Nothing here knows a database, a request or a domain.

pub mod cache_use;
pub mod clock;
pub mod config;
pub mod enums;
pub mod error;
pub mod id;
pub mod plan;
pub mod policy;
pub mod priority;
pub mod rank;
pub mod secret;
pub mod signature;
pub mod trace;
