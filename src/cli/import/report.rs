//! What an import found and did, for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use indicatif::HumanCount;
use serde_json::{Value as Json, json};

use crate::domains::imports::{
    file::{
        formats::Format,
        record::{Field, Place},
    },
    plan::{Bad, Plan},
    write::Written,
};

/// Different problems that are shown at most, and places of each.
const SHOWN: usize = 20;
const PLACES: usize = 5;
/// Problems that programs are told at most.
const TOLD: usize = 10_000;

/// What was read, and what would be written.
pub struct Report<'r> {
    pub file: &'r str,
    pub format: Format,
    pub encoding: &'r str,
    pub separator: Option<char>,
    pub source: &'r str,
    pub columns: &'r BTreeMap<Field, Vec<String>>,
    pub unused: &'r [String],
    pub records: usize,
    pub plan: &'r Plan,
    pub organization: &'r str,
}

/// How it ended.
#[derive(Clone, Copy)]
pub enum End {
    /// Only checked.
    Checked,
    /// Refused: nothing was written.
    Refused,
    Written(Written),
}

/// A text from a file as a terminal may show it: control characters as their escapes.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c) {
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn count(number: usize) -> String {
    HumanCount(number as u64).to_string()
}

impl Report<'_> {
    /// The field that a problem is about, with the column that it is read from.
    fn place_of(&self, field: Option<Field>) -> String {
        let Some(field) = field else { return String::new() };
        match self.columns.get(&field).and_then(|names| names.first()) {
            Some(column) if !column.eq_ignore_ascii_case(field.name()) => format!("{} ({column})", field.name()),
            _ => field.name().to_owned(),
        }
    }

    /// What was found, as lines.
    pub fn found(&self) -> String {
        let separator = match self.separator {
            None => String::new(),
            Some('\t') => ", separated by tabs".to_owned(),
            Some(separator) => format!(", separated by \"{separator}\""),
        };
        let mut lines = vec![
            format!("{}: {}, {}{separator}", self.file, self.format.name(), self.encoding),
            format!("source: {}", self.source),
        ];
        if !self.columns.is_empty() {
            let pairs: Vec<String> =
                self.columns.iter().map(|(field, names)| format!("{} ← {}", field.name(), names.join(", "))).collect();
            lines.push(format!("columns: {}", pairs.join("; ")));
        }
        if !self.unused.is_empty() {
            let shown = &self.unused[..self.unused.len().min(SHOWN)];
            let rest = self.unused.len() - shown.len();
            let more = if rest > 0 { format!(" and {} more", count(rest)) } else { String::new() };
            lines.push(format!("not used: {}{more}", shown.join(", ")));
        }
        lines.push(String::new());
        let plan = self.plan;
        let rows = [
            ("records", self.records),
            ("to be imported", plan.items.len()),
            ("imported before", plan.already),
            ("bad", plan.bad_records),
            ("new comments", plan.comments.len()),
            ("new tags", plan.tags.len()),
            ("new teams", plan.teams.len()),
        ];
        // The first four are always told.
        for (index, (what, number)) in rows.iter().enumerate() {
            if index < 4 || *number > 0 {
                lines.push(format!("  {what:<16} {:>9}", count(*number)));
            }
        }
        lines.extend(plan.notes.iter().map(|note| format!("note: {note}")));
        if !plan.bad.is_empty() {
            lines.push(String::new());
            lines.extend(self.problems());
        }
        lines.iter().map(|line| plain(line) + "\n").collect()
    }

    /// Problems with all the places that have one alike.
    fn problems(&self) -> Vec<String> {
        let mut alike: Vec<(&Bad, Vec<Place>)> = Vec::new();
        let mut index: BTreeMap<(Option<Field>, &str, &str), usize> = BTreeMap::new();
        for bad in &self.plan.bad {
            let key = (bad.fault.field, bad.fault.code.as_str(), bad.fault.message.as_str());
            let at = *index.entry(key).or_insert_with(|| {
                alike.push((bad, Vec::new()));
                alike.len() - 1
            });
            alike[at].1.push(bad.place);
        }
        let mut lines = Vec::new();
        let rest = alike.len().saturating_sub(SHOWN);
        alike.truncate(SHOWN);
        let places: Vec<String> = alike.iter().map(|(_, places)| places_of(places)).collect();
        let fields: Vec<String> = alike.iter().map(|(bad, _)| self.place_of(bad.fault.field)).collect();
        let codes: Vec<&str> = alike.iter().map(|(bad, _)| bad.fault.code.as_str()).collect();
        let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or_default();
        let a = width(&mut places.iter().map(|text| text.chars().count()));
        let b = width(&mut fields.iter().map(|text| text.chars().count()));
        let c = width(&mut codes.iter().map(|text| text.len()));
        for (((bad, _), place), (field, code)) in alike.iter().zip(&places).zip(fields.iter().zip(&codes)) {
            lines.push(format!("  {place:a$}  {field:b$}  {code:c$}  {}", bad.fault.message));
        }
        if rest > 0 {
            lines.push(format!("  and {} more", count(rest)));
        }
        lines
    }

    /// What came of it, as a sentence.
    pub fn ended(&self, end: End) -> String {
        match end {
            End::Refused => "Nothing was written.".to_owned(),
            End::Checked => "Only checked: nothing was written.".to_owned(),
            End::Written(Written { items, comments, tags, teams }) => {
                let more = [(comments, "comment(s)"), (tags, "tag(s)"), (teams, "team(s)")];
                let more: String = more
                    .iter()
                    .filter(|(number, _)| *number > 0)
                    .map(|(number, what)| format!(", {} {what}", count(*number)))
                    .collect();
                format!("Imported {} item(s){more} into {}.", count(items), self.organization)
            }
        }
    }

    pub fn as_json(&self, end: End) -> Json {
        let problem = |bad: &Bad| {
            let (line, entry) = match bad.place {
                Place::Line(line) => (Some(line), None),
                Place::Entry(entry) => (None, Some(entry)),
            };
            json!({
                "line": line,
                "entry": entry,
                "id": bad.source_id,
                "field": bad.fault.field.map(Field::name),
                "column": bad.fault.field.and_then(|field| self.columns.get(&field)).and_then(|names| names.first()),
                "code": bad.fault.code,
                "message": bad.fault.message,
            })
        };
        let written = if let End::Written(written) = end { written } else { Written::default() };
        let columns: BTreeMap<&str, _> = self.columns.iter().map(|(field, names)| (field.name(), names)).collect();
        let plan = self.plan;
        json!({
            "file": self.file,
            "format": self.format.name(),
            "encoding": self.encoding,
            "separator": self.separator,
            "source": self.source,
            "columns": columns,
            "columnsNotUsed": self.unused,
            "records": self.records,
            "toBeImported": plan.items.len(),
            "importedBefore": plan.already,
            "bad": plan.bad_records,
            "newComments": plan.comments.len(),
            "newTags": plan.tags.iter().map(|tag| &tag.name).collect::<Vec<_>>(),
            "newTeams": plan.teams.iter().map(|team| &team.name).collect::<Vec<_>>(),
            "notes": plan.notes,
            "refused": plan.refused.iter().map(|fault| json!({ "code": fault.code, "message": fault.message })).collect::<Vec<_>>(),
            "problems": plan.bad.iter().take(TOLD).map(problem).collect::<Vec<_>>(),
            "problemsLeftOut": plan.bad.len().saturating_sub(TOLD),
            "written": {
                "items": written.items,
                "comments": written.comments,
                "tags": written.tags,
                "teams": written.teams,
            },
        })
    }
}

/// `line 3`, `lines 3, 5 and 8`, `lines 3, 5, 8, 9, 12 and 120 more`.
fn places_of(places: &[Place]) -> String {
    let [first, others @ ..] = places else { return String::new() };
    if others.is_empty() {
        return first.to_string();
    }
    let number = |place: &Place| match place {
        Place::Line(number) | Place::Entry(number) => number.to_string(),
    };
    let word = if matches!(first, Place::Line(_)) { "lines" } else { "entries" };
    let shown: Vec<String> = places.iter().take(PLACES).map(number).collect();
    match places.len() - shown.len() {
        0 => format!("{word} {}", shown.join(", ")),
        rest => format!("{word} {} and {} more", shown.join(", "), count(rest)),
    }
}
