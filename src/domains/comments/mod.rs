//! Comments on items: threads of one level.

pub mod input;
pub mod query;
pub mod resolvers;
pub mod service;
pub mod types;
