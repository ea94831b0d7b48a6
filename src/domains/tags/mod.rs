//! Tags: coloured labels on items.

pub mod input;
pub mod loaders;
pub mod query;
pub mod resolvers;
pub mod service;
pub mod types;
