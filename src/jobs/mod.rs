//! What works beside requests: [`deliveries`] sends to webhooks, [`runner`] does durable jobs ([`kinds`] says which function
//! does a chunk of which kind), [`maintenance`] is work at intervals.

pub mod deliveries;
pub mod kinds;
pub mod maintenance;
pub mod runner;
