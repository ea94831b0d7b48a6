//! People: registration, sessions, profiles, and the caller's own view of all that.

pub mod announce;
pub mod credentials;
pub mod departure;
mod email_tokens;
pub mod input;
pub mod loaders;
pub mod query;
pub mod resolvers;
pub mod service;
mod throttle;
pub mod types;
mod viewer;
