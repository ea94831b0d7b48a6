//! Identity and rights: who is calling ([`actor`], [`session`]), how they prove it ([`password`], [`token`]), and what
//! they may do ([`policy`]).

pub mod actor;
pub mod password;
pub mod policy;
pub mod secret;
pub mod session;
pub mod token;
