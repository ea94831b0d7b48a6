//! Relations between items: one blocks, duplicates or has to do with another.

pub mod input;
pub mod loaders;
pub mod resolvers;
pub mod service;
pub mod types;
