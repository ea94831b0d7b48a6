//! Issues of GitHub: `GET /repos/{owner}/{repo}/issues`, or `gh issue list --json`. Pull requests are left out. What a
//! milestone is due on, an issue is.

use serde::Deserialize;

use super::{
    super::{
        super::options::Setting,
        json,
        record::Comment,
        values::{filled, priority_of_labels},
    },
    Field, Found, Reading, Record, Unreadable, check_count,
};

#[derive(Deserialize)]
struct Issue {
    number: u64,
    title: String,
    body: Option<String>,
    state: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    assignees: Vec<Account>,
    #[serde(alias = "createdAt")]
    created_at: Option<String>,
    #[serde(alias = "closedAt")]
    closed_at: Option<String>,
    milestone: Option<Milestone>,
    comments: Option<Comments>,
    html_url: Option<String>,
    url: Option<String>,
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Named { name: String, color: Option<String> },
    Name(String),
}

#[derive(Deserialize)]
struct Account {
    login: String,
}

#[derive(Deserialize)]
struct Milestone {
    #[serde(alias = "dueOn")]
    due_on: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Comments {
    /// The REST API says how many.
    Count(u64),
    All(Vec<Said>),
}

#[derive(Deserialize)]
struct Said {
    id: String,
    author: Option<Account>,
    body: String,
    #[serde(rename = "createdAt")]
    created_at: Option<String>,
}

/// `github.com/owner/repo` of an issue's address.
fn repository(url: &str) -> Option<&str> {
    let (repository, _) = url.strip_prefix("https://")?.split_once("/issues/")?;
    Some(repository)
}

pub fn read(text: &str, reading: &Reading) -> Result<Found, Unreadable> {
    let mut found = Found::default();
    let (mut pulls, mut unread_comments) = (0, 0);
    for (place, issue) in json::each::<Issue>(&json::entries(text)?) {
        let issue = match issue {
            Ok(issue) => issue,
            Err(bad) => {
                found.records.push(*bad);
                continue;
            }
        };
        if issue.pull_request.is_some() {
            pulls += 1;
            continue;
        }
        let mut record = Record::new(place, issue.number.to_string());
        record.title = issue.title;
        record.description = filled(issue.body);
        let mut fill =
            |field, text: Option<String>| reading.fill(&mut record, field, text.as_deref().unwrap_or_default());
        fill(Field::Status, issue.state);
        fill(Field::Created, issue.created_at);
        fill(Field::Completed, issue.closed_at);
        fill(Field::Due, issue.milestone.and_then(|milestone| milestone.due_on));
        for label in issue.labels {
            let (Label::Named { name, .. } | Label::Name(name)) = &label;
            record.tag(name.clone());
            if let Label::Named { name, color: Some(color) } = label {
                found.colors.insert(name, format!("#{}", color.trim_start_matches('#')));
            }
        }
        if let Some(priority) = priority_of_labels(record.tags.iter().map(String::as_str)) {
            record.priority = priority;
        }
        record.assignees = issue.assignees.into_iter().map(|account| account.login).collect();
        match issue.comments {
            Some(Comments::All(comments)) => record.comments.extend(comments.into_iter().map(|said| Comment {
                source_id: said.id,
                author: said.author.map_or_else(|| "ghost".to_owned(), |author| author.login),
                at: said.created_at.and_then(|at| reading.instant(&at, false).ok()),
                body: said.body,
            })),
            Some(Comments::Count(count)) => unread_comments += count,
            None => {}
        }
        let of_issue = issue.html_url.as_deref().or(issue.url.as_deref()).and_then(repository);
        match (of_issue, found.source.is_empty()) {
            (Some(source), true) => source.clone_into(&mut found.source),
            (Some(source), false) if source != found.source && reading.options.source.is_none() => {
                let message =
                    format!("An issue of {source} among those of {}: import one repository at a time.", found.source);
                record.fault("INVALID", Field::Id, message);
            }
            _ => {}
        }
        found.records.push(record);
        check_count(&found.records)?;
    }
    if found.source.is_empty()
        && reading.options.source.is_none()
        && found.records.iter().any(|record| !record.source_id.is_empty())
    {
        let message = format!(
            "Issues are numbered within their repository, and the file does not say which that is: export with `url` \
             among the fields of --json, or give OWNER/REPO by {}.",
            reading.options.asked_by.calls(Setting::Source)
        );
        return Err(Unreadable::new("NO_SOURCE", message));
    }
    found.note(pulls, "pull requests left out");
    if unread_comments > 0 {
        let note = "comments left out, which this export only counts: `gh issue list --json …,comments` has them";
        found.notes.push(format!("{unread_comments} {note}"));
    }
    Ok(found)
}
