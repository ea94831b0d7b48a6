//! Any table with a header, by the names that people give to columns.

use std::collections::BTreeMap;

use super::{Columns, Field, Found, Reading, Table, Unreadable, key, read_rows};

/// Names by [`key`], the first of a field before the others.
const COLUMNS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("key", Field::Id),
    ("identifier", Field::Id),
    ("taskid", Field::Id),
    ("issueid", Field::Id),
    ("externalid", Field::Id),
    ("uid", Field::Id),
    ("number", Field::Id),
    ("title", Field::Title),
    ("summary", Field::Title),
    ("name", Field::Title),
    ("task", Field::Title),
    ("taskname", Field::Title),
    ("subject", Field::Title),
    ("content", Field::Title),
    ("todo", Field::Title),
    ("description", Field::Description),
    ("desc", Field::Description),
    ("details", Field::Description),
    ("body", Field::Description),
    ("notes", Field::Description),
    ("note", Field::Description),
    ("status", Field::Status),
    ("state", Field::Status),
    ("stage", Field::Status),
    ("priority", Field::Priority),
    ("urgency", Field::Priority),
    ("importance", Field::Priority),
    ("due", Field::Due),
    ("duedate", Field::Due),
    ("dueat", Field::Due),
    ("dueon", Field::Due),
    ("deadline", Field::Due),
    ("estimate", Field::Estimate),
    ("estimatedhours", Field::Estimate),
    ("estimatehours", Field::Estimate),
    ("hours", Field::Estimate),
    ("created", Field::Created),
    ("createdat", Field::Created),
    ("createdon", Field::Created),
    ("datecreated", Field::Created),
    ("creationdate", Field::Created),
    ("started", Field::Started),
    ("startedat", Field::Started),
    ("startedon", Field::Started),
    ("completed", Field::Completed),
    ("completedat", Field::Completed),
    ("completedon", Field::Completed),
    ("datecompleted", Field::Completed),
    ("completiondate", Field::Completed),
    ("closedat", Field::Completed),
    ("done", Field::Completed),
    ("doneat", Field::Completed),
    ("resolved", Field::Completed),
    ("finished", Field::Completed),
    ("assignees", Field::Assignees),
    ("assignee", Field::Assignees),
    ("assignedto", Field::Assignees),
    ("assigneeemail", Field::Assignees),
    ("owner", Field::Assignees),
    ("responsible", Field::Assignees),
    ("email", Field::Assignees),
    ("tags", Field::Tags),
    ("tag", Field::Tags),
    ("labels", Field::Tags),
    ("label", Field::Tags),
    ("categories", Field::Tags),
    ("category", Field::Tags),
    ("team", Field::Team),
    ("group", Field::Team),
    ("department", Field::Team),
    ("parent", Field::Parent),
    ("parentid", Field::Parent),
    ("parenttask", Field::Parent),
    ("parentkey", Field::Parent),
];

pub fn read(table: &Table<'_>, reading: &Reading) -> Result<Found, Unreadable> {
    let columns = Columns::of(table, COLUMNS, reading)?;
    let mut found = read_rows(table, &columns, reading, |_, _| ())?;
    let has_ids = found.columns.contains_key(&Field::Id);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for record in found.records.iter_mut().filter(|record| record.faults.is_empty()) {
        if has_ids {
            if record.source_id.is_empty() {
                record.fault(
                    "REQUIRED",
                    Field::Id,
                    "Must not be empty: it tells whether the record was imported before.",
                );
            }
            continue;
        }
        // Told apart by title, and the first of a title from the second.
        let title = key(&record.title);
        let count = seen.entry(title.clone()).or_default();
        *count += 1;
        record.source_id = format!("{title}#{count}");
    }
    if !has_ids && !found.records.is_empty() {
        found.notes.push("no column is the id: records are told apart by their titles".to_owned());
    }
    found.source.clone_from(&reading.file_name);
    Ok(found)
}
