//! Dates and times, as people and their tools write them.

use async_graphql::Enum;
use chrono::{
    DateTime, Datelike as _, Duration, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound as _,
    TimeZone as _, Utc,
};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::base::clock::{Instant, in_calendar};

/// What `1/2/2026` means.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[graphql(name = "ImportDateOrder")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DateOrder {
    /// The first of February.
    Dmy,
    /// The second of January.
    Mdy,
}

/// Why a text is no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoDate {
    Unknown,
    /// Not a year from 1 to 9999.
    OutOfRange,
    /// Day and month could be the other way round.
    Ambiguous,
}

/// A day, with a time of day and its offset from UTC where they are given.
type Moment = (NaiveDate, Option<(NaiveTime, Option<FixedOffset>)>);

const DAYS: &[&str] = &[
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d/%B/%y",
    "%d/%B/%Y",
    "%d-%B-%Y",
    "%d %B %Y",
    "%B %d, %Y",
    "%B %d %Y",
    "%a %B %d %Y",
];
const TIMES: &[&str] = &["%I:%M:%S %p", "%I:%M %p", "%H:%M:%S%.f", "%H:%M"];

fn moment(text: &str, order: Option<DateOrder>) -> Result<Moment, NoDate> {
    let named = DAYS.iter().filter_map(|form| NaiveDate::parse_and_remainder(text, form).ok());
    for (day, rest) in named {
        if let Some(time) = time(rest) {
            let day = if has_short_year(text, day) { day.with_year(day.year() + 2000).unwrap_or(day) } else { day };
            return Ok((day, time));
        }
    }
    if let Some((day, rest)) = by_slashes(text, order)?
        && let Some(time) = time(rest)
    {
        return Ok((day, time));
    }
    let is_long = |digits: &str| (5..=9).contains(&digits.len());
    let runs = || text.split(|c: char| !c.is_ascii_digit());
    let is_date = runs().filter(|run| !run.is_empty()).count() >= 3;
    Err(if is_date && runs().any(is_long) { NoDate::OutOfRange } else { NoDate::Unknown })
}

/// `05.03.24`, which `%Y` reads as the year 24.
fn has_short_year(text: &str, day: NaiveDate) -> bool {
    day.year() < 100 && !text.split(|c: char| !c.is_ascii_digit()).any(|run| run.len() == 4)
}

/// `3/5/2026` and `3/5/26`, with what follows.
fn by_slashes(text: &str, order: Option<DateOrder>) -> Result<Option<(NaiveDate, &str)>, NoDate> {
    let (date, rest) = text.split_once([' ', ',']).unwrap_or((text, ""));
    let parts: Vec<&str> = date.split('/').collect();
    let [a, b, year] = parts[..] else { return Ok(None) };
    let is_short = |part: &str| part.len() <= 2;
    if !(is_short(a) && is_short(b) && (is_short(year) || year.len() == 4)) {
        return Ok(None);
    }
    let (Ok(a), Ok(b), Ok(number)) = (a.parse::<u32>(), b.parse::<u32>(), year.parse::<i32>()) else { return Ok(None) };
    let number = if is_short(year) { number + 2000 } else { number };
    let (day, month) = match (order, a, b) {
        (_, 13.., _) => (a, b),
        (_, _, 13..) => (b, a),
        (Some(DateOrder::Dmy), ..) => (a, b),
        (Some(DateOrder::Mdy), ..) => (b, a),
        (None, ..) if a == b => (a, b),
        (None, ..) => return Err(NoDate::Ambiguous),
    };
    Ok(NaiveDate::from_ymd_opt(number, month, day).map(|day| (day, rest)))
}

/// What follows a day: nothing, or a time of day with or without its offset; `None` for anything else.
#[allow(clippy::option_option, reason = "no time is an answer, and so is no reading")]
fn time(rest: &str) -> Option<Option<(NaiveTime, Option<FixedOffset>)>> {
    let rest = rest.trim_start_matches(['T', ',', ' ']).trim_end();
    if rest.is_empty() {
        return Some(None);
    }
    let upper = rest.to_ascii_uppercase();
    TIMES.iter().find_map(|form| {
        let (time, zone) = NaiveTime::parse_and_remainder(&upper, form).ok()?;
        let zone = zone.split('(').next().unwrap_or_default().trim();
        let zone = zone
            .strip_prefix("GMT")
            .or_else(|| zone.strip_prefix("UTC"))
            .map_or(zone, |rest| if rest.is_empty() { "Z" } else { rest });
        match zone {
            "" => Some(Some((time, None))),
            "Z" => Some(Some((time, Some(FixedOffset::east_opt(0)?)))),
            offset => Some(Some((time, Some(offset.parse().ok()?)))),
        }
    })
}

/// An instant. A day alone is its beginning, or its end, in a time zone, which is also that of times without an offset.
pub fn instant(text: &str, is_end: bool, zone: Tz, order: Option<DateOrder>) -> Result<Instant, NoDate> {
    let text = text.trim();
    let instant = if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        instant.with_timezone(&Utc)
    } else {
        let (day, time) = moment(text, order)?;
        let end = NaiveTime::from_hms_opt(23, 59, 59).unwrap_or_default();
        let (time, offset) = time.unwrap_or((if is_end { end } else { NaiveTime::MIN }, None));
        let local = day.and_time(time);
        match offset {
            Some(offset) => local.checked_sub_offset(offset).map(|utc| utc.and_utc()),
            None => at_home(local, zone),
        }
        .ok_or(NoDate::OutOfRange)?
    };
    let instant = instant.trunc_subsecs(3);
    if in_calendar(instant) { Ok(instant) } else { Err(NoDate::OutOfRange) }
}

/// A time that the clocks jump over is the one an hour later.
fn at_home(local: NaiveDateTime, zone: Tz) -> Option<Instant> {
    let found = zone.from_local_datetime(&local).earliest();
    let found = found.or_else(|| zone.from_local_datetime(&(local + Duration::hours(1))).earliest());
    found.map(|instant| instant.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::format_instant;

    #[test]
    fn dates_are_read_as_people_and_tools_write_them() {
        let read = |text| instant(text, true, chrono_tz::Europe::Berlin, None);
        for (text, wanted) in [
            ("2026-01-31", "2026-01-31T22:59:59.000Z"),
            ("2026/01/31", "2026-01-31T22:59:59.000Z"),
            ("31.01.2026", "2026-01-31T22:59:59.000Z"),
            ("31.01.26", "2026-01-31T22:59:59.000Z"),
            ("31/01/2026", "2026-01-31T22:59:59.000Z"),
            ("1/31/26", "2026-01-31T22:59:59.000Z"),
            ("02/02/2026", "2026-02-02T22:59:59.000Z"),
            ("31 Jan 2026", "2026-01-31T22:59:59.000Z"),
            ("January 31, 2026", "2026-01-31T22:59:59.000Z"),
            ("2026-01-31 09:30", "2026-01-31T08:30:00.000Z"),
            ("2026-01-31T09:30:15", "2026-01-31T08:30:15.000Z"),
            ("2026-01-31T09:30:15.1239Z", "2026-01-31T09:30:15.123Z"),
            ("2026-01-31T09:30:15.000+0100", "2026-01-31T08:30:15.000Z"),
            ("2026-01-31 09:30:00 UTC", "2026-01-31T09:30:00.000Z"),
            ("05/Mar/24 9:41 PM", "2024-03-05T20:41:00.000Z"),
            ("31/01/2026 9:30 am", "2026-01-31T08:30:00.000Z"),
            ("Tue Mar 05 2024 09:41:22 GMT+0000 (Coordinated Universal Time)", "2024-03-05T09:41:22.000Z"),
            // Where the clocks go forward, and back.
            ("2026-03-29 02:30", "2026-03-29T01:30:00.000Z"),
            ("2026-10-25 02:30", "2026-10-25T00:30:00.000Z"),
            ("9999-12-31", "9999-12-31T22:59:59.000Z"),
        ] {
            assert_eq!(read(text).map(format_instant), Ok(wanted.to_owned()), "{text}");
        }
        for (text, why) in [
            ("every day", NoDate::Unknown),
            ("2026-02-30", NoDate::Unknown),
            ("2026-01-31 25:00", NoDate::Unknown),
            ("12", NoDate::Unknown),
            ("1/2/2026", NoDate::Ambiguous),
            ("10000-01-01", NoDate::OutOfRange),
            ("+10000-01-01", NoDate::OutOfRange),
            ("31.12.10000", NoDate::OutOfRange),
            ("0000-01-01", NoDate::OutOfRange),
            ("9999-12-31T23:59:59-01:00", NoDate::OutOfRange),
            ("2016-12-31T23:59:60Z", NoDate::OutOfRange),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }

    #[test]
    fn the_order_of_day_and_month_can_be_told() {
        let day = |order| instant("1/2/2026", false, chrono_tz::Europe::Berlin, Some(order)).map(format_instant);
        assert_eq!(day(DateOrder::Dmy), Ok("2026-01-31T23:00:00.000Z".to_owned()));
        assert_eq!(day(DateOrder::Mdy), Ok("2026-01-01T23:00:00.000Z".to_owned()));
    }
}
