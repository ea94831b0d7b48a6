//! The ledger as clients read it: the activity feed and, with AUDIT_READ, the audit trail.

pub mod feed;
pub mod input;
pub mod query;
pub mod resolvers;
pub mod subscription;
pub mod types;
