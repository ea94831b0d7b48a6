//! API keys: what integrations call with. The credential itself is `platform::auth::api_key`, how it is checked `platform::auth::session`.

pub mod input;
pub mod query;
pub mod resolvers;
pub mod service;
pub mod types;
