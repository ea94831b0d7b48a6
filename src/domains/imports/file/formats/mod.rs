//! The formats that are read: one file each, from the tool's own names to records.

mod github;
mod gitlab;
mod jira;
mod linear;
mod plain;
mod todoist;
mod trello;
mod vikunja;

use std::collections::BTreeMap;

use async_graphql::Enum;
use serde::{Deserialize, Serialize};

use super::{
    super::options::{Options, Setting},
    json,
    record::{Field, Found, Place, Record, Unreadable},
    table::{BadRow, Row, Table},
    values::{Reading, key, shorten},
};

/// Records of a file at most.
pub const MAX_RECORDS: usize = 200_000;

/// Whose export a file is.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[graphql(name = "ImportFormat")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Format {
    /// Any table with a header.
    Csv,
    /// Issues of GitHub's REST API, or of `gh issue list --json`.
    Github,
    /// Issues of GitLab's REST API, or its CSV export.
    Gitlab,
    /// Linear's CSV export.
    Linear,
    /// Jira's CSV export.
    Jira,
    /// A Trello board's JSON export.
    Trello,
    /// A Todoist project's CSV export.
    Todoist,
    /// `data.json` of Vikunja's export.
    Vikunja,
}

impl Format {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Github => "GitHub issues",
            Self::Gitlab => "GitLab issues",
            Self::Linear => "Linear's export",
            Self::Jira => "Jira's export",
            Self::Trello => "a Trello board",
            Self::Todoist => "a Todoist project",
            Self::Vikunja => "Vikunja's export",
        }
    }

    fn of_names(names: &[String]) -> Option<Self> {
        let has = |wanted: &[&str]| wanted.iter().all(|wanted| names.iter().any(|name| name == wanted));
        Some(match () {
            () if has(&["cards", "lists"]) => Self::Trello,
            () if has(&["iid", "title"]) => Self::Gitlab,
            () if has(&["tasks"]) && !has(&["number"]) => Self::Vikunja,
            () if has(&["title", "number"]) => Self::Github,
            () => return None,
        })
    }

    fn of_header(header: &[String]) -> Self {
        let keys: Vec<String> = header.iter().map(|name| key(name)).collect();
        let has = |wanted: &[&str]| wanted.iter().all(|wanted| keys.iter().any(|name| name == wanted));
        match () {
            () if has(&["type", "content", "indent"]) => Self::Todoist,
            () if has(&["issuekey", "summary"]) => Self::Jira,
            () if has(&["id", "team", "title", "cyclename"]) => Self::Linear,
            () if has(&["issueid", "url", "state", "title"]) => Self::Gitlab,
            () => Self::Csv,
        }
    }
}

/// Reads a text; says which format it was, and with which separator.
pub fn read(text: &str, reading: &Reading) -> Result<(Format, Option<char>, Found), Unreadable> {
    let Options { format, separator, source, .. } = &reading.options;
    let (format, separator, mut found) = if json::is_json(text) {
        let format = match format {
            Some(format) => *format,
            None => Format::of_names(&json::names(text)?).ok_or_else(unknown_json)?,
        };
        let found = match format {
            Format::Github => github::read(text, reading),
            Format::Gitlab => gitlab::read_json(text, reading),
            Format::Trello => trello::read(text, reading),
            Format::Vikunja => vikunja::read(text, reading),
            Format::Csv | Format::Linear | Format::Jira | Format::Todoist => {
                Err(Unreadable::new("WRONG_FORMAT", "This is JSON; that format is a table."))
            }
        };
        (format, None, found?)
    } else {
        let table = Table::of(text, *separator)?;
        let format = format.unwrap_or_else(|| Format::of_header(&table.header));
        let found = match format {
            Format::Csv => plain::read(&table, reading),
            Format::Gitlab => gitlab::read_table(&table, reading),
            Format::Linear => linear::read(&table, reading),
            Format::Jira => jira::read(&table, reading),
            Format::Todoist => todoist::read(&table, reading),
            Format::Github | Format::Trello | Format::Vikunja => {
                Err(Unreadable::new("WRONG_FORMAT", "This is no JSON, which that format is."))
            }
        };
        (format, Some(table.separator), found?)
    };
    if let Some(source) = source {
        found.source.clone_from(source);
    }
    Ok((format, separator, found))
}

fn unknown_json() -> Unreadable {
    let message = "This JSON is none of the exports that are known; see docs/IMPORTING.md.";
    Unreadable::new("UNKNOWN_FORMAT", message)
}

/// Fails once there are more records than one import takes.
fn check_count(records: &[Record]) -> Result<(), Unreadable> {
    if records.len() <= MAX_RECORDS {
        return Ok(());
    }
    Err(Unreadable::new("TOO_MANY_RECORDS", format!("More than {MAX_RECORDS} records; split the file.")))
}

/// The columns of a table, each with the field that it is.
struct Columns(Vec<(usize, Field)>);

impl Columns {
    /// By the user's map, then by the format's names: for each field the first name that the header has, and all columns
    /// of that name where the field takes many values.
    fn of(table: &Table<'_>, known: &[(&str, Field)], reading: &Reading) -> Result<Self, Unreadable> {
        let keys: Vec<String> = table.header.iter().map(|name| key(name)).collect();
        let mut columns = Vec::new();
        for (name, field) in &reading.options.map {
            let exact = table.header.iter().position(|column| column == name.trim());
            let column = exact.or_else(|| keys.iter().position(|key_of| *key_of == key(name)));
            let column = column.ok_or_else(|| no_column(table, name, reading))?;
            columns.push((column, *field));
        }
        let mapped = columns.clone();
        for (name, field) in known {
            let is_list = matches!(field, Field::Tags | Field::Assignees);
            for (column, _) in keys.iter().enumerate().filter(|(_, key_of)| *key_of == name) {
                let is_taken = columns.iter().any(|(taken, _)| *taken == column);
                let by_name = |(at, of): &(usize, Field)| of == field && !(is_list && keys[*at] == *name);
                if !is_taken && !columns.iter().any(by_name) && !mapped.iter().any(|(_, of)| of == field) {
                    columns.push((column, *field));
                }
            }
        }
        columns.retain(|(_, field)| *field != Field::Ignore);
        if !columns.iter().any(|(_, field)| *field == Field::Title) {
            let message = format!(
                "No column is the title; {} says which. The columns are: {}.",
                reading.options.asked_by.calls(Setting::Map),
                shown(&table.header)
            );
            return Err(Unreadable::new("NO_TITLE_COLUMN", message));
        }
        Ok(Self(columns))
    }

    /// Names of the columns used, by field.
    fn names(&self, table: &Table<'_>) -> BTreeMap<Field, Vec<String>> {
        let mut names: BTreeMap<Field, Vec<String>> = BTreeMap::new();
        for (column, field) in &self.0 {
            let names = names.entry(*field).or_default();
            if !names.contains(&table.header[*column]) {
                names.push(table.header[*column].clone());
            }
        }
        names
    }

    /// Names of the columns that are not used.
    fn unused(&self, table: &Table<'_>) -> Vec<String> {
        let is_used = |column: usize| self.0.iter().any(|(used, _)| *used == column);
        let mut unused: Vec<String> = Vec::new();
        for (column, name) in table.header.iter().enumerate() {
            if !is_used(column) && !name.is_empty() && !unused.contains(name) {
                unused.push(name.clone());
            }
        }
        unused
    }

    /// The record that a row is.
    fn record(&self, row: &Row, reading: &Reading) -> Record {
        let mut record = Record::new(Place::Line(row.line), String::new());
        for (column, field) in &self.0 {
            reading.fill(&mut record, *field, row.fields.get(*column).unwrap_or_default());
        }
        record
    }
}

fn no_column(table: &Table<'_>, name: &str, reading: &Reading) -> Unreadable {
    let said = reading.options.asked_by.calls(Setting::Map);
    let message = format!("{said}: there is no column {name:?}. The columns are: {}.", shown(&table.header));
    Unreadable::new("NO_SUCH_COLUMN", message)
}

/// Names for a message, the first of them.
fn shown(header: &[String]) -> String {
    let mut names: Vec<String> = header.iter().take(30).map(|name| format!("{:?}", shorten(name))).collect();
    if header.len() > names.len() {
        names.push(format!("and {} more", header.len() - names.len()));
    }
    names.join(", ")
}

/// The record that stands for a row that can't be read.
fn bad_row(bad: BadRow) -> Record {
    let mut record = Record::new(Place::Line(bad.line), String::new());
    record.fault(bad.code, None, bad.message);
    record
}

/// Reads a table by its columns; `finish` adds what a format says besides.
fn read_rows(
    table: &Table<'_>,
    columns: &Columns,
    reading: &Reading,
    mut finish: impl FnMut(&mut Record, &Row),
) -> Result<Found, Unreadable> {
    let mut found = Found { columns: columns.names(table), unused: columns.unused(table), ..Found::default() };
    table.each(|row| {
        let record = match row {
            Ok(row) => {
                let mut record = columns.record(&row, reading);
                finish(&mut record, &row);
                record
            }
            Err(bad) => bad_row(bad),
        };
        found.records.push(record);
        check_count(&found.records)
    })?;
    Ok(found)
}
