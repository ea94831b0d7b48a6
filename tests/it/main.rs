//! The tests: one binary, every test on both databases, each in a schema or file of its own.
//!
//! A test tells a story: make the world (`support::world`), act through the API, look at the answer and at what else
//! should have happened. `databases!` runs it on SQLite and, where a server is found, on PostgreSQL.

mod support;

mod accounts;
mod architecture;
mod config;
mod gate;
mod http;
mod items;
mod ledger;
mod lists;
mod observe;
mod people;
mod persisted;
mod policy;
mod process;
mod rate_limit;
mod statements;
mod tenancy;
