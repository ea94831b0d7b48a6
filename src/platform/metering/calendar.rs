//! Hours and days as an organization's clocks on the wall have them.

use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

use crate::base::clock::Instant;

/// An organization's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    /// By its IANA name, as it was checked when it was set; UTC for one that the server does not know any more.
    pub fn named(name: &str) -> Self {
        Self(name.parse().unwrap_or(Tz::UTC))
    }

    /// When the hour began that an instant is in. Where clocks are half an hour off, so are hours.
    pub fn hour_of(self, instant: Instant) -> Instant {
        let ahead = i64::from(self.0.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc());
        let since = (instant.timestamp() + ahead).rem_euclid(3600);
        DateTime::from_timestamp(instant.timestamp() - since, 0).unwrap_or(instant)
    }

    /// The date on the calendar.
    pub fn date_of(self, instant: Instant) -> NaiveDate {
        instant.with_timezone(&self.0).date_naive()
    }

    /// When a date began. Where clocks skip midnight that is when they start again.
    pub fn beginning_of(self, date: NaiveDate) -> Instant {
        let midnight = date.and_time(NaiveTime::MIN);
        // No zone has skipped more than a day, and all move by quarters of an hour.
        (0..=96)
            .find_map(|quarters| self.0.from_local_datetime(&(midnight + Duration::minutes(15 * quarters))).earliest())
            .map_or_else(|| midnight.and_utc(), |beginning| beginning.with_timezone(&Utc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        text.parse().expect("an instant")
    }

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn hours_and_days_follow_the_zone() {
        let kolkata = Zone::named("Asia/Kolkata");
        assert_eq!(kolkata.hour_of(at("2026-03-02T18:29:59.999Z")), at("2026-03-02T17:30:00Z"));
        assert_eq!(kolkata.hour_of(at("2026-03-02T18:30:00Z")), at("2026-03-02T18:30:00Z"));
        assert_eq!(kolkata.date_of(at("2026-03-02T18:29:59Z")), date("2026-03-02"));
        assert_eq!(kolkata.date_of(at("2026-03-02T18:30:00Z")), date("2026-03-03"));
        assert_eq!(kolkata.beginning_of(date("2026-03-03")), at("2026-03-02T18:30:00Z"));
        assert_eq!(Zone::named("Nowhere/At_All").beginning_of(date("2026-03-03")), at("2026-03-03T00:00:00Z"));
    }

    #[test]
    fn days_are_as_long_as_the_clocks_make_them() {
        let berlin = Zone::named("Europe/Berlin");
        let hours =
            |day: &str, next: &str| (berlin.beginning_of(date(next)) - berlin.beginning_of(date(day))).num_hours();
        assert_eq!(hours("2026-03-29", "2026-03-30"), 23);
        assert_eq!(hours("2026-10-25", "2026-10-26"), 25);
        // There is no midnight on the day that Lebanon's clocks go forward.
        let beirut = Zone::named("Asia/Beirut");
        assert_eq!(beirut.beginning_of(date("2026-03-29")), at("2026-03-28T22:00:00Z"));
        assert_eq!(beirut.date_of(at("2026-03-28T22:00:00Z")), date("2026-03-29"));
    }
}
