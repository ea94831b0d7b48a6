//! Counts a document's lexical tokens before it is parsed: the parser has no such limit, and is recursive.

use serde_json::json;

use crate::error::{Code, Refusal, Result};

/// Brackets within each other: deeper than any document that the depth limit lets pass, and no danger to the parser.
pub(super) const MAX_NESTING: usize = 64;

/// The tokens of a document. Refuses too many, and brackets nested so deep that parsing them would be a risk.
pub(super) fn count_tokens(text: &str, limit: usize) -> Result<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut tokens, mut nesting) = (0, 0_usize, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' | 0xEF | 0xBB | 0xBF => continue,
            b'#' => {
                at += bytes[at..].iter().take_while(|byte| !matches!(byte, b'\n' | b'\r')).count();
                continue;
            }
            b'"' => at = end_of_string(bytes, start),
            b'{' | b'[' | b'(' => nesting += 1,
            b'}' | b']' | b')' => nesting = nesting.saturating_sub(1),
            b'.' => at += bytes[at..].iter().take(2).take_while(|byte| **byte == b'.').count(),
            _ if is_word(byte) => at += bytes[at..].iter().take_while(|byte| is_word(**byte)).count(),
            _ => {}
        }
        tokens += 1;
        if tokens > limit {
            return Err(Refusal::new(Code::QueryTooComplex, format!("A document has at most {limit} tokens."))
                .details(json!({ "limit": limit }))
                .into());
        }
        if nesting > MAX_NESTING {
            return Err(Refusal::new(Code::QueryTooDeep, format!("Brackets are nested at most {MAX_NESTING} deep."))
                .details(json!({ "limit": MAX_NESTING }))
                .into());
        }
    }
    Ok(tokens)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' || byte >= 0x80
}

/// Where the string that starts at `start` ends; the end of the text for one that doesn't.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let block = bytes[start..].starts_with(b"\"\"\"");
    let mut at = start + if block { 3 } else { 1 };
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if !block => at += 2,
            b'\\' if bytes[at..].starts_with(b"\\\"\"\"") => at += 4,
            b'"' if !block => return at + 1,
            b'"' if bytes[at..].starts_with(b"\"\"\"") => return at + 3,
            b'\n' | b'\r' if !block => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}
