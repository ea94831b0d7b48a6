use async_graphql::InputObject;
use encoding_rs::Encoding;

use super::{
    file::{dates::DateOrder, formats::Format, record::Field, values::key},
    options::{Asker, Options, UnknownPeople, separator},
};
use crate::{
    base::{
        enums::{ItemStatus, Priority},
        error::{ProblemCode, Problems, Result},
        id::{ClientMade, ImportId},
    },
    data::db::filter::fold,
};

/// Columns, names of statuses, priorities or people that are said at most.
const MAX_SAID: usize = 200;
/// Characters of a name.
const MAX_NAME: usize = 200;

/// A file that is to be imported, and how. The settings are those of the command `todo-platform import`.
#[derive(InputObject, Clone)]
pub struct ImportCreateInput {
    /// Made by the client, a UUIDv7; a repeat with the same id and the same values answers with what is there.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<ImportId>,
    /// The file's name without its folder, 1 to 200 characters. Where nothing in a file tells its source, the name does.
    pub file_name: String,
    /// Only check, and report what would be done.
    #[graphql(default)]
    pub check_only: bool,
    /// Import what is good although something is bad.
    #[graphql(default)]
    pub skip_bad: bool,
    /// Whose export it is; found out when left out.
    pub format: Option<Format>,
    /// Which project or file the records are of, 1 to 200 characters; what is imported from one source is never made twice.
    pub source: Option<String>,
    /// Columns of a table, each with the field that it is; others are known by their names.
    pub map: Option<Vec<ImportColumnInput>>,
    /// What statuses are called in the file.
    pub statuses: Option<Vec<ImportStatusInput>>,
    /// What priorities are called in the file.
    pub priorities: Option<Vec<ImportPriorityInput>>,
    /// Who is meant by names in the file.
    pub people: Option<Vec<ImportPersonInput>>,
    /// What becomes of records that are assigned to somebody who is no active member.
    #[graphql(default)]
    pub unknown_people: UnknownPeople,
    /// Make tags that are not there.
    #[graphql(default)]
    pub create_tags: bool,
    /// Make teams that are not there; takes TEAM_MANAGE.
    #[graphql(default)]
    pub create_teams: bool,
    /// The name of the team of records that name none.
    pub team: Option<String>,
    /// Fields that are left out.
    pub without: Option<Vec<Field>>,
    /// Shorten titles and descriptions that are too long.
    #[graphql(default)]
    pub cut: bool,
    /// What 1/2/2026 means, where the file doesn't show it.
    pub dates: Option<DateOrder>,
    /// How the file is encoded, such as `utf-8` or `iso-8859-1`; found out when left out.
    pub encoding: Option<String>,
    /// What separates columns, one character of ASCII or `tab`; found out when left out.
    pub separator: Option<String>,
    /// Take what the source has archived, too.
    #[graphql(default)]
    pub archived: bool,
}

/// A column of a table.
#[derive(InputObject, Clone)]
pub struct ImportColumnInput {
    /// As the header has it.
    pub column: String,
    /// What it is; `IGNORE` leaves it out.
    pub field: Field,
}

/// What a status is called.
#[derive(InputObject, Clone)]
pub struct ImportStatusInput {
    /// In the file, whatever its case, spaces and punctuation.
    pub name: String,
    /// Here; not `ARCHIVED`.
    pub status: ItemStatus,
}

/// What a priority is called.
#[derive(InputObject, Clone)]
pub struct ImportPriorityInput {
    /// In the file, whatever its case, spaces and punctuation.
    pub name: String,
    /// Here.
    pub priority: Priority,
}

/// Who somebody is.
#[derive(InputObject, Clone)]
pub struct ImportPersonInput {
    /// In the file.
    pub name: String,
    /// Their address here.
    pub email: String,
}

/// Which import is cancelled.
#[derive(InputObject, Clone)]
pub struct ImportCancelInput {
    /// Which one.
    pub id: ImportId,
}

impl ImportCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        problems.length(&["input", "fileName"], &self.file_name, 1, MAX_NAME);
        for (name, text) in [("source", &self.source), ("team", &self.team)] {
            if let Some(text) = text {
                problems.length(&["input", name], text, 1, MAX_NAME);
            }
        }
        fn names<T>(list: Option<&Vec<T>>, name: fn(&T) -> &str) -> Vec<&str> {
            list.into_iter().flatten().map(name).collect()
        }
        for (list, member, names) in [
            ("map", "column", names(self.map.as_ref(), |said| &said.column)),
            ("statuses", "name", names(self.statuses.as_ref(), |said| &said.name)),
            ("priorities", "name", names(self.priorities.as_ref(), |said| &said.name)),
            ("people", "name", names(self.people.as_ref(), |said| &said.name)),
            ("people", "email", names(self.people.as_ref(), |said| &said.email)),
        ] {
            problems.count(&["input", list], names.len(), MAX_SAID);
            for (index, name) in names.iter().take(MAX_SAID).enumerate() {
                problems.length(&["input", list, &index.to_string(), member], name, 1, MAX_NAME);
            }
        }
        problems.count(&["input", "without"], self.without.as_ref().map_or(0, Vec::len), MAX_SAID);
        for (index, said) in self.statuses.iter().flatten().enumerate() {
            if said.status == ItemStatus::Archived {
                let path = ["input", "statuses", &index.to_string(), "status"];
                problems.push(ProblemCode::Invalid, &path, "Items are not imported into the archive.");
            }
        }
        for (index, said) in self.people.iter().flatten().enumerate() {
            if !said.email.contains('@') {
                let path = ["input", "people", &index.to_string(), "email"];
                problems.push(ProblemCode::Invalid, &path, "Must be an e-mail address.");
            }
        }
        if let Some(label) = &self.encoding
            && Encoding::for_label(label.as_bytes()).is_none()
        {
            let message = "Must be an encoding such as utf-8, utf-16le or iso-8859-1.";
            problems.push(ProblemCode::Invalid, &["input", "encoding"], message);
        }
        if let Some(text) = &self.separator
            && let Err(message) = separator(text)
        {
            problems.push(ProblemCode::Invalid, &["input", "separator"], format!("Must be {message}."));
        }
        problems.finish()
    }

    /// The settings, which are valid.
    pub fn options(&self) -> Options {
        Options {
            format: self.format,
            source: self.source.clone(),
            map: self.map.iter().flatten().map(|said| (said.column.clone(), said.field)).collect(),
            statuses: self.statuses.iter().flatten().map(|said| (key(&said.name), said.status)).collect(),
            priorities: self.priorities.iter().flatten().map(|said| (key(&said.name), said.priority)).collect(),
            people: self.people.iter().flatten().map(|said| (fold(&said.name), said.email.trim().to_owned())).collect(),
            unknown_people: self.unknown_people,
            create_tags: self.create_tags,
            create_teams: self.create_teams,
            team: self.team.clone(),
            without: self.without.iter().flatten().copied().collect(),
            cut: self.cut,
            dates: self.dates,
            encoding: self.encoding.clone(),
            separator: self.separator.as_deref().and_then(|text| separator(text).ok()),
            archived: self.archived,
            asked_by: Asker::Api,
        }
    }
}
