//! From a sender's body to an input: for each field a JSON pointer (RFC 6901), a default, or both. What comes out is read
//! as the API reads its arguments, so that a callback can say nothing that a client could not.

use async_graphql::{InputType, InputValueError, Pos, Value};
use jsonptr::{Pointer, resolve::Resolve as _};
use serde_json::{Map, Value as Json, json};

use crate::{
    base::{
        enums::{InboundAction, ItemStatus, Priority},
        error::{Problem, ProblemCode, Problems},
    },
    domains::{
        comments::input::{CommentCreateInput, MAX_BODY},
        items::input::{ItemCreateInput, ItemPatch},
        teams::input::MAX_DESCRIPTION,
    },
};

/// What a callback asks for.
pub enum Change {
    Create(Box<ItemCreateInput>),
    Update { item: String, patch: Box<ItemPatch> },
    Comment { item: String, body: String },
}

/// What kind of value a field takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Numbers and booleans are written out; what is too long is cut.
    Text(usize),
    Number,
    List,
}

struct Field {
    name: &'static str,
    kind: Kind,
    is_required: bool,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, is_required: false }
}

const fn required(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, is_required: true }
}

pub use crate::domains::items::input::MAX_TITLE;

const MAX_WORD: usize = 100;

const CREATE: &[Field] = &[
    required("title", Kind::Text(MAX_TITLE)),
    field("description", Kind::Text(MAX_DESCRIPTION)),
    field("status", Kind::Text(MAX_WORD)),
    field("priority", Kind::Text(MAX_WORD)),
    field("dueAt", Kind::Text(MAX_WORD)),
    field("estimatedHours", Kind::Number),
    field("teamId", Kind::Text(MAX_WORD)),
    field("parentId", Kind::Text(MAX_WORD)),
    field("assigneeIds", Kind::List),
    field("tagIds", Kind::List),
];

const UPDATE: &[Field] = &[
    required("item", Kind::Text(MAX_WORD)),
    field("title", Kind::Text(MAX_TITLE)),
    field("description", Kind::Text(MAX_DESCRIPTION)),
    field("status", Kind::Text(MAX_WORD)),
    field("priority", Kind::Text(MAX_WORD)),
    field("dueAt", Kind::Text(MAX_WORD)),
    field("estimatedHours", Kind::Number),
    field("actualHours", Kind::Number),
    field("teamId", Kind::Text(MAX_WORD)),
];

const COMMENT: &[Field] = &[required("item", Kind::Text(MAX_WORD)), required("body", Kind::Text(MAX_BODY))];

const fn fields(action: InboundAction) -> &'static [Field] {
    match action {
        InboundAction::ItemCreate => CREATE,
        InboundAction::ItemUpdate => UPDATE,
        InboundAction::CommentCreate => COMMENT,
    }
}

/// Everything that is wrong with a mapping, each at its place below `base`.
pub fn check(problems: &mut Problems, base: &[&str], action: InboundAction, mapping: Option<&Json>) {
    let known = fields(action);
    let Some(entries) = mapping.and_then(Json::as_object) else {
        problems.push(ProblemCode::Required, base, "An object from the action's fields to JSON pointers.");
        return;
    };
    for field in known.iter().filter(|field| field.is_required && !entries.contains_key(field.name)) {
        problems.push(ProblemCode::Required, &[base, &[field.name]].concat(), "The action needs this field.");
    }
    for (name, entry) in entries {
        let path = [base, &[name.as_str()]].concat();
        let Some(field) = known.iter().find(|field| field.name == name) else {
            let names: Vec<&str> = known.iter().map(|field| field.name).collect();
            let message = format!("The action has no such field; it has {}.", names.join(", "));
            problems.push(ProblemCode::Invalid, &path, message);
            continue;
        };
        check_entry(problems, &path, action, field, entry);
    }
}

fn check_entry(problems: &mut Problems, path: &[&str], action: InboundAction, field: &Field, entry: &Json) {
    let Some(entry) = entry.as_object().filter(|entry| !entry.is_empty()) else {
        problems.push(ProblemCode::Invalid, path, "An object with `pointer`, `default`, or both.");
        return;
    };
    for (key, value) in entry {
        let path = [path, &[key.as_str()]].concat();
        match (key.as_str(), value) {
            ("pointer", Json::String(pointer)) => {
                if let Err(error) = Pointer::parse(pointer) {
                    let message = format!("Not a JSON pointer such as /issue/title: {error}.");
                    problems.push(ProblemCode::Invalid, &path, message);
                }
            }
            ("pointer", _) => problems.push(ProblemCode::Invalid, &path, "A JSON pointer is a string."),
            ("default", value) => match shaped(field.kind, value) {
                // An item to change, and what is to be said, are known when they come.
                Some(value) if !["item", "body"].contains(&field.name) => {
                    if let Err(message) = read(action, &Map::from_iter([(field.name.to_owned(), value)]), true) {
                        problems.push(ProblemCode::Invalid, &path, message);
                    }
                }
                Some(_) => {}
                None => problems.push(ProblemCode::Invalid, &path, "Not a value that this field takes."),
            },
            _ => problems.push(ProblemCode::Invalid, &path, "Only `pointer` and `default` are known."),
        }
    }
}

/// What a body asks for by a mapping; else why it asks for nothing.
pub fn apply(action: InboundAction, mapping: &Json, body: &Json) -> Result<Change, String> {
    let mut found = Map::new();
    for field in fields(action) {
        let entry = &mapping[field.name];
        let pointer = entry["pointer"].as_str();
        let there = pointer.and_then(|pointer| Pointer::parse(pointer).ok()).and_then(|at| body.resolve(at).ok());
        let given = there.filter(|value| !value.is_null());
        let value = match given {
            Some(value) => Some(shaped(field.kind, value).ok_or_else(|| {
                format!("{}: what is at {} is not a value that this field takes", field.name, pointer.unwrap_or("-"))
            })?),
            // Checked when the hook was made, by the rules of then.
            None => match entry.get("default") {
                Some(value) => Some(
                    shaped(field.kind, value)
                        .ok_or_else(|| format!("{}: its default is not a value that this field takes", field.name))?,
                ),
                None => None,
            },
        };
        match (value, pointer) {
            (Some(value), _) => {
                found.insert(field.name.to_owned(), value);
            }
            (None, Some(pointer)) if field.is_required => {
                return Err(format!("{}: nothing at {pointer}, and no default", field.name));
            }
            (None, _) => {}
        }
    }
    read(action, &found, false)
}

/// A value as a field takes it.
fn shaped(kind: Kind, value: &Json) -> Option<Json> {
    match (kind, value) {
        (Kind::Text(most), Json::String(text)) => Some(cut(text, most).into()),
        (Kind::Text(_), Json::Number(number)) => Some(number.to_string().into()),
        (Kind::Text(_), Json::Bool(flag)) => Some(flag.to_string().into()),
        (Kind::Number, Json::Number(_)) => Some(value.clone()),
        // As JSON writes numbers: what it can't write (NaN, infinities) is none.
        (Kind::Number, Json::String(text)) => text.trim().parse().ok().map(Json::Number),
        (Kind::List, Json::Array(values)) => {
            let texts: Option<Vec<&str>> = values.iter().map(Json::as_str).collect();
            texts.map(Json::from)
        }
        (Kind::List, Json::String(_)) => Some(json!([value])),
        _ => None,
    }
}

/// The text, or its beginning where it is too long.
pub fn cut(text: &str, most: usize) -> String {
    let text: String = text.chars().filter(|c| *c != '\0').collect();
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Values as the API's own input reads them. `is_part`: required fields that are missing are of no matter.
fn read(action: InboundAction, values: &Map<String, Json>, is_part: bool) -> Result<Change, String> {
    let text = |name: &str| values.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let parse = |values: Map<String, Json>| Value::from_json(Json::Object(values)).map_err(|error| error.to_string());
    match action {
        InboundAction::ItemCreate => {
            let mut values = values.clone();
            if is_part {
                values.entry("title").or_insert_with(|| "-".into());
            }
            let input = ItemCreateInput::parse(Some(parse(values)?)).map_err(told)?;
            Ok(Change::Create(Box::new(input)))
        }
        InboundAction::ItemUpdate => {
            let mut patch = values.clone();
            patch.remove("item");
            let patch = ItemPatch::parse(Some(parse(patch)?)).map_err(told)?;
            Ok(Change::Update { item: text("item"), patch: Box::new(patch) })
        }
        InboundAction::CommentCreate => Ok(Change::Comment { item: text("item"), body: text("body") }),
    }
}

/// Without the names of the server's own types.
fn told<T: InputType>(error: InputValueError<T>) -> String {
    let message = error.into_server_error(Pos::default()).message;
    let message = message.split(" (occurred while parsing").next().unwrap_or_default();
    message.trim_start_matches("Failed to parse ").to_owned()
}

/// An item of this title and text.
pub fn item(title: &str, description: &str) -> ItemCreateInput {
    ItemCreateInput {
        id: None,
        title: cut(title, MAX_TITLE),
        description: Some(cut(description, MAX_DESCRIPTION).into()),
        status: ItemStatus::Todo,
        priority: Priority::Medium,
        due_at: None,
        estimated_hours: None,
        team_id: None,
        parent_id: None,
        assignee_ids: None,
        tag_ids: None,
        subtasks: None,
    }
}

/// What a comment's input is.
pub fn comment(item_id: crate::base::id::ItemId, body: &str) -> CommentCreateInput {
    CommentCreateInput { id: None, item_id, parent_id: None, body: cut(body, MAX_BODY).into() }
}

/// A problem as a receipt says it.
pub fn explain(problem: &Problem) -> String {
    let place: Vec<&str> =
        problem.path.iter().map(String::as_str).filter(|segment| !["input", "patch"].contains(segment)).collect();
    if place.is_empty() { problem.message.clone() } else { format!("{}: {}", place.join("."), problem.message) }
}
