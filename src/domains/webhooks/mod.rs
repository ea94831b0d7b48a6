//! Webhooks: where an organization's events are sent, and the outcome. What is sent and when is `jobs::deliveries`.

pub mod input;
pub mod loaders;
pub mod query;
pub mod resolvers;
pub mod sending;
pub mod service;
pub mod test;
pub mod types;
