//! Full-text search over items and the comments on them. Which match is asked of the database (`data/db/search`); what comes
//! first, and which of the text is shown, is decided here, the same for both databases.

pub mod query;
pub mod rank;
pub mod resolvers;
pub mod service;
pub mod snippet;
pub mod types;
