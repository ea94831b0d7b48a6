//! What every format is read into: records, and what is wrong with them.

use std::{collections::BTreeMap, fmt};

use async_graphql::Enum;
use serde::{Deserialize, Serialize};

use super::values::key;
use crate::base::{
    clock::Instant,
    enums::{ItemStatus, Priority},
    error::Problem,
};

/// Where in the file a record is: lines and entries are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The line that a row of a table begins in.
    Line(usize),
    /// The element of a JSON array.
    Entry(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Entry(entry) => write!(f, "entry {entry}"),
        }
    }
}

/// What a record says of an item.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize)]
#[graphql(name = "ImportField")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Field {
    /// What the source calls the record; it makes the item's id.
    Id,
    /// What the item is called.
    Title,
    /// Its text.
    Description,
    /// How far it has got.
    Status,
    /// How urgent it is.
    Priority,
    /// When it is due.
    Due,
    /// In hours.
    Estimate,
    /// When it was made.
    Created,
    /// When it was begun.
    Started,
    /// When it was finished, or whether.
    Completed,
    /// Who does it, by e-mail address, username or full name.
    Assignees,
    /// Its tags, by name.
    Tags,
    /// Its team, by name.
    Team,
    /// The id of the record that it is a subtask of.
    Parent,
    /// The column is not used.
    Ignore,
}

impl Field {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Title => "title",
            Self::Description => "description",
            Self::Status => "status",
            Self::Priority => "priority",
            Self::Due => "due",
            Self::Estimate => "estimate",
            Self::Created => "created",
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Assignees => "assignees",
            Self::Tags => "tags",
            Self::Team => "team",
            Self::Parent => "parent",
            Self::Ignore => "ignore",
        }
    }

    /// The field that a problem of the API's input is about.
    fn of_input(path: &[String]) -> Option<Self> {
        Some(match path.get(1)?.as_str() {
            "id" => Self::Id,
            "title" => Self::Title,
            "description" => Self::Description,
            "status" => Self::Status,
            "estimatedHours" => Self::Estimate,
            "assigneeIds" => Self::Assignees,
            "tagIds" => Self::Tags,
            "teamId" => Self::Team,
            "parentId" => Self::Parent,
            _ => return None,
        })
    }
}

/// One thing that is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub field: Option<Field>,
    /// Stable, for programs; see `docs/IMPORTING.md`.
    pub code: String,
    pub message: String,
}

impl Fault {
    pub fn new(code: &str, field: impl Into<Option<Field>>, message: impl Into<String>) -> Self {
        Self { field: field.into(), code: code.to_owned(), message: message.into() }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self { field: Field::of_input(&problem.path), code: problem.code.name(), message: problem.message }
    }
}

/// What is wrong with the file as a whole: nothing is read of it.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Unreadable {
    pub code: &'static str,
    pub message: String,
}

impl Unreadable {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What somebody said about a record.
#[derive(Clone, Debug)]
pub struct Comment {
    /// Within the record's source.
    pub source_id: String,
    pub author: String,
    pub at: Option<Instant>,
    pub body: String,
}

/// An item to be, in the source's own words where they refer to something.
#[derive(Clone, Debug)]
pub struct Record {
    pub place: Place,
    pub source_id: String,
    pub title: String,
    pub description: Option<String>,
    pub status: ItemStatus,
    pub priority: Priority,
    pub due_at: Option<Instant>,
    pub estimated_hours: Option<f64>,
    pub created_at: Option<Instant>,
    pub started_at: Option<Instant>,
    pub completed_at: Option<Instant>,
    /// E-mail addresses, usernames or full names.
    pub assignees: Vec<String>,
    pub tags: Vec<String>,
    pub team: Option<String>,
    /// The `source_id` of the record that it is a subtask of.
    pub parent: Option<String>,
    pub comments: Vec<Comment>,
    pub faults: Vec<Fault>,
}

impl Record {
    pub fn new(place: Place, source_id: impl Into<String>) -> Self {
        Self {
            place,
            source_id: source_id.into(),
            title: String::new(),
            description: None,
            status: ItemStatus::Todo,
            priority: Priority::Medium,
            due_at: None,
            estimated_hours: None,
            created_at: None,
            started_at: None,
            completed_at: None,
            assignees: Vec::new(),
            tags: Vec::new(),
            team: None,
            parent: None,
            comments: Vec::new(),
            faults: Vec::new(),
        }
    }

    pub fn fault(&mut self, code: &str, field: impl Into<Option<Field>>, message: impl Into<String>) {
        self.faults.push(Fault::new(code, field, message));
    }

    /// Adds a tag once.
    pub fn tag(&mut self, name: impl Into<String>) {
        let name = name.into();
        if !name.trim().is_empty() && !self.tags.contains(&name) {
            self.tags.push(name);
        }
    }
}

/// A file, read.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Which project or file the ids of the records are of; ids of one source are never made twice.
    pub source: String,
    pub records: Vec<Record>,
    /// What whoever imports should know: what was left out, and how much of it.
    pub notes: Vec<String>,
    /// Of tables: the columns used, by field.
    pub columns: BTreeMap<Field, Vec<String>>,
    /// Of tables: the columns that no field is read from.
    pub unused: Vec<String>,
    /// Colors of tags, where the source has them: `#RRGGBB` by name.
    pub colors: BTreeMap<String, String>,
}

impl Found {
    /// Columns, by their keys, that a format reads besides those of fields.
    pub fn also_used(&mut self, keys: &[&str]) {
        self.unused.retain(|name| !keys.contains(&key(name).as_str()));
    }

    /// A note of how many there were of something, unless it is none.
    pub fn note(&mut self, count: usize, what: &str) {
        if count > 0 {
            self.notes.push(format!("{count} {what}"));
        }
    }
}
