//! Jira's CSV export: columns of one name stand beside each other, parents are named by number or key, comments are
//! `date;author;text`, estimates are seconds.

use std::collections::BTreeMap;

use chrono::{Duration, NaiveTime};

use super::{
    super::{
        record::{Comment, Fault},
        values::key,
    },
    Columns, Field, Found, Reading, Row, Table, Unreadable, read_rows,
};
use crate::base::clock::Instant;

const COLUMNS: &[(&str, Field)] = &[
    ("issuekey", Field::Id),
    ("summary", Field::Title),
    ("description", Field::Description),
    ("status", Field::Status),
    ("priority", Field::Priority),
    ("assignee", Field::Assignees),
    ("labels", Field::Tags),
    ("created", Field::Created),
    ("resolved", Field::Completed),
    ("duedate", Field::Due),
    ("parentkey", Field::Parent),
    ("parent", Field::Parent),
    ("parentid", Field::Parent),
];

pub fn read(table: &Table<'_>, reading: &Reading) -> Result<Found, Unreadable> {
    let columns = Columns::of(table, COLUMNS, reading)?;
    let of_name = |name: &str| -> Vec<usize> {
        table.header.iter().enumerate().filter(|(_, column)| key(column) == name).map(|(index, _)| index).collect()
    };
    let (numbers, categories, estimates) = (of_name("issueid"), of_name("statuscategory"), of_name("originalestimate"));
    let comments = of_name("comment");
    let text =
        |row: &Row, columns: &[usize]| columns.first().and_then(|column| row.fields.get(*column)).map(str::to_owned);
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    let mut found = read_rows(table, &columns, reading, |record, row| {
        if let Some(number) = text(row, &numbers) {
            keys.insert(number, record.source_id.clone());
        }
        // Statuses are each project's own; their categories are Jira's.
        let category = text(row, &categories).and_then(|category| reading.status(&category));
        let is_unknown = |fault: &Fault| fault.code == "UNKNOWN_STATUS";
        if let Some(status) = category.filter(|_| record.faults.iter().any(is_unknown)) {
            record.status = status;
            record.faults.retain(|fault| !is_unknown(fault));
        }
        // A day, which Jira writes with the time of its beginning.
        let midnight = |at: &Instant| at.with_timezone(&reading.zone).time() == NaiveTime::MIN;
        record.due_at =
            record.due_at.map(|at| if midnight(&at) { at + Duration::seconds(24 * 60 * 60 - 1) } else { at });
        let seconds = text(row, &estimates).and_then(|seconds| seconds.trim().parse::<f64>().ok());
        record.estimated_hours = seconds.filter(|seconds| *seconds > 0.0).map(|seconds| seconds / 3600.0);
        for said in comments.iter().filter_map(|column| row.fields.get(*column)).filter(|said| !said.is_empty()) {
            let mut parts = said.splitn(3, ';');
            let (Some(at), Some(author), Some(body)) = (parts.next(), parts.next(), parts.next()) else { continue };
            record.comments.push(Comment {
                source_id: format!("{} {at} {author}", record.source_id),
                author: author.to_owned(),
                at: reading.instant(at, false).ok(),
                body: body.to_owned(),
            });
        }
    })?;
    for record in &mut found.records {
        if let Some(parent) = record.parent.as_ref().and_then(|parent| keys.get(parent)) {
            record.parent = Some(parent.clone());
        }
    }
    found.also_used(&["issueid", "statuscategory", "originalestimate", "comment"]);
    found.source = "jira".to_owned();
    Ok(found)
}
