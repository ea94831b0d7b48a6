//! Everything spoken over HTTP that is not GraphQL itself: routes, health, playground, and what surrounds each request.

pub mod callbacks;
mod connection;
pub mod health;
pub mod metrics;
pub mod observe;
pub mod playground;
mod refusal;
pub mod router;
pub mod serve;
pub mod uploads;
