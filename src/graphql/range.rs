//! Spans of time as arguments, and the steps of a series.

use async_graphql::{Enum, InputObject};
use chrono::{Datelike, Days, Months, NaiveDate, TimeDelta};

use super::scalars::DateTimeOrDuration;
use crate::base::{
    clock::Instant,
    error::{Refusal, Result},
};

/// Half-open: from <= t < to.
#[derive(InputObject, Clone, Copy, Debug)]
pub struct DateRange {
    /// Beginning, itself included.
    pub from: DateTimeOrDuration,
    /// End, itself excluded; null or left out: now.
    pub to: Option<DateTimeOrDuration>,
}

impl DateRange {
    /// Its two ends, seen from `now`; without `to` it ends just after now. BAD_REQUEST for one that holds nothing.
    pub fn resolve(&self, now: Instant) -> Result<(Instant, Instant)> {
        let Self { from, to } = *self;
        let resolve = |end: DateTimeOrDuration| {
            end.resolve(now).ok_or_else(|| Refusal::bad_request("The range goes beyond the calendar."))
        };
        let from = resolve(from)?;
        let to = to.map_or(Ok(now + TimeDelta::milliseconds(1)), resolve)?;
        if from < to {
            return Ok((from, to));
        }
        Err(Refusal::bad_request("The range holds nothing: `from` must be before `to`.").into())
    }
}

/// Length of the steps of a series, in the organization's time zone.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interval {
    /// From midnight to midnight.
    Day,
    // From Monday on.
    /// From Monday on.
    Week,
    /// A calendar month.
    Month,
}

impl Interval {
    /// The first date of the day, week or month that a date is in.
    pub fn beginning_of(self, date: NaiveDate) -> NaiveDate {
        let back = match self {
            Self::Day => 0,
            Self::Week => date.weekday().num_days_from_monday(),
            Self::Month => date.day0(),
        };
        date.checked_sub_days(Days::new(back.into())).unwrap_or(date)
    }

    fn after(self, date: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Day => date.checked_add_days(Days::new(1)),
            Self::Week => date.checked_add_days(Days::new(7)),
            Self::Month => date.checked_add_months(Months::new(1)),
        }
    }

    /// The first dates of all days, weeks or months that a span of dates has a part in, both ends included. BAD_REQUEST
    /// where there are more than [`MAX_POINTS`].
    pub fn points(self, first: NaiveDate, last: NaiveDate) -> Result<Vec<NaiveDate>> {
        let points = std::iter::successors(Some(self.beginning_of(first)), |date| self.after(*date));
        let points: Vec<NaiveDate> = points.take_while(|date| *date <= last).take(MAX_POINTS + 1).collect();
        if points.len() <= MAX_POINTS {
            return Ok(points);
        }
        let message =
            format!("A series has at most {MAX_POINTS} points: ask for a shorter range or a longer interval.");
        Err(Refusal::bad_request(message).details(serde_json::json!({ "limit": MAX_POINTS })).into())
    }
}

/// Points of a series at most: a leap year by days.
pub const MAX_POINTS: usize = 366;

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn points_begin_where_days_weeks_and_months_do() {
        let points = |interval: Interval| interval.points(date("2026-01-30"), date("2026-03-02")).expect("few");
        assert_eq!(points(Interval::Day).len(), 32);
        assert_eq!(points(Interval::Month), ["2026-01-01", "2026-02-01", "2026-03-01"].map(date));
        let weeks = points(Interval::Week);
        assert_eq!((weeks[0], weeks[5], weeks.len()), (date("2026-01-26"), date("2026-03-02"), 6));
    }

    #[test]
    fn there_is_an_end_to_points() {
        assert_eq!(Interval::Day.points(date("2028-01-01"), date("2028-12-31")).expect("a leap year").len(), 366);
        assert!(Interval::Day.points(date("2028-01-01"), date("2029-01-01")).is_err());
        assert!(Interval::Month.points(date("0001-01-01"), date("9999-12-31")).is_err());
    }
}
