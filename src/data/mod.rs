//! The data: [`entity`] is one file a table, [`db`] the only way to them (scopes, write transactions, pages), [`ledger`] the
//! events that every change writes in its own transaction, [`actor`] who makes them.
//!
//! Unscoped access to the database exists here and nowhere else. Nothing here knows GraphQL, HTTP or a domain's rules.

pub mod actor;
pub mod db;
pub mod entity;
pub mod ledger;
