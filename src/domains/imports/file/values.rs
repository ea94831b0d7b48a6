//! Words, dates and numbers, as people and their tools write them.

use chrono_tz::Tz;

use super::{
    super::options::{Options, Setting},
    dates::{NoDate, instant},
    record::{Field, Record},
};
use crate::{
    base::{
        clock::Instant,
        enums::{ItemStatus, Priority},
    },
    data::db::OrgScope,
};

/// How values are read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Of days and times without one: the organization's.
    pub zone: Tz,
    pub now: Instant,
    /// Of the file, without its folder.
    pub file_name: String,
    pub options: Options,
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

impl Reading {
    /// As an organization reads a file now.
    pub fn of(scope: &OrgScope, file_name: String, options: Options) -> Self {
        let zone = scope.organization().time_zone.parse().unwrap_or(chrono_tz::UTC);
        Self { zone, now: scope.clock().now(), file_name, options }
    }

    /// An instant. A day alone is its beginning, or its end.
    pub fn instant(&self, text: &str, is_end: bool) -> Result<Instant, NoDate> {
        instant(text, is_end, self.zone, self.options.dates)
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
                let advice = self.options.asked_by.calls(Setting::Dates);
                let message = format!("{shown:?} may be two days; {advice} says which.");
                record.fault("AMBIGUOUS_DATE", field, message);
            }
        }
        None
    }

    pub fn status(&self, text: &str) -> Option<ItemStatus> {
        let word = key(text);
        self.options.statuses.get(&word).copied().or_else(|| known_status(&word))
    }

    pub fn priority(&self, text: &str) -> Option<Priority> {
        let word = key(text);
        self.options.priorities.get(&word).copied().or_else(|| known_priority(&word))
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
                        "{:?} is no status; {} says which one it is.",
                        shorten(text),
                        self.options.asked_by.calls(Setting::Status(&shorten(text)))
                    );
                    record.fault("UNKNOWN_STATUS", field, message);
                }
            },
            Field::Priority => match self.priority(text) {
                Some(priority) => record.priority = priority,
                None => {
                    let message = format!(
                        "{:?} is no priority; {} says which one it is.",
                        shorten(text),
                        self.options.asked_by.calls(Setting::Priority(&shorten(text)))
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

/// A number, with a point or a comma; or hours and minutes.
fn hours(text: &str) -> Option<f64> {
    let text = text.trim().to_lowercase().replace(',', ".");
    if let Ok(hours) = text.parse() {
        return Some(hours);
    }
    if text.is_empty() {
        return None;
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
    use crate::domains::imports::file::record::Place;

    fn reading() -> Reading {
        Reading {
            zone: chrono_tz::Europe::Berlin,
            now: Instant::UNIX_EPOCH,
            file_name: String::new(),
            options: Options::default(),
        }
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
        let reading = reading();
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
