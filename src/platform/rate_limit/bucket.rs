//! The formula of a bucket of points: a leaky bucket, which a minute empties whatever its size.
//!
//! All in whole numbers, so that nothing is lost by rounding: a point is 60,000 grains, and a bucket of `capacity` points
//! leaks `capacity` grains a millisecond. `bucket.lua` is the same formula for Redis; a test holds the two together.

/// Milliseconds in which a full bucket has leaked out.
pub const WINDOW: i64 = 60_000;
/// Grains of a point.
const GRAINS: i64 = WINDOW;

/// What is used up of a bucket, at an instant. A new one is unused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Grains.
    pub used: i64,
    /// Milliseconds since the epoch.
    pub at: i64,
}

impl Bucket {
    /// Takes `points`, unless that would be more than there is; a negative number gives back. Says whether it did.
    ///
    /// A clock that jumps back restores nothing and holds nothing up: from then on its new time counts. One that jumps
    /// ahead restores a full bucket at most.
    pub fn take(&mut self, capacity: u32, points: i64, now: i64) -> bool {
        self.leak(capacity, now);
        let after = self.used + points * GRAINS;
        let granted = points <= 0 || after <= full(capacity);
        if granted {
            self.used = after.max(0);
        }
        granted
    }

    /// Brings the bucket up to `now`. One that has become smaller is at most used up.
    pub fn leak(&mut self, capacity: u32, now: i64) {
        let elapsed = (now - self.at).clamp(0, WINDOW);
        self.at = now;
        self.used = (self.used - elapsed * i64::from(capacity)).clamp(0, full(capacity));
    }
}

/// Grains of a bucket.
fn full(capacity: u32) -> i64 {
    i64::from(capacity) * GRAINS
}

/// What a bucket holds, as headers and `rateLimit` show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Points that the bucket holds, and that are restored a minute.
    pub capacity: u32,
    used: i64,
}

impl Level {
    pub const fn new(capacity: u32, used: i64) -> Self {
        Self { capacity, used }
    }

    /// Whole points that may be taken now.
    pub fn remaining(&self) -> u32 {
        u32::try_from((full(self.capacity) - self.used) / GRAINS).unwrap_or_default()
    }

    /// Points restored a second.
    pub fn restore_rate(&self) -> f64 {
        f64::from(self.capacity) / 60.0
    }

    /// Milliseconds until nothing is used.
    pub fn full_in(&self) -> i64 {
        self.leaks_in(self.used)
    }

    /// Milliseconds until `points` may be taken.
    pub fn wait_for(&self, points: u32) -> i64 {
        self.leaks_in(self.used + i64::from(points) * GRAINS - full(self.capacity))
    }

    fn leaks_in(&self, grains: i64) -> i64 {
        if grains <= 0 { 0 } else { (grains - 1) / i64::from(self.capacity.max(1)) + 1 }
    }

    /// After `points` were given back.
    #[must_use]
    pub fn restored(mut self, points: u32) -> Self {
        self.used = (self.used - i64::from(points) * GRAINS).max(0);
        self
    }
}
