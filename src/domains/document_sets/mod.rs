//! Document sets: the documents that an application sends, as its build tool lists them in a manifest. A client names one by
//! its id instead of sending the text, and an API key that is bound to a set runs nothing else.

pub mod input;
pub mod manifest;
pub mod query;
pub mod resolvers;
pub mod service;
pub mod types;
