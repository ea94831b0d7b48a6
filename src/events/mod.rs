//! The ledger as clients read it: the activity feed and, with AUDIT_READ, the audit trail.

pub mod input;
pub mod query;
pub mod resolvers;
pub mod types;
