//! People: registration, sessions, profiles, and the caller's own view of all that.

pub mod input;
pub mod resolvers;
pub mod service;
pub mod types;
