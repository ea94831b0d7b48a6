//! Identity and rights: who is calling ([`actor`], [`session`]), how they prove it ([`password`], [`token`], [`signature`]), and what
//! they may do ([`policy`]).

pub mod actor;
pub mod api_key;
pub mod password;
pub mod plan;
pub mod policy;
pub mod secret;
pub mod session;
pub mod signature;
pub mod token;
