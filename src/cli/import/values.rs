//! Words, dates and numbers, as people and their tools write them.

use std::collections::BTreeMap;

use chrono::{
    DateTime, Datelike as _, Duration, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound as _,
    TimeZone as _, Utc,
};
use chrono_tz::Tz;

use super::record::{Field, Record};
use crate::base::{
    clock::{Instant, in_calendar},
    enums::{ItemStatus, Priority},
};

/// What `1/2/2026` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DateOrder {
    /// The first of February.
    Dmy,
    /// The second of January.
    Mdy,
}

/// How values are read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Of days and times without one: the organization's.
    pub zone: Tz,
    pub now: Instant,
    pub dates: Option<DateOrder>,
    /// The user's own words, by [`key`].
    pub statuses: BTreeMap<String, ItemStatus>,
    pub priorities: BTreeMap<String, Priority>,
    /// What the user calls the source.
    pub source: Option<String>,
    /// Of the file, without its folder.
    pub file_name: String,
    /// Whether records that the source has archived are taken.
    pub archived: bool,
}

/// A name without its case, spaces and punctuation: `Due date`, `due_date` and `dueDate` are one.
pub fn key(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Entries of a list in one text, by commas or semicolons.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';']).map(str::trim).filter(|entry| !entry.is_empty())
}

/// A text that says something.
pub fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// Whether a text says yes or no.
fn truth(text: &str) -> Option<bool> {
    match key(text).as_str() {
        "true" | "yes" | "y" | "x" | "1" => Some(true),
        "false" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// The priority that labels such as `priority::high`, `Priority: urgent` or `P1` give.
pub fn priority_of_labels<'a>(labels: impl IntoIterator<Item = &'a str>) -> Option<Priority> {
    let said = |label: &str| {
        let word = key(label);
        match word.strip_prefix("priority") {
            Some(rest) if !rest.is_empty() => known_priority(rest),
            _ if word.len() == 2 && word.starts_with('p') => known_priority(&word),
            _ => None,
        }
    };
    labels.into_iter().filter_map(said).max()
}

fn known_priority(word: &str) -> Option<Priority> {
    Some(match word {
        "urgent" | "critical" | "blocker" | "highest" | "p0" | "immediate" => Priority::Urgent,
        "high" | "major" | "important" | "p1" => Priority::High,
        "medium" | "normal" | "moderate" | "none" | "nopriority" | "unset" | "p2" => Priority::Medium,
        "low" | "lowest" | "minor" | "trivial" | "p3" | "p4" => Priority::Low,
        _ => return None,
    })
}

fn known_status(word: &str) -> Option<ItemStatus> {
    Some(match word {
        "todo"
        | "open"
        | "opened"
        | "reopened"
        | "new"
        | "backlog"
        | "triage"
        | "unstarted"
        | "planned"
        | "notstarted"
        | "pending"
        | "ready"
        | "icebox"
        | "selectedfordevelopment" => ItemStatus::Todo,
        "inprogress" | "doing" | "started" | "wip" | "active" | "indevelopment" | "ongoing" => ItemStatus::InProgress,
        "inreview" | "review" | "codereview" | "readyforreview" | "testing" | "intest" | "qa" => ItemStatus::InReview,
        "done" | "closed" | "complete" | "completed" | "resolved" | "finished" | "canceled" | "cancelled"
        | "duplicate" | "wontdo" | "wontfix" | "released" | "merged" => ItemStatus::Done,
        _ => return None,
    })
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
    "%d/%b/%y",
    "%d/%b/%Y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%b %d, %Y",
    "%b %d %Y",
    "%a %b %d %Y",
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

impl Reading {
    /// An instant. A day alone is its beginning, or its end, in the organization's time zone.
    pub fn instant(&self, text: &str, is_end: bool) -> Result<Instant, NoDate> {
        let text = text.trim();
        let instant = if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
            instant.with_timezone(&Utc)
        } else {
            let (day, time) = moment(text, self.dates)?;
            let end = NaiveTime::from_hms_opt(23, 59, 59).unwrap_or_default();
            let (time, offset) = time.unwrap_or((if is_end { end } else { NaiveTime::MIN }, None));
            let local = day.and_time(time);
            match offset {
                Some(offset) => local.checked_sub_offset(offset).map(|utc| utc.and_utc()),
                None => self.at_home(local),
            }
            .ok_or(NoDate::OutOfRange)?
        };
        let instant = instant.trunc_subsecs(3);
        if in_calendar(instant) { Ok(instant) } else { Err(NoDate::OutOfRange) }
    }

    /// A time that the clocks jump over is the one an hour later.
    fn at_home(&self, local: NaiveDateTime) -> Option<Instant> {
        let found = self.zone.from_local_datetime(&local).earliest();
        let found = found.or_else(|| self.zone.from_local_datetime(&(local + Duration::hours(1))).earliest());
        found.map(|instant| instant.with_timezone(&Utc))
    }

    /// [`instant`](Self::instant) of a record's field; an empty text is none.
    fn date(&self, record: &mut Record, field: Field, text: &str) -> Option<Instant> {
        if text.trim().is_empty() {
            return None;
        }
        let shown = shorten(text);
        match self.instant(text, !matches!(field, Field::Created | Field::Started)) {
            Ok(instant) => return Some(instant),
            Err(NoDate::Unknown) => {
                record.fault(
                    "INVALID",
                    field,
                    format!("{shown:?} is not a date such as 2026-01-31 or 2026-01-31T09:30:00Z."),
                );
            }
            Err(NoDate::OutOfRange) => {
                record.fault("OUT_OF_RANGE", field, format!("{shown:?}: only the years 1 to 9999 are taken."));
            }
            Err(NoDate::Ambiguous) => {
                let message = format!("{shown:?} may be two days; --dates dmy or --dates mdy says which.");
                record.fault("AMBIGUOUS_DATE", field, message);
            }
        }
        None
    }

    pub fn status(&self, text: &str) -> Option<ItemStatus> {
        let word = key(text);
        self.statuses.get(&word).copied().or_else(|| known_status(&word))
    }

    pub fn priority(&self, text: &str) -> Option<Priority> {
        let word = key(text);
        self.priorities.get(&word).copied().or_else(|| known_priority(&word))
    }

    /// Takes a text as a field of a record; what can't be is one of its faults. An empty one changes nothing.
    pub fn fill(&self, record: &mut Record, field: Field, text: &str) {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return;
        }
        match field {
            Field::Id => trimmed.clone_into(&mut record.source_id),
            Field::Title => text.clone_into(&mut record.title),
            Field::Description => record.description = Some(text.to_owned()),
            Field::Status => match (self.status(text), truth(text)) {
                (Some(status), _) => record.status = status,
                (None, Some(is_done)) if is_done => record.status = ItemStatus::Done,
                (None, Some(_)) => {}
                (None, None) => {
                    let message = format!(
                        "{:?} is no status; --status {} says which one it is.",
                        shorten(text),
                        example(text, "IN_PROGRESS")
                    );
                    record.fault("UNKNOWN_STATUS", field, message);
                }
            },
            Field::Priority => match self.priority(text) {
                Some(priority) => record.priority = priority,
                None => {
                    let message = format!(
                        "{:?} is no priority; --priority {} says which one it is.",
                        shorten(text),
                        example(text, "HIGH")
                    );
                    record.fault("UNKNOWN_PRIORITY", field, message);
                }
            },
            Field::Due => record.due_at = self.date(record, field, text),
            Field::Created => {
                record.created_at = self.date(record, field, text);
                if record.created_at.is_some_and(|at| at > self.now) {
                    record.fault("OUT_OF_RANGE", field, "It is in the future.");
                }
            }
            Field::Started => record.started_at = self.date(record, field, text),
            // Some write when, some whether.
            Field::Completed => match truth(text) {
                Some(true) => record.status = ItemStatus::Done,
                Some(false) => {}
                None => {
                    record.completed_at = self.date(record, field, text);
                    record.status = ItemStatus::Done;
                }
            },
            Field::Estimate => match hours(text) {
                Some(hours) => record.estimated_hours = Some(hours),
                None => {
                    let message = format!("{:?} is no number of hours such as 1.5 or 1h 30m.", shorten(text));
                    record.fault("INVALID", field, message);
                }
            },
            Field::Assignees => record.assignees.extend(list(text).map(str::to_owned)),
            Field::Tags => list(text).for_each(|tag| record.tag(tag)),
            Field::Team => record.team = Some(trimmed.to_owned()),
            Field::Parent => record.parent = Some(trimmed.to_owned()),
            Field::Ignore => {}
        }
    }
}

fn example(text: &str, value: &str) -> String {
    format!("{:?}", format!("{}={value}", shorten(text)))
}

/// A number, with a point or a comma; or hours and minutes.
fn hours(text: &str) -> Option<f64> {
    let text = text.trim().to_lowercase().replace(',', ".");
    if let Ok(hours) = text.parse() {
        return Some(hours);
    }
    let mut sum = 0.0;
    for part in text.replace(' ', "").split_inclusive(['h', 'm']) {
        sum += match (part.strip_suffix('h'), part.strip_suffix('m')) {
            (Some(hours), _) => hours.parse::<f64>().ok()?,
            (_, Some(minutes)) => minutes.parse::<f64>().ok()? / 60.0,
            _ => return None,
        };
    }
    Some(sum)
}

/// The beginning of a long text, on one line, for a message.
pub fn shorten(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::clock::format_instant, cli::import::record::Place};

    fn reading(dates: Option<DateOrder>) -> Reading {
        Reading {
            zone: chrono_tz::Europe::Berlin,
            now: DateTime::UNIX_EPOCH,
            dates,
            statuses: BTreeMap::new(),
            priorities: BTreeMap::new(),
            source: None,
            file_name: String::new(),
            archived: false,
        }
    }

    #[test]
    fn dates_are_read_as_people_and_tools_write_them() {
        let reading = reading(None);
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
            assert_eq!(reading.instant(text, true).map(format_instant), Ok(wanted.to_owned()), "{text}");
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
            assert_eq!(reading.instant(text, true), Err(why), "{text}");
        }
    }

    #[test]
    fn the_order_of_day_and_month_can_be_told() {
        let day = |order| reading(Some(order)).instant("1/2/2026", false).map(format_instant);
        assert_eq!(day(DateOrder::Dmy), Ok("2026-01-31T23:00:00.000Z".to_owned()));
        assert_eq!(day(DateOrder::Mdy), Ok("2026-01-01T23:00:00.000Z".to_owned()));
    }

    #[test]
    fn hours_are_numbers_or_hours_and_minutes() {
        for (text, wanted) in [
            ("2", Some(2.0)),
            ("1,5", Some(1.5)),
            ("1h 30m", Some(1.5)),
            ("90m", Some(1.5)),
            ("2d", None),
            ("ü", None),
            ("", None),
        ] {
            assert_eq!(hours(text), wanted, "{text}");
        }
    }

    #[test]
    fn words_are_known_in_any_form() {
        let reading = reading(None);
        assert_eq!(reading.status("In-Progress"), Some(ItemStatus::InProgress));
        assert_eq!(reading.status("To Do"), Some(ItemStatus::Todo));
        assert_eq!(reading.status("archived"), None);
        assert_eq!(reading.priority("HIGHEST"), Some(Priority::Urgent));
        assert_eq!(priority_of_labels(["bug", "priority::high"]), Some(Priority::High));
        assert_eq!(priority_of_labels(["p1", "Priority: urgent", "pi"]), Some(Priority::Urgent));
        assert_eq!(priority_of_labels(["priority", "pp"]), None);
        let mut record = Record::new(Place::Line(2), "");
        reading.fill(&mut record, Field::Completed, "yes");
        assert_eq!((record.status, record.completed_at), (ItemStatus::Done, None));
        reading.fill(&mut record, Field::Status, "?");
        assert_eq!(record.faults[0].code, "UNKNOWN_STATUS");
    }
}
