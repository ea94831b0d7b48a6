//! Doors for other systems: `POST /callbacks/{token}`. A callback is verified ([`verify`]), read as what it asks for
//! ([`mapping`], or a provider's [`presets`]), and done in one transaction with its receipt ([`receive`]).

pub mod body;
pub mod closing;
pub mod input;
pub mod mapping;
pub mod presets;
pub mod query;
pub mod receive;
pub mod resolvers;
pub mod service;
pub mod types;
pub mod verify;
