//! JSON: an array of records, read one by one, so that one that is not as it should be is told apart from the others.

use serde::{
    Deserialize, Deserializer as _,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Deserializer, value::RawValue};

use super::record::{Place, Record, Unreadable};

/// Whether a text is JSON rather than a table.
pub fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// The names in the object, or in the first object of the array, that a text is.
pub fn names(text: &str) -> Result<Vec<String>, Unreadable> {
    let mut reader = Deserializer::from_str(text);
    reader.deserialize_any(First).map_err(|error| not_json(&error))
}

struct First;

impl<'de> Visitor<'de> for First {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object, or an array of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = map.next_entry()? {
            names.push(name);
        }
        Ok(names)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<String>, A::Error> {
        let first = entries.next_element::<&RawValue>()?;
        while entries.next_element::<IgnoredAny>()?.is_some() {}
        let first = first.filter(|entry| entry.get().starts_with('{'));
        Ok(first.and_then(|entry| Deserializer::from_str(entry.get()).deserialize_any(First).ok()).unwrap_or_default())
    }
}

fn not_json(error: &serde_json::Error) -> Unreadable {
    Unreadable::new("NOT_JSON", format!("The file can't be read as JSON: {error}."))
}

/// One value that is the whole text.
pub fn whole<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error| not_json(&error))
}

/// The elements of one array, or of several one after the other, as tools write that fetch page by page.
pub fn entries(text: &str) -> Result<Vec<&RawValue>, Unreadable> {
    let mut all = Vec::new();
    for page in Deserializer::from_str(text).into_iter::<Vec<&RawValue>>() {
        all.extend(page.map_err(|error| not_json(&error))?);
    }
    Ok(all)
}

/// Each entry as a `T`, with its place; or a record that says why it is none.
pub fn each<T: DeserializeOwned>(entries: &[&RawValue]) -> impl Iterator<Item = (Place, Result<T, Box<Record>>)> {
    entries.iter().enumerate().map(|(index, entry)| {
        let place = Place::Entry(index + 1);
        let read = serde_json::from_str(entry.get()).map_err(|error| {
            let mut record = Record::new(place, String::new());
            record.fault("NOT_READABLE", None, format!("Not as this format has it: {error}."));
            Box::new(record)
        });
        (place, read)
    })
}
