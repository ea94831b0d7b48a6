//! From a file's bytes to records: its encoding ([`text`]), its shape (`json`, `table`), whose export it is ([`formats`]),
//! and what its values say ([`values`], [`dates`]). Knows nothing of the organization.

pub mod dates;
pub mod formats;
mod json;
pub mod record;
mod table;
pub mod text;
pub mod values;

use formats::Format;
use record::{Found, Unreadable};
use values::Reading;

/// A file that was read, and how.
#[derive(Debug)]
pub struct ReadFile {
    pub format: Format,
    /// `UTF-8`, with how it was found out where that is not certain.
    pub encoding: String,
    /// Of a table.
    pub separator: Option<char>,
    pub found: Found,
}

/// Reads a file as a whole. Takes as long as the file is large: not on a thread that answers requests.
pub fn read(bytes: Vec<u8>, reading: &Reading) -> Result<ReadFile, Unreadable> {
    let text::Text { text, encoding } = text::decode(bytes, &reading.options)?;
    let (format, separator, found) = formats::read(&text, reading)?;
    Ok(ReadFile { format, encoding, separator, found })
}
