//! Redis, where one is configured.

use std::sync::Arc;

use url::Url;

use super::{
    clocks,
    finding::{Finding, bytes},
};
use crate::{
    base::{clock::Clock, config::Config},
    platform::redis::{self, Inspection},
};

const OLDEST: u32 = 5;

pub async fn look_at(config: Arc<Config>) -> Vec<Finding> {
    let Some(redis) = &config.redis else {
        return vec![Finding::ok("redis", "none is configured: this instance counts and tells alone")];
    };
    let place = place(&redis.url);
    match redis::inspect(redis, &Clock::system()).await {
        Ok(found) => {
            vec![version(&place, &found), memory(&found), clocks::compare("Redis", found.skew)]
        }
        Err(cause) => vec![Finding::failed(
            "redis",
            format!("{place} can't be reached: {cause}"),
            "start it, or correct REDIS_URL. Until then each instance limits its callers by its share, and events of \
             other instances come by polling",
        )],
    }
}

/// Host and port: neither user nor password.
fn place(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    let host = parsed.as_ref().and_then(Url::host_str).unwrap_or("REDIS_URL");
    format!("{host}:{}", parsed.as_ref().and_then(Url::port).unwrap_or(6379))
}

fn version(place: &str, found: &Inspection) -> Finding {
    let Inspection { version, .. } = found;
    let major: u32 = version.split('.').next().and_then(|number| number.parse().ok()).unwrap_or_default();
    let text = format!("{place} answers, version {version}");
    if major < OLDEST {
        return Finding::failed("redis", text, format!("upgrade it: version {OLDEST} or newer is needed"));
    }
    Finding::ok("redis", text)
}

/// Keys live a minute at most, so any policy that makes room will do.
fn memory(found: &Inspection) -> Finding {
    let Inspection { eviction, maximum_bytes, used_bytes, .. } = found;
    if *maximum_bytes == 0 {
        return Finding::ok("redis_memory", format!("{} in use, no limit", bytes(*used_bytes)));
    }
    let text = format!("{} of {} in use, policy {eviction}", bytes(*used_bytes), bytes(*maximum_bytes));
    if eviction == "noeviction" {
        let advice = "set maxmemory-policy to volatile-ttl: a full Redis refuses writes, and then counts as away";
        return Finding::warning("redis_memory", text, advice);
    }
    Finding::ok("redis_memory", text)
}
