//! People: registration, sessions, profiles, and the caller's own view of all that.

pub mod announce;
pub mod credentials;
pub mod departure;
pub mod input;
pub mod loaders;
mod mailed;
pub mod query;
pub mod resolvers;
pub mod service;
mod throttle;
pub mod types;
