//! A Trello board's JSON. Lists are statuses where their names say so; what checklists have to do are subtasks. Cards that
//! are archived, or in an archived list, are left out unless they are asked for.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::{super::options::Setting, json, record::Comment, values::filled},
    Field, Found, Reading, Record, Unreadable, check_count,
};
use crate::base::{clock::Instant, enums::ItemStatus};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Board<'t> {
    id: String,
    #[serde(borrow)]
    cards: Vec<&'t RawValue>,
    lists: Vec<List>,
    #[serde(default)]
    members: Vec<Member>,
    #[serde(default)]
    checklists: Vec<Checklist>,
    #[serde(default, borrow)]
    actions: Vec<&'t RawValue>,
}

#[derive(Deserialize)]
struct List {
    id: String,
    name: String,
    #[serde(default)]
    closed: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    id: String,
    full_name: Option<String>,
    username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checklist {
    id: String,
    name: String,
    #[serde(default)]
    check_items: Vec<CheckItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CheckItem {
    id: String,
    name: String,
    state: String,
    due: Option<String>,
    id_member: Option<String>,
    #[serde(default)]
    pos: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Card {
    id: String,
    name: String,
    desc: Option<String>,
    #[serde(default)]
    closed: bool,
    id_list: String,
    due: Option<String>,
    #[serde(default)]
    due_complete: bool,
    #[serde(default)]
    id_members: Vec<String>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    id_checklists: Vec<String>,
}

#[derive(Deserialize)]
struct Label {
    name: String,
    color: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    id: String,
    r#type: String,
    date: Option<String>,
    member_creator: Option<Member>,
    #[serde(default)]
    data: ActionData,
}

#[derive(Default, Deserialize)]
struct ActionData {
    text: Option<String>,
    card: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// Trello's ids begin with the second in which they were made.
fn made_at(id: &str) -> Option<Instant> {
    let seconds = i64::from_str_radix(id.get(..8)?, 16).ok()?;
    DateTime::from_timestamp(seconds, 0)
}

/// Comments by card.
fn comments(actions: &[&RawValue], reading: &Reading) -> BTreeMap<String, Vec<Comment>> {
    let mut comments: BTreeMap<String, Vec<Comment>> = BTreeMap::new();
    // Newest first in the file.
    for action in actions.iter().rev().filter_map(|action| serde_json::from_str::<Action>(action.get()).ok()) {
        let Action { id, r#type, date, member_creator, data: ActionData { text: Some(body), card: Some(card) } } =
            action
        else {
            continue;
        };
        if r#type == "commentCard" {
            let author = member_creator.map_or_else(String::new, |member| member.full_name.unwrap_or(member.username));
            let at = date.and_then(|date| reading.instant(&date, false).ok());
            comments.entry(card.id).or_default().push(Comment { source_id: id, author, at, body });
        }
    }
    comments
}

pub fn read(text: &str, reading: &Reading) -> Result<Found, Unreadable> {
    let board: Board<'_> = json::whole(text)?;
    let mut found = Found { source: format!("trello.com/{}", board.id), ..Found::default() };
    let lists: BTreeMap<&str, &List> = board.lists.iter().map(|list| (list.id.as_str(), list)).collect();
    let members: BTreeMap<&str, &str> =
        board.members.iter().map(|member| (member.id.as_str(), member.username.as_str())).collect();
    let checklists: BTreeMap<&str, &Checklist> = board.checklists.iter().map(|list| (list.id.as_str(), list)).collect();
    let mut comments = comments(&board.actions, reading);
    let mut archived = 0;
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, card) in json::each::<Card>(&board.cards) {
        let card = match card {
            Ok(card) => card,
            Err(bad) => {
                found.records.push(*bad);
                continue;
            }
        };
        let list = lists.get(card.id_list.as_str());
        let is_archived = card.closed || list.is_some_and(|list| list.closed);
        if is_archived && !reading.options.archived {
            archived += 1;
            continue;
        }
        let mut record = Record::new(place, card.id.clone());
        record.title = card.name;
        record.description = filled(card.desc);
        record.created_at = made_at(&card.id).filter(|at| *at <= reading.now);
        reading.fill(&mut record, Field::Due, card.due.as_deref().unwrap_or_default());
        record.status = match list.and_then(|list| reading.status(&list.name)) {
            _ if card.due_complete || is_archived => ItemStatus::Done,
            Some(status) => status,
            None => {
                *others.entry(list.map_or("", |list| list.name.as_str())).or_default() += 1;
                ItemStatus::Todo
            }
        };
        for label in card.labels {
            // Many have a color alone.
            let name = if label.name.is_empty() { label.color.unwrap_or_default() } else { label.name };
            record.tag(name);
        }
        record.assignees =
            card.id_members.iter().map(|id| members.get(id.as_str()).map_or(id.clone(), ToString::to_string)).collect();
        record.comments = comments.remove(&card.id).unwrap_or_default();
        found.records.push(record);
        let of_card: Vec<&Checklist> =
            card.id_checklists.iter().filter_map(|id| checklists.get(id.as_str()).copied()).collect();
        for checklist in &of_card {
            let mut entries: Vec<&CheckItem> = checklist.check_items.iter().collect();
            entries.sort_by(|a, b| a.pos.total_cmp(&b.pos));
            for entry in entries {
                let mut subtask = Record::new(place, format!("{}/{}", checklist.id, entry.id));
                // Of several checklists each entry says which it is of.
                subtask.title =
                    if of_card.len() > 1 { format!("{}: {}", checklist.name, entry.name) } else { entry.name.clone() };
                subtask.parent = Some(card.id.clone());
                subtask.created_at = made_at(&entry.id).filter(|at| *at <= reading.now);
                reading.fill(&mut subtask, Field::Due, entry.due.as_deref().unwrap_or_default());
                if entry.state == "complete" {
                    subtask.status = ItemStatus::Done;
                }
                subtask.assignees = entry
                    .id_member
                    .iter()
                    .map(|id| members.get(id.as_str()).map_or(id.clone(), ToString::to_string))
                    .collect();
                found.records.push(subtask);
            }
        }
        check_count(&found.records)?;
    }
    let calls = |setting| reading.options.asked_by.calls(setting);
    found.note(archived, &format!("archived cards left out; {} takes them, as DONE", calls(Setting::Archived)));
    for (list, count) in others {
        let advice = calls(Setting::Status(list));
        found.note(count, &format!("cards of the list {list:?} taken as TODO; {advice} says otherwise"));
    }
    Ok(found)
}
