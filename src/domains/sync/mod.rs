//! The organization's objects as a client keeps its own copy of them: a snapshot once, then what the ledger says has
//! changed.

pub mod cursor;
pub mod query;
pub mod resolvers;
pub mod types;
