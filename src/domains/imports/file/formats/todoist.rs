//! A Todoist project's CSV: one line a task, section or note; tasks are indented, and labels stand in their text. It has
//! no ids: tasks are told apart by their place under their parents and their text.

use std::collections::BTreeMap;

use super::{
    super::{dates::NoDate, record::Comment, values::key},
    Field, Found, Place, Reading, Record, Row, Table, Unreadable, bad_row, check_count,
};
use crate::base::enums::Priority;

/// `Ann (14781400)` without the number.
fn person(text: &str) -> &str {
    text.rsplit_once(" (").filter(|(_, number)| number.ends_with(')')).map_or(text, |(name, _)| name).trim()
}

/// The text without its labels, which begin with `@`, and these.
fn labels(content: &str) -> (String, Vec<String>) {
    let is_label = |word: &&str| word.len() > 1 && word.starts_with('@');
    let labels = content.split_whitespace().filter(is_label).map(|word| word[1..].to_owned()).collect::<Vec<_>>();
    if labels.is_empty() {
        return (content.to_owned(), labels);
    }
    (content.split_whitespace().filter(|word| !is_label(word)).collect::<Vec<_>>().join(" "), labels)
}

pub fn read(table: &Table<'_>, reading: &Reading) -> Result<Found, Unreadable> {
    let of_name = |name: &str| table.header.iter().position(|column| key(column) == name);
    let names = ["type", "content", "description", "priority", "indent", "responsible", "date", "deadline", "author"];
    let columns = names.map(of_name);
    let mut found = Found { source: reading.file_name.clone(), ..Found::default() };
    for (name, field) in
        [(1, Field::Title), (2, Field::Description), (3, Field::Priority), (5, Field::Assignees), (6, Field::Due)]
    {
        if let Some(column) = columns[name] {
            found.columns.insert(field, vec![table.header[column].clone()]);
        }
    }
    // Records above the next one, by indentation.
    let mut above: Vec<String> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let (mut sections, mut recurring, mut others) = (0, 0, 0);
    table.each(|row| {
        let row: Row = match row {
            Ok(row) => row,
            Err(bad) => {
                found.records.push(bad_row(bad));
                return Ok(());
            }
        };
        let [kind, content, description, priority, indent, responsible, date, deadline, author] =
            columns.map(|column| column.and_then(|column| row.fields.get(column)).unwrap_or_default());
        match kind.trim() {
            "task" => {}
            "note" => {
                if let Some(record) = found.records.last_mut() {
                    record.comments.push(Comment {
                        source_id: format!("{}/{}", record.source_id, record.comments.len() + 1),
                        author: person(author).to_owned(),
                        at: reading.instant(date, false).ok(),
                        body: content.to_owned(),
                    });
                }
                return Ok(());
            }
            "section" => {
                sections += 1;
                return Ok(());
            }
            _ => {
                others += 1;
                return Ok(());
            }
        }
        let mut record = Record::new(Place::Line(row.line), String::new());
        let (title, tags) = labels(content);
        record.title = title;
        tags.into_iter().for_each(|tag| record.tag(tag));
        reading.fill(&mut record, Field::Description, description);
        record.priority = match priority.trim() {
            "1" => Priority::Urgent,
            "2" => Priority::High,
            "3" => Priority::Medium,
            "4" | "" => Priority::Low,
            _ => {
                record.fault("UNKNOWN_PRIORITY", Field::Priority, "Todoist's priorities are 1 to 4.");
                Priority::Medium
            }
        };
        if !responsible.trim().is_empty() {
            record.assignees.push(person(responsible).to_owned());
        }
        // A date may be words, `every day`: those are left out.
        let due = if deadline.trim().is_empty() { date } else { deadline };
        match reading.instant(due, true) {
            Ok(due) => record.due_at = Some(due),
            Err(_) if due.trim().is_empty() => {}
            Err(NoDate::Unknown) => recurring += 1,
            Err(_) => reading.fill(&mut record, Field::Due, due),
        }
        let level = indent.trim().parse::<usize>().unwrap_or(1).clamp(1, above.len() + 1);
        above.truncate(level - 1);
        record.parent = above.last().cloned();
        let path = format!("{}/{}", record.parent.as_deref().unwrap_or_default(), key(content));
        let count = seen.entry(path.clone()).or_default();
        *count += 1;
        record.source_id = if *count == 1 { path } else { format!("{path}#{count}") };
        above.push(record.source_id.clone());
        found.records.push(record);
        check_count(&found.records)
    })?;
    found.note(sections, "sections left out; their tasks are taken");
    found.note(recurring, "due dates left out that are words, such as those of tasks that come again");
    found.note(others, "lines left out that are neither task, section nor note");
    Ok(found)
}
