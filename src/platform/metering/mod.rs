//! Usage: how many requests, errors, points and how much time each organization, operation and caller takes.
//!
//! A request adds to sums in memory ([`Collector`]); a batch of them goes to the database every few seconds and at
//! shutdown. Rows sum up hours ([`calendar`]); hours older than two days are merged into days ([`rollup`]). Latencies are
//! kept as counts on a logarithmic scale ([`buckets`]), so that a percentile can be told of any sum of rows.
//!
//! On purpose not in the ledger, and not exact to the last request: what a killed process had not written yet is lost.

pub mod buckets;
pub mod calendar;
mod collector;
pub mod rollup;

pub use collector::{Collector, FLUSH_EVERY, Measured, OTHER};
