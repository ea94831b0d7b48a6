//! Who is calling ([`session`]), and how they prove it ([`password`], [`token`], [`api_key`]).

pub mod api_key;
pub mod password;
pub mod session;
pub mod token;
