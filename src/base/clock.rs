//! Time and time-ordered ids, injected: nothing else may ask the system for either (clippy's `disallowed-methods`).

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, Duration, SecondsFormat, SubsecRound, Utc};
use uuid::{ContextV7, Timestamp, Uuid};

use crate::base::id::{Id, Kind};

/// An instant as the API shows it.
pub type Instant = DateTime<Utc>;

/// The form in which instants leave the server, in the API and in events.
pub fn format_instant(instant: Instant) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Whether both databases hold an instant, and RFC 3339 can write it: the years 1 to 9999, no leap second. (SQLite keeps
/// `23:59:60` as text, which sorts before the second that it is; PostgreSQL makes the next day of it.)
pub fn in_calendar(instant: Instant) -> bool {
    (-62_135_596_800..=253_402_300_799).contains(&instant.timestamp()) && !is_leap_second(instant)
}

/// Whether it is the 61st second of a minute, which `chrono` keeps as a fraction of more than a second.
pub fn is_leap_second(instant: Instant) -> bool {
    instant.timestamp_subsec_nanos() >= 1_000_000_000
}

/// Before every UUIDv7 made at `instant` or later, after every earlier one (RFC 9562: the first 48 bits are the time).
pub fn first_uuid(instant: Instant) -> Uuid {
    let millis = u128::try_from(instant.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(millis << 80)
}

/// The server's clock. Clones share their state.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Milliseconds since the epoch for a clock that stands still; `i64::MIN` follows the system.
    fixed: AtomicI64,
    /// Milliseconds that the database's clock is ahead, as last measured.
    database_ahead: AtomicI64,
    /// Keeps ids made within one millisecond in the order they were made.
    order: Mutex<ContextV7>,
}

const FOLLOWS_SYSTEM: i64 = i64::MIN;

impl Clock {
    pub fn system() -> Self {
        Self::with(FOLLOWS_SYSTEM)
    }

    /// A clock that stands at `now` until it is moved; for tests and for demo data of the past.
    pub fn fixed(now: Instant) -> Self {
        Self::with(now.timestamp_millis())
    }

    fn with(fixed: i64) -> Self {
        Self(Arc::new(Inner {
            fixed: AtomicI64::new(fixed),
            database_ahead: AtomicI64::new(0),
            order: Mutex::new(ContextV7::new()),
        }))
    }

    /// The present, truncated to milliseconds, so that both databases give back what was stored.
    #[allow(clippy::disallowed_methods, reason = "the one home of the system's time")]
    pub fn now(&self) -> Instant {
        match self.0.fixed.load(Ordering::Relaxed) {
            FOLLOWS_SYSTEM => Utc::now().trunc_subsecs(3),
            millis => DateTime::from_timestamp_millis(millis).unwrap_or_default(),
        }
    }

    /// The present less `age`; `None` for what is longer than the calendar.
    pub fn ago(&self, age: Duration) -> Option<Instant> {
        self.now().checked_sub_signed(age).filter(|instant| in_calendar(*instant))
    }

    /// Moves a fixed clock, or fixes one that followed the system.
    pub fn advance(&self, by: Duration) {
        let moved = self.now() + by;
        self.0.fixed.store(moved.timestamp_millis(), Ordering::Relaxed);
    }

    /// Sets the clock to `now` and leaves it there.
    pub fn set(&self, now: Instant) {
        self.0.fixed.store(now.timestamp_millis(), Ordering::Relaxed);
    }

    /// Notes how far the database's clock was found to be ahead of this one; zero for what is no matter.
    pub fn note_database(&self, ahead: Duration) {
        self.0.database_ahead.store(ahead.num_milliseconds(), Ordering::Relaxed);
    }

    /// An instant of this clock by the database's clock, as far apart as they were found to be. When something queued is
    /// due goes by this: whoever queued it and whoever does it may be instances whose clocks differ.
    pub fn by_database(&self, instant: Instant) -> Instant {
        let ahead = Duration::milliseconds(self.0.database_ahead.load(Ordering::Relaxed));
        instant.checked_add_signed(ahead).unwrap_or(instant)
    }

    /// The present by the database's clock.
    pub fn now_by_database(&self) -> Instant {
        self.by_database(self.now())
    }

    /// A new UUIDv7 at the present, later than every id this clock made within the same millisecond.
    pub fn new_uuid(&self) -> Uuid {
        let now = self.now();
        let order = self.0.order.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        Uuid::new_v7(Timestamp::from_unix(&*order, seconds, now.timestamp_subsec_nanos()))
    }

    /// [`Clock::new_uuid`] as an id of kind `K`.
    pub fn new_id<K: Kind>(&self) -> Id<K> {
        Id::from_uuid(self.new_uuid())
    }
}
