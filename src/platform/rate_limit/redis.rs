//! Buckets that instances share.

use std::sync::LazyLock;

use redis::Script;

use super::{
    Holder,
    bucket::{Bucket, Level},
};
use crate::platform::redis::Redis;

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("bucket.lua")));

/// Takes points, or gives back, in one atomic step; `None` when Redis is away. The formula is that of [`Bucket::take`].
pub async fn take(redis: &Redis, holder: &Holder, capacity: u32, points: i64) -> Option<(bool, Level, Bucket)> {
    let mut script = TAKE.key(holder.redis_key());
    script.arg(capacity).arg(points);
    let (granted, used, at): (bool, i64, i64) = redis.run(&script).await?;
    Some((granted, Level::new(capacity, used), Bucket { used, at }))
}
