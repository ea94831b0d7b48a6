//! Who belongs to an organization: memberships and the invitations that lead to them.

pub mod input;
pub mod invitations;
pub mod loaders;
pub mod query;
pub mod resolvers;
pub mod service;
pub mod types;
