//! Organizations: the tenants.

pub mod input;
pub mod resolvers;
pub mod service;
pub mod types;
