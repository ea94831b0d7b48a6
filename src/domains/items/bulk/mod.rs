//! Up to 500 items changed by one mutation: all or none, or each on its own.

pub mod input;
pub mod service;
pub mod types;
