//! Imports: items from a table, or from what another tool exports; by a command, or of a file that was sent to the API.
//!
//! A file becomes records ([`file`]), and the records a plan ([`plan`]): everything is held against the organization before
//! anything is written ([`write`]). An item's id is made of its source's, so that a record that was imported before is found
//! again, whoever runs the import, and whenever. Of the API's imports the file is kept until a job ([`run`]) has ended.

pub mod file;
pub mod input;
mod lookups;
pub mod options;
mod people;
pub mod plan;
pub mod query;
mod references;
pub mod report;
pub mod resolvers;
pub mod run;
pub mod service;
mod tree;
pub mod types;
pub mod upload;
pub mod write;

pub use types::Import;
