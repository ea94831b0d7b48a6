//! Usage as organizations read it. What counts and keeps it is `metering`.

pub mod service;
pub mod types;
