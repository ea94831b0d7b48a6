//! Tables: CSV with whatever separator, row by row, each with the line that it begins in.

use csv::{ReaderBuilder, StringRecord};

use super::record::Unreadable;

/// Columns of a table at most.
pub const MAX_COLUMNS: usize = 1_000;
/// Bytes of a field at most. The longest text that is taken has 50,000 characters.
const MAX_FIELD: usize = 256 * 1024;
/// Bytes of the beginning that the header lies in, and by which the separator is found out: a field of a row takes several
/// times its separator's room in memory.
const BEGINNING: usize = 1024 * 1024;

/// A table: its header, and its rows still to be read.
pub struct Table<'t> {
    text: &'t str,
    /// The line that `text` begins in.
    first_line: usize,
    pub separator: char,
    pub header: Vec<String>,
}

/// A row with as many fields as the header has.
pub struct Row {
    pub line: usize,
    pub fields: StringRecord,
}

/// A row that can't be read.
#[derive(Debug)]
pub struct BadRow {
    pub line: usize,
    pub code: &'static str,
    pub message: String,
}

const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];

impl<'t> Table<'t> {
    /// A table whose separator is what gives its first rows the same number of fields, the most of them.
    pub fn of(text: &'t str, separator: Option<char>) -> Result<Self, Unreadable> {
        // Spreadsheets write what separates into a line of its own.
        let (said, text, first_line) = match text.strip_prefix("sep=").and_then(|rest| rest.split_once('\n')) {
            Some((said, rest)) => (said.chars().next(), rest, 2),
            None => (None, text, 1),
        };
        let separator = separator.or(said).unwrap_or_else(|| best_separator(text));
        let mut first = StringRecord::new();
        let mut reader = reader(beginning(text), separator);
        loop {
            if !reader.read_record(&mut first).map_err(|error| unreadable(&error))? {
                return Err(Unreadable::new("EMPTY", "There is no line with the names of the columns."));
            }
            if !is_blank(&first) {
                break;
            }
        }
        if first.len() > MAX_COLUMNS {
            let message = format!("More than {MAX_COLUMNS} columns; no more are read.");
            return Err(Unreadable::new("TOO_MANY_COLUMNS", message));
        }
        let header = first.iter().map(|name| name.trim().to_owned()).collect();
        Ok(Self { text, first_line, separator, header })
    }

    /// Reads the rows in turn.
    pub fn each(&self, mut row: impl FnMut(Result<Row, BadRow>) -> Result<(), Unreadable>) -> Result<(), Unreadable> {
        let mut reader = reader(self.text, self.separator);
        let mut lines = Lines { text: self.text.as_bytes(), place: 0, line: self.first_line };
        let mut is_header = true;
        loop {
            let mut fields = StringRecord::new();
            let begin = position(&reader);
            if !reader.read_record(&mut fields).map_err(|error| unreadable(&error))? {
                return Ok(());
            }
            if is_blank(&fields) {
                continue;
            }
            if std::mem::take(&mut is_header) {
                continue;
            }
            let line = lines.at(begin);
            let end = position(&reader);
            row(self.checked(line, &lines.text[lines.place..end], fields, end == self.text.len()))?;
        }
    }

    fn checked(&self, line: usize, raw: &[u8], mut fields: StringRecord, is_last: bool) -> Result<Row, BadRow> {
        let bad = |code, message: String| Err(BadRow { line, code, message });
        if is_last && !is_closed(raw, self.separator) {
            return bad(
                "UNCLOSED_QUOTE",
                "A quote is opened and never closed: the rest of the file is in it.".to_owned(),
            );
        }
        if fields.iter().any(|field| field.len() > MAX_FIELD) {
            return bad(
                "FIELD_TOO_LONG",
                format!("A field has more than {MAX_FIELD} bytes; a quote may be left open."),
            );
        }
        let (found, wanted) = (fields.len(), self.header.len());
        // Spreadsheets leave separators behind where nothing follows.
        if found > wanted && fields.iter().skip(wanted).all(|field| field.trim().is_empty()) {
            fields.truncate(wanted);
        } else if found != wanted {
            let breaks = raw.iter().filter(|byte| **byte == b'\n').count();
            let open = if breaks > 1 { "; a quote may be left open, for it goes over several lines" } else { "" };
            return bad("BROKEN_LINE", format!("{found} column(s), where the header has {wanted}{open}."));
        }
        Ok(Row { line, fields })
    }
}

fn reader(text: &str, separator: char) -> csv::Reader<&[u8]> {
    // One of four that are a byte each.
    let separator = u8::try_from(separator).unwrap_or(b',');
    ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(text.as_bytes())
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(BEGINNING)]
}

fn position(reader: &csv::Reader<&[u8]>) -> usize {
    usize::try_from(reader.position().byte()).unwrap_or(usize::MAX)
}

fn is_blank(fields: &StringRecord) -> bool {
    fields.iter().all(|field| field.trim().is_empty())
}

fn unreadable(error: &csv::Error) -> Unreadable {
    Unreadable::new("NOT_CSV", format!("The table can't be read: {error}."))
}

/// How many fields each of the first rows has, by the separator that makes most of it.
fn best_separator(text: &str) -> char {
    let score = |separator: char| {
        let mut counts = Vec::new();
        for fields in reader(beginning(text), separator).into_records().take(20).filter_map(Result::ok) {
            if !is_blank(&fields) {
                counts.push(fields.len());
            }
        }
        let header = counts.first().copied().unwrap_or_default();
        let same = counts.iter().filter(|count| **count == header).count();
        // A separator that is not there gives all rows one field.
        if header < 2 { (0, 0) } else { (same * 100 / counts.len(), header) }
    };
    // Of equals the last would win; the comma is to.
    SEPARATORS.into_iter().rev().max_by_key(|separator| score(*separator)).unwrap_or(',')
}

/// Counts lines up to a place. The csv crate's own count is one too low once lines end with CR LF, whose LF it reads with
/// the next row.
struct Lines<'t> {
    text: &'t [u8],
    place: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line of the first byte from `place` on that ends none; moves there. Places must not go back.
    fn at(&mut self, place: usize) -> usize {
        let ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let begin = place + self.text[place..].iter().take_while(|byte| ends(byte)).count();
        for at in self.place..begin {
            let is_end = match self.text[at] {
                b'\n' => true,
                b'\r' => self.text.get(at + 1) != Some(&b'\n'),
                _ => false,
            };
            self.line += usize::from(is_end);
        }
        self.place = begin;
        self.line
    }
}

/// Whether every quote that a row opens is closed.
fn is_closed(raw: &[u8], separator: char) -> bool {
    let (mut is_open, mut begins) = (false, true);
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if is_open && bytes.peek() == Some(&b'"') => {
                bytes.next();
            }
            b'"' if is_open => is_open = false,
            b'"' if begins => is_open = true,
            _ => {}
        }
        begins = !is_open && (char::from(byte) == separator || byte == b'\n' || byte == b'\r');
    }
    !is_open
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line and fields of each row, or line and code.
    fn rows(text: &str) -> Vec<(usize, String)> {
        let table = Table::of(text, None).expect("a table");
        let mut rows = Vec::new();
        table
            .each(|row| {
                rows.push(match row {
                    Ok(row) => (row.line, row.fields.iter().collect::<Vec<_>>().join("|")),
                    Err(bad) => (bad.line, bad.code.to_owned()),
                });
                Ok(())
            })
            .expect("rows");
        rows
    }

    fn row(line: usize, text: &str) -> (usize, String) {
        (line, text.to_owned())
    }

    #[test]
    fn rows_have_their_lines_whatever_ends_them() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["a,b", "1,2", "", "\"x", "y\",3", "4,5,,", "6", "7,8"].join(end);
            let inside = format!("x{end}y|3");
            let wanted = [row(2, "1|2"), row(4, &inside), row(6, "4|5"), row(7, "BROKEN_LINE"), row(8, "7|8")];
            assert_eq!(rows(&text), wanted, "{end:?}");
        }
    }

    #[test]
    fn a_quote_left_open_is_said() {
        assert_eq!(rows("a,b\n1,2\n3,\"4\n5,6\n"), [row(2, "1|2"), row(3, "UNCLOSED_QUOTE")]);
        assert_eq!(rows("a,b\n1,5\" pipe\n"), [row(2, "1|5\" pipe")]);
        assert_eq!(rows("a,b\n1,\"say \"\"hi\"\"\"\n"), [row(2, "1|say \"hi\"")]);
    }

    #[test]
    fn separators_are_found_out() {
        for (text, separator) in [
            ("title,due\nA;B,2\n", ','),
            ("title;due\nA,B,C;2\n", ';'),
            ("title\tdue\na,b\t2", '\t'),
            ("a|b|c\n1|2|3", '|'),
            ("title\nA, B\nC", ','),
            ("sep=;\r\na,b;c,d\r\n1,2;3,4", ';'),
        ] {
            assert_eq!(Table::of(text, None).expect("a table").separator, separator, "{text:?}");
        }
        assert_eq!(Table::of("\n\n", None).err().map(|error| error.code), Some("EMPTY"));
        let wide = vec!["c"; MAX_COLUMNS + 1].join(",");
        assert_eq!(Table::of(&wide, None).err().map(|error| error.code), Some("TOO_MANY_COLUMNS"));
    }
}
