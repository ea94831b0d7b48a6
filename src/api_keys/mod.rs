//! API keys: what integrations call with. The credential itself is `auth::api_key`.

pub mod owned;
pub mod types;
