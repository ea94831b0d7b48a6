//! What the operator wants to know of a Redis: its version, what it does when it is full, its clock.

use std::collections::HashMap;

use chrono::Duration;
use redis::{Client, RedisError, RedisResult, aio::MultiplexedConnection};

use super::Redis;
use crate::base::{
    clock::{Clock, Instant},
    config::RedisConfig,
};

/// What a Redis says of itself.
#[derive(Clone, Debug)]
pub struct Inspection {
    pub version: String,
    /// `noeviction`, `allkeys-lru` and so on; empty where Redis does not say.
    pub eviction: String,
    /// Bytes that it may use; 0: as many as there are.
    pub maximum_bytes: u64,
    pub used_bytes: u64,
    /// How far its clock is ahead of this machine's, to about half of the answer's time.
    pub skew: Duration,
}

/// Asks Redis on a connection of its own, for as long as the caller waits. The failure is said without the URL, which may
/// hold a password.
pub async fn inspect(config: &RedisConfig, clock: &Clock) -> Result<Inspection, String> {
    let said = |error: RedisError| error.to_string().replace(&config.url, "REDIS_URL");
    let client = Client::open(config.url.as_str()).map_err(|error| error.category().to_owned())?;
    let mut connection = client.get_multiplexed_async_connection().await.map_err(said)?;
    let info: String = redis::cmd("INFO").query_async(&mut connection).await.map_err(said)?;
    let skew = skew(&mut connection, clock).await.map_err(said)?;
    let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let text = |name: &str| fields.get(name).copied().unwrap_or_default().to_owned();
    let number = |name: &str| text(name).parse().unwrap_or_default();
    Ok(Inspection {
        version: text("redis_version"),
        eviction: text("maxmemory_policy"),
        maximum_bytes: number("maxmemory"),
        used_bytes: number("used_memory"),
        skew,
    })
}

impl Redis {
    /// How far its clock is ahead of this machine's; `None` while it is away.
    pub async fn clock_skew(&self, clock: &Clock) -> Option<Duration> {
        self.ask(|mut connection| async move { skew(&mut connection, clock).await }).await
    }
}

async fn skew(connection: &mut MultiplexedConnection, clock: &Clock) -> RedisResult<Duration> {
    let before = clock.now();
    let (seconds, micros): (i64, u32) = redis::cmd("TIME").query_async(connection).await?;
    let half = (clock.now() - before) / 2;
    let theirs = Instant::from_timestamp(seconds, micros.saturating_mul(1000)).unwrap_or(before);
    Ok(theirs - (before + half))
}
