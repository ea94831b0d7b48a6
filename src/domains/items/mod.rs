//! Items: the work itself. Subtasks are items with a parent; the archive and the trash are rows of the same table.

pub mod bulk;
pub mod create;
pub mod create_many;
pub mod filter;
pub mod input;
pub mod loaders;
pub mod position;
pub mod query;
mod references;
pub mod resolvers;
pub mod retention;
mod save_many;
pub mod service;
mod state;
pub mod sweep;
pub mod trees;
pub mod types;
pub mod watching;
