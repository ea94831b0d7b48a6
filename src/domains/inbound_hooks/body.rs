//! A sender's bytes as JSON.

use serde_json::Value as Json;

/// Digits of an escape's code.
const DIGITS: usize = 4;
/// `\uXXXX`
const ESCAPE: usize = 2 + DIGITS;

/// The JSON of a body; `None` where it is none. Half a surrogate pair, which some senders write where they have cut a
/// text, is allowed by JSON's grammar and no character: U+FFFD takes its place.
pub fn parse(body: &[u8]) -> Option<Json> {
    serde_json::from_slice(body).ok().or_else(|| serde_json::from_slice(&without_halves(body)?).ok())
}

/// The same bytes with `\ufffd` for each half of a pair; `None` without any. Backslashes are in strings alone, and each
/// begins an escape, so that nothing else needs to be understood.
fn without_halves(body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = body.to_vec();
    let (mut at, mut found) = (0, false);
    while let Some(next) = whole[at..].iter().position(|byte| *byte == b'\\') {
        at += next;
        at += match (code(&whole, at), code(&whole, at + ESCAPE)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 2 * ESCAPE,
            (Some(0xd800..=0xdfff), _) => {
                whole[at + 2..at + ESCAPE].copy_from_slice(b"fffd");
                found = true;
                ESCAPE
            }
            _ => 2,
        };
        if at >= whole.len() {
            break;
        }
    }
    found.then_some(whole)
}

/// The code of the escape `\uXXXX` that begins at a place.
fn code(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn half_a_pair_is_replaced() {
        let cases = [
            (r#"{"t": "a\ud83d"}"#, json!({ "t": "a\u{fffd}" })),
            (r#"["\udc00\ud83d\ude00\ud800"]"#, json!(["\u{fffd}😀\u{fffd}"])),
            (r#"["\ud800\ud800\udc00"]"#, json!(["\u{fffd}𐀀"])),
            (r#"["\\ud800 \ud800\n"]"#, json!(["\\ud800 \u{fffd}\n"])),
            (r#"["\uD83Dx"]"#, json!(["\u{fffd}x"])),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in ["", "{", r#"["\ud800"#, r#"["\ud800\"]"#, r#"["\ud8"#, "\\", r#"["\u+123"]"#, "[1e400]"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"[\"\xff\"]"), None);
    }
}
