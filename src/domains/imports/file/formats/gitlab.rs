//! Issues of GitLab: `GET /projects/:id/issues`, or the CSV that it mails.

use serde::Deserialize;

use super::{
    super::{
        super::options::Setting,
        json,
        values::{filled, key, priority_of_labels},
    },
    Columns, Field, Found, Reading, Record, Table, Unreadable, check_count, read_rows,
};

#[derive(Deserialize)]
struct Issue {
    iid: u64,
    title: String,
    description: Option<String>,
    state: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    assignees: Vec<Account>,
    created_at: Option<String>,
    closed_at: Option<String>,
    due_date: Option<String>,
    time_stats: Option<Times>,
    web_url: Option<String>,
    user_notes_count: Option<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Name(String),
    /// With `with_labels_details`.
    Named {
        name: String,
        color: Option<String>,
    },
}

#[derive(Deserialize)]
struct Account {
    username: String,
}

#[derive(Deserialize)]
struct Times {
    /// In seconds.
    time_estimate: Option<f64>,
}

/// `gitlab.com/group/project` of an issue's address.
fn project(url: &str) -> Option<&str> {
    let address = url.split_once("://")?.1;
    let (project, _) = address.split_once("/-/")?;
    Some(project)
}

fn hours(seconds: Option<f64>) -> Option<f64> {
    seconds.filter(|seconds| *seconds > 0.0).map(|seconds| seconds / 3600.0)
}

/// What issues of a project are known by, and how urgent their labels say they are.
fn finish(found: &mut Found, record: &mut Record, url: Option<&str>, reading: &Reading) {
    if let Some(priority) = priority_of_labels(record.tags.iter().map(String::as_str)) {
        record.priority = priority;
    }
    let Some(source) = url.and_then(project) else { return };
    if found.source.is_empty() {
        source.clone_into(&mut found.source);
    } else if found.source != source && reading.options.source.is_none() {
        let message = format!("An issue of {source} among those of {}: import one project at a time.", found.source);
        record.fault("INVALID", Field::Id, message);
    }
}

fn with_source(found: Found, reading: &Reading) -> Result<Found, Unreadable> {
    if found.source.is_empty()
        && reading.options.source.is_none()
        && found.records.iter().any(|record| !record.source_id.is_empty())
    {
        let message = format!(
            "Issues are numbered within their project, and the file does not say which that is: give {}.",
            reading.options.asked_by.calls(Setting::Source)
        );
        return Err(Unreadable::new("NO_SOURCE", message));
    }
    Ok(found)
}

pub fn read_json(text: &str, reading: &Reading) -> Result<Found, Unreadable> {
    let mut found = Found::default();
    let mut comments = 0;
    for (place, issue) in json::each::<Issue>(&json::entries(text)?) {
        let issue = match issue {
            Ok(issue) => issue,
            Err(bad) => {
                found.records.push(*bad);
                continue;
            }
        };
        let mut record = Record::new(place, issue.iid.to_string());
        record.title = issue.title;
        record.description = filled(issue.description);
        let mut fill =
            |field, text: Option<String>| reading.fill(&mut record, field, text.as_deref().unwrap_or_default());
        fill(Field::Status, issue.state);
        fill(Field::Created, issue.created_at);
        fill(Field::Completed, issue.closed_at);
        fill(Field::Due, issue.due_date);
        record.estimated_hours = hours(issue.time_stats.and_then(|times| times.time_estimate));
        for label in issue.labels {
            let (Label::Named { name, .. } | Label::Name(name)) = &label;
            record.tag(name.clone());
            if let Label::Named { name, color: Some(color) } = label {
                found.colors.insert(name, color);
            }
        }
        record.assignees = issue.assignees.into_iter().map(|account| account.username).collect();
        comments += issue.user_notes_count.unwrap_or_default();
        finish(&mut found, &mut record, issue.web_url.as_deref(), reading);
        found.records.push(record);
        check_count(&found.records)?;
    }
    found.note(comments, "comments left out, which this export only counts");
    with_source(found, reading)
}

const COLUMNS: &[(&str, Field)] = &[
    ("issueid", Field::Id),
    ("title", Field::Title),
    ("description", Field::Description),
    ("state", Field::Status),
    ("assigneeusername", Field::Assignees),
    ("labels", Field::Tags),
    ("duedate", Field::Due),
    ("createdatutc", Field::Created),
    ("closedatutc", Field::Completed),
];

pub fn read_table(table: &Table<'_>, reading: &Reading) -> Result<Found, Unreadable> {
    let columns = Columns::of(table, COLUMNS, reading)?;
    let of_name = |name: &str| table.header.iter().position(|column| key(column) == name);
    let (url, estimate) = (of_name("url"), of_name("timeestimate"));
    // Its times say in the header that they are in UTC.
    let reading = Reading { zone: chrono_tz::UTC, ..reading.clone() };
    let mut known = Found::default();
    let mut found = read_rows(table, &columns, &reading, |record, row| {
        let text = |column: Option<usize>| column.and_then(|column| row.fields.get(column));
        record.estimated_hours = hours(text(estimate).and_then(|seconds| seconds.trim().parse().ok()));
        finish(&mut known, record, text(url), &reading);
    })?;
    found.also_used(&["url", "timeestimate"]);
    with_source(Found { source: known.source, ..found }, &reading)
}
