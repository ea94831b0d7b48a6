//! The tests: one binary, every test on both databases, each in a schema or file of its own.
//!
//! A test tells a story: make the world (`support::world`), act through the API, look at the answer and at what else
//! should have happened. `databases!` runs it on SQLite and, where a server is found, on PostgreSQL.

mod support;

mod accounts;
mod admin;
mod api_keys;
mod architecture;
mod billing;
mod bounds;
mod chaos;
mod clients;
mod config;
mod coordinates;
mod crashes;
mod credentials;
mod deliveries;
mod documents;
mod durability;
mod folding;
mod founding;
mod fuzz;
mod gate;
mod http;
mod idempotency;
mod inbound_hooks;
mod invitations;
mod items;
mod jobs;
mod key_makers;
mod keys;
mod ledger;
mod lists;
mod moves;
mod observe;
mod outgoing;
mod people;
mod persisted;
mod plans;
mod policy;
mod prices;
mod process;
mod purging;
mod quotas;
mod rate_limit;
mod readable;
mod reference;
mod registered;
mod schema;
mod secrets;
mod sessions;
mod shares;
mod slow_clients;
mod sockets;
mod sse;
mod statements;
mod storage;
mod subscriptions;
mod sync;
mod tenancy;
mod throttles;
mod upgrades;
mod usage;
mod values;
mod webhooks;
