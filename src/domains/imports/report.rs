//! What an import found in its file, as it is kept and shown.

use async_graphql::SimpleObject;
use serde::{Deserialize, Serialize};

use super::{
    file::{
        ReadFile,
        formats::Format,
        record::{Fault, Field, Place},
    },
    plan::{Bad, Plan},
};
use crate::domains::inbound_hooks::mapping::cut;

/// Problems that are told at most.
const MAX_PROBLEMS: usize = 500;
/// Names and notes of a kind that are told at most.
const MAX_NAMES: usize = 100;
/// Characters of a message.
pub(super) const MAX_MESSAGE: usize = 300;
/// Characters of a name from the file.
const MAX_NAME: usize = 100;

/// What was found in a file, and what it comes to.
#[derive(SimpleObject, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[graphql(name = "ImportReport")]
pub struct Report {
    /// Whose export it is.
    format: Format,
    /// How it is encoded, and how that was found out where it is not certain.
    encoding: String,
    /// What separates columns; null for JSON.
    separator: Option<String>,
    /// Which project or file the ids of the records are of: what is imported from one source is never made twice.
    source: String,
    /// The columns that were used, by field; empty for JSON.
    columns: Vec<ImportColumn>,
    /// The columns that were not used; the first 100.
    unused_columns: Vec<String>,
    /// Records in the file.
    records: i32,
    /// Records that become items.
    to_be_imported: i32,
    /// Records that were imported before: they stay as they are.
    imported_before: i32,
    /// Records that can't be imported.
    bad: i32,
    /// Comments that are made.
    new_comments: i32,
    /// Names of tags that are made; the first 100.
    new_tags: Vec<String>,
    /// Names of teams that are made; the first 100.
    new_teams: Vec<String>,
    /// What else there is to know, as what was left out.
    notes: Vec<String>,
    /// Why nothing at all can be written.
    refusals: Vec<ImportFault>,
    /// What is wrong, in the order of the file; the first 500.
    problems: Vec<ImportProblem>,
    /// Problems beyond those.
    problems_left_out: i32,
}

/// The columns that a field is read from.
#[derive(SimpleObject, Clone, Debug, Serialize, Deserialize)]
pub struct ImportColumn {
    /// What they are.
    field: Field,
    /// The columns' names, as the header has them.
    names: Vec<String>,
}

/// Why an import can't be done.
#[derive(SimpleObject, Clone, Debug, Serialize, Deserialize)]
pub struct ImportFault {
    /// Stable, for programs; `docs/IMPORTING.md` has them all.
    pub code: String,
    /// For people.
    pub message: String,
}

/// What is wrong with a record.
#[derive(SimpleObject, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportProblem {
    /// The line that it begins in; null for JSON.
    line: Option<i32>,
    /// Its place in a JSON list, counted from 1; null for tables.
    entry: Option<i32>,
    /// What the source calls it.
    source_id: String,
    /// What is wrong; null when all of it is.
    field: Option<Field>,
    /// The column that the field is read from.
    column: Option<String>,
    /// Stable, for programs; `docs/IMPORTING.md` has them all.
    code: String,
    /// For people.
    message: String,
}

impl Report {
    /// Of a file without its records, which the plan has taken.
    pub fn of(file: &ReadFile, records: usize, plan: &Plan) -> Self {
        let found = &file.found;
        Self {
            format: file.format,
            encoding: file.encoding.clone(),
            separator: file.separator.map(String::from),
            source: cut(&found.source, MAX_NAME),
            columns: found.columns.iter().map(|(field, names)| column(*field, names)).collect(),
            unused_columns: named(found.unused.iter()),
            records: count(records),
            to_be_imported: count(plan.items.len()),
            imported_before: count(plan.already),
            bad: count(plan.bad_records),
            new_comments: count(plan.comments.len()),
            new_tags: named(plan.tags.iter().map(|tag| &tag.name)),
            new_teams: named(plan.teams.iter().map(|team| &team.name)),
            notes: plan.notes.iter().take(MAX_NAMES).map(|note| cut(note, MAX_MESSAGE)).collect(),
            refusals: plan.refused.iter().take(MAX_NAMES).map(ImportFault::of).collect(),
            problems: plan.bad.iter().take(MAX_PROBLEMS).map(|bad| ImportProblem::of(bad, file)).collect(),
            problems_left_out: count(plan.bad.len().saturating_sub(MAX_PROBLEMS)),
        }
    }
}

impl ImportFault {
    fn of(fault: &Fault) -> Self {
        Self { code: fault.code.clone(), message: cut(&fault.message, MAX_MESSAGE) }
    }
}

impl ImportProblem {
    fn of(bad: &Bad, file: &ReadFile) -> Self {
        let Bad { place, source_id, fault } = bad;
        let (line, entry) = match place {
            Place::Line(line) => (Some(count(*line)), None),
            Place::Entry(entry) => (None, Some(count(*entry))),
        };
        let column = fault.field.and_then(|field| file.found.columns.get(&field)).and_then(|names| names.first());
        let ImportFault { code, message } = ImportFault::of(fault);
        Self {
            line,
            entry,
            source_id: cut(source_id, MAX_NAME),
            field: fault.field,
            column: column.map(|name| cut(name, MAX_NAME)),
            code,
            message,
        }
    }
}

fn column(field: Field, names: &[String]) -> ImportColumn {
    ImportColumn { field, names: named(names.iter()) }
}

fn named<'n>(names: impl Iterator<Item = &'n String>) -> Vec<String> {
    names.take(MAX_NAMES).map(|name| cut(name, MAX_NAME)).collect()
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
