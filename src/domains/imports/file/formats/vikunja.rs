//! `data.json` of Vikunja's export: projects with their tasks. A project is a team.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::{super::options::Setting, json, record::Comment, values::filled},
    Field, Found, Place, Reading, Record, Unreadable, check_count,
};
use crate::base::enums::{ItemStatus, Priority};

#[derive(Deserialize)]
struct Project<'t> {
    title: String,
    #[serde(default)]
    is_archived: bool,
    #[serde(default, borrow)]
    tasks: Option<Vec<&'t RawValue>>,
}

#[derive(Deserialize)]
struct Task {
    id: u64,
    title: String,
    description: Option<String>,
    #[serde(default)]
    done: bool,
    done_at: Option<String>,
    due_date: Option<String>,
    created: Option<String>,
    #[serde(default)]
    priority: u8,
    labels: Option<Vec<Label>>,
    assignees: Option<Vec<Account>>,
    related_tasks: Option<Related>,
    comments: Option<Vec<Said>>,
}

#[derive(Deserialize)]
struct Label {
    title: String,
    hex_color: Option<String>,
}

#[derive(Deserialize)]
struct Account {
    username: String,
    #[serde(default)]
    email: String,
}

impl Account {
    fn name(self) -> String {
        if self.email.is_empty() { self.username } else { self.email }
    }
}

#[derive(Deserialize)]
struct Related {
    parenttask: Option<Vec<Numbered>>,
}

#[derive(Deserialize)]
struct Numbered {
    id: u64,
}

#[derive(Deserialize)]
struct Said {
    id: u64,
    comment: String,
    author: Option<Account>,
    created: Option<String>,
}

/// A date that is set: Vikunja writes the year 1 for none.
fn set(date: Option<String>) -> String {
    date.filter(|date| !date.starts_with("0001-")).unwrap_or_default()
}

pub fn read(text: &str, reading: &Reading) -> Result<Found, Unreadable> {
    let projects: Vec<Project<'_>> = json::whole(text)?;
    let mut found = Found { source: "vikunja".to_owned(), ..Found::default() };
    let (mut archived, mut entry) = (0, 0);
    for project in projects {
        let tasks = project.tasks.unwrap_or_default();
        if project.is_archived && !reading.options.archived {
            archived += tasks.len();
            continue;
        }
        for (_, task) in json::each::<Task>(&tasks) {
            // Counted over all projects.
            entry += 1;
            match task {
                Ok(task) => {
                    let mut record = record(task, Place::Entry(entry), &mut found, reading);
                    record.team = Some(project.title.clone()).filter(|title| !title.trim().is_empty());
                    found.records.push(record);
                }
                Err(bad) => found.records.push(Record { place: Place::Entry(entry), ..*bad }),
            }
            check_count(&found.records)?;
        }
    }
    let advice = reading.options.asked_by.calls(Setting::Archived);
    found.note(archived, &format!("tasks of archived projects left out; {advice} takes them"));
    Ok(found)
}

fn record(task: Task, place: Place, found: &mut Found, reading: &Reading) -> Record {
    let mut record = Record::new(place, task.id.to_string());
    record.title = task.title;
    record.description = filled(task.description);
    reading.fill(&mut record, Field::Due, &set(task.due_date));
    reading.fill(&mut record, Field::Created, &set(task.created));
    reading.fill(&mut record, Field::Completed, &set(task.done_at));
    record.status = if task.done { ItemStatus::Done } else { ItemStatus::Todo };
    record.priority = match task.priority {
        0 | 2 => Priority::Medium,
        1 => Priority::Low,
        3 => Priority::High,
        _ => Priority::Urgent,
    };
    for label in task.labels.unwrap_or_default() {
        record.tag(label.title.clone());
        if let Some(color) = label.hex_color.filter(|color| !color.is_empty()) {
            found.colors.insert(label.title, format!("#{}", color.trim_start_matches('#')));
        }
    }
    record.assignees = task.assignees.unwrap_or_default().into_iter().map(Account::name).collect();
    let parents = task.related_tasks.and_then(|related| related.parenttask).unwrap_or_default();
    record.parent = parents.first().map(|parent| parent.id.to_string());
    record.comments = task
        .comments
        .unwrap_or_default()
        .into_iter()
        .map(|said| Comment {
            source_id: said.id.to_string(),
            author: said.author.map(Account::name).unwrap_or_default(),
            at: said.created.and_then(|at| reading.instant(&at, false).ok()),
            body: said.comment,
        })
        .collect();
    record
}
