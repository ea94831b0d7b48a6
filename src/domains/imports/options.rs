//! What whoever imports says besides the file, and what those settings are called where they are asked.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::Enum;
use serde::{Deserialize, Serialize};

use super::file::{dates::DateOrder, formats::Format, record::Field};
use crate::base::enums::{ItemStatus, Priority};

/// What becomes of a record that is assigned to somebody who is no active member.
#[derive(Enum, Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[graphql(name = "ImportUnknownPeople")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnknownPeople {
    /// It is bad.
    #[default]
    Fail,
    /// It is imported without them.
    Skip,
}

/// How a file is read, and how its records are held against the organization.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Options {
    /// Whose export it is; found out when left out.
    pub format: Option<Format>,
    /// What the source is called.
    pub source: Option<String>,
    /// Columns by name, each with the field that it is.
    pub map: Vec<(String, Field)>,
    /// Names of statuses and priorities in the file, by [`key`](super::file::values::key).
    pub statuses: BTreeMap<String, ItemStatus>,
    pub priorities: BTreeMap<String, Priority>,
    /// What the source calls people, by [`fold`](crate::data::db::filter::fold), and their e-mail addresses.
    pub people: BTreeMap<String, String>,
    pub unknown_people: UnknownPeople,
    pub create_tags: bool,
    pub create_teams: bool,
    /// The team of records that name none.
    pub team: Option<String>,
    /// Fields that are left out.
    pub without: BTreeSet<Field>,
    /// Whether texts that are too long are shortened.
    pub cut: bool,
    /// What 1/2/2026 means, where the file doesn't show it.
    pub dates: Option<DateOrder>,
    /// How the file is encoded; found out when left out.
    pub encoding: Option<String>,
    /// What separates columns; found out when left out.
    pub separator: Option<char>,
    /// Whether records that the source has archived are taken.
    pub archived: bool,
    pub asked_by: Asker,
}

/// Where the settings are said, and so what messages call them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asker {
    #[default]
    Api,
    Command,
}

/// A setting that a message advises.
#[derive(Clone, Copy, Debug)]
pub enum Setting<'s> {
    Archived,
    CreateTags,
    CreateTeams,
    Cut,
    Dates,
    Encoding,
    Map,
    /// Somebody's name in the file.
    Person(&'s str),
    Priority(&'s str),
    SkipPeople,
    Source,
    Status(&'s str),
    Without(Field),
}

impl Asker {
    /// What a setting is called: `--create-tags`, `createTags`.
    pub fn calls(self, setting: Setting<'_>) -> String {
        let of_name = |option: &str, field: &str, value: &str, name: &str| match self {
            Self::Command => format!("{option} {:?}", format!("{name}={value}")),
            Self::Api => format!("`{field}`, with the name {name:?},"),
        };
        let (option, field) = match setting {
            Setting::Archived => ("--archived", "archived"),
            Setting::CreateTags => ("--create-tags", "createTags"),
            Setting::CreateTeams => ("--create-teams", "createTeams"),
            Setting::Cut => ("--cut", "cut"),
            Setting::Dates => ("--dates dmy or --dates mdy", "dates"),
            Setting::Encoding => ("--encoding", "encoding"),
            Setting::Map => ("--map NAME=title", "map"),
            Setting::SkipPeople => ("--unknown-people skip", "unknownPeople: SKIP"),
            Setting::Source => ("--source", "source"),
            Setting::Person(name) => return of_name("--person", "people", "ADDRESS", name),
            Setting::Priority(name) => return of_name("--priority", "priorities", "HIGH", name),
            Setting::Status(name) => return of_name("--status", "statuses", "IN_PROGRESS", name),
            Setting::Without(field) => {
                return match self {
                    Self::Command => format!("--without {}", field.name()),
                    Self::Api => format!("`without: {}`", field.name().to_uppercase()),
                };
            }
        };
        match self {
            Self::Command => option.to_owned(),
            Self::Api => format!("`{field}`"),
        }
    }
}

/// What separates columns: a character by itself, or `tab`. The error says what is one.
pub fn separator(text: &str) -> Result<char, &'static str> {
    match text {
        "tab" | "\\t" => Ok('\t'),
        _ => match text.as_bytes() {
            [byte @ (b' '..=b'~' | b'\t')] if !byte.is_ascii_alphanumeric() && *byte != b'"' => Ok(char::from(*byte)),
            _ => Err("one character of ASCII, or `tab`"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_called_as_they_are_asked_for() {
        let calls = |setting| [Asker::Command, Asker::Api].map(|asker| asker.calls(setting));
        assert_eq!(calls(Setting::CreateTags), ["--create-tags", "`createTags`"]);
        assert_eq!(calls(Setting::Without(Field::Parent)), ["--without parent", "`without: PARENT`"]);
        let status = calls(Setting::Status("Waiting"));
        assert_eq!(status, ["--status \"Waiting=IN_PROGRESS\"", "`statuses`, with the name \"Waiting\","]);
    }

    #[test]
    fn options_are_kept_as_json() {
        let options = Options {
            map: vec![("Titel".to_owned(), Field::Title)],
            statuses: BTreeMap::from([("wartet".to_owned(), ItemStatus::InReview)]),
            without: BTreeSet::from([Field::Due]),
            separator: Some(';'),
            ..Options::default()
        };
        let kept = serde_json::to_value(&options).expect("JSON");
        assert_eq!(serde_json::from_value::<Options>(kept).expect("options"), options);
        // What a later release says besides, or an earlier one did not say, is no error.
        let other = serde_json::json!({ "cut": true, "later": 1 });
        assert!(serde_json::from_value::<Options>(other).expect("options").cut);
    }
}
