//! Plans: what an organization may have, and how much. The table itself is `base::plan`; units are taken in
//! `ledger::pending`.

pub mod billing;
pub mod input;
pub mod resolvers;
pub mod service;
pub mod types;
