//! Linear's CSV export. Estimates are points, not hours, and are left out.

use super::{Columns, Field, Found, Reading, Table, Unreadable, key, read_rows};

const COLUMNS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("team", Field::Team),
    ("title", Field::Title),
    ("description", Field::Description),
    ("status", Field::Status),
    ("priority", Field::Priority),
    ("assignee", Field::Assignees),
    ("labels", Field::Tags),
    ("created", Field::Created),
    ("started", Field::Started),
    ("completed", Field::Completed),
    ("duedate", Field::Due),
    ("parentissue", Field::Parent),
];

pub fn read(table: &Table<'_>, reading: &Reading) -> Result<Found, Unreadable> {
    let columns = Columns::of(table, COLUMNS, reading)?;
    let canceled = table.header.iter().position(|column| key(column) == "canceled");
    let mut found = read_rows(table, &columns, reading, |record, row| {
        // What is canceled is done with.
        let canceled = canceled.and_then(|column| row.fields.get(column)).unwrap_or_default();
        reading.fill(record, Field::Completed, canceled);
    })?;
    found.also_used(&["canceled"]);
    Ok(Found { source: "linear".to_owned(), ..found })
}
