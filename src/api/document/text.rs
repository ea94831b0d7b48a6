//! A document's lexical tokens: counted before it is parsed (the parser is recursive), with their positions, and with what
//! the parser does not know yet put in other words. That is, of the September 2025 edition: descriptions of operations,
//! fragments and variables, which are left out, and `\u{1F600}` and `\uD83D\uDE00` in strings, which become the character.

use std::borrow::Cow;

use apollo_compiler::ast;
use async_graphql::Pos;
use serde_json::json;

use crate::base::error::{Code, Error, Refusal, Result};

/// Brackets within each other: deeper than any document that the depth limit lets pass, and no danger to the parser.
pub const MAX_NESTING: usize = 64;

/// A document's text as the parser takes it.
#[derive(Debug)]
pub struct Text<'t> {
    pub text: Cow<'t, str>,
    /// Where each token begins in `text`, in bytes, and in the text that was sent.
    tokens: Vec<(usize, Pos)>,
}

impl<'t> Text<'t> {
    /// Reads the tokens of a text. Refuses more than `limit`, and brackets nested so deep that parsing them would be a risk.
    pub fn read(text: &'t str, limit: usize) -> Result<Self> {
        let reader = Reader { text, at: 0, counted: 0, position: Pos { line: 1, column: 1 } };
        let mut rewritten = Rewritten { text, copied: 0, new: String::new(), tokens: Vec::new() };
        let mut grammar = Grammar::default();
        let mut pending = None;
        let mut count = 0_usize;
        let mut nesting = 0_usize;
        for token in reader {
            count += 1;
            if count > limit {
                return Err(Refusal::new(Code::QueryTooComplex, format!("A document has at most {limit} tokens."))
                    .details(json!({ "limit": limit }))
                    .into());
            }
            match token.kind {
                Kind::Open => nesting += 1,
                Kind::Close => nesting = nesting.saturating_sub(1),
                _ => {}
            }
            if nesting > MAX_NESTING {
                return Err(Refusal::new(
                    Code::QueryTooDeep,
                    format!("Brackets are nested at most {MAX_NESTING} deep."),
                )
                .details(json!({ "limit": MAX_NESTING }))
                .into());
            }
            let word = &text[token.start..token.end];
            // Whether a string is a description shows in what follows it.
            if let Some(string) = pending.take() {
                let is_description = grammar.describes(word);
                rewritten.string(&string, is_description)?;
            }
            if matches!(token.kind, Kind::String { .. }) && grammar.may_describe() {
                pending = Some(token);
            } else if matches!(token.kind, Kind::String { .. }) {
                rewritten.string(&token, false)?;
            } else {
                rewritten.token(&token);
            }
            if !grammar.step(word, token.kind) {
                return Err(syntax("Syntax error: expected a colon and a value.".to_owned(), token.position));
            }
        }
        if let Some(string) = pending {
            rewritten.string(&string, false)?;
        }
        Ok(rewritten.finish())
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The position of the token at or before an offset in `text`.
    pub fn position(&self, offset: usize) -> Pos {
        let after = self.tokens.partition_point(|(start, _)| *start <= offset);
        after.checked_sub(1).map_or(Pos { line: 1, column: 1 }, |index| self.tokens[index].1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Open,
    Close,
    String { is_block: bool },
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
    position: Pos,
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// Up to where `position` has been counted.
    counted: usize,
    position: Pos,
}

impl Iterator for Reader<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let bytes = self.text.as_bytes();
        loop {
            let start = self.at;
            let byte = *bytes.get(start)?;
            self.at += 1;
            let kind = match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => continue,
                // A byte order mark.
                0xEF if bytes[start..].starts_with(&[0xEF, 0xBB, 0xBF]) => {
                    self.at += 2;
                    continue;
                }
                b'#' => {
                    self.at += bytes[self.at..].iter().take_while(|byte| !matches!(byte, b'\n' | b'\r')).count();
                    continue;
                }
                b'"' => {
                    self.at = end_of_string(bytes, start);
                    Kind::String { is_block: bytes[start..].starts_with(b"\"\"\"") }
                }
                b'{' | b'[' | b'(' => Kind::Open,
                b'}' | b']' | b')' => Kind::Close,
                b'.' => {
                    self.at += bytes[self.at..].iter().take(2).take_while(|byte| **byte == b'.').count();
                    Kind::Other
                }
                _ if byte.is_ascii_digit() || byte == b'-' => {
                    self.at += length_of_number(&bytes[self.at..]);
                    Kind::Other
                }
                _ if is_word(byte) => {
                    self.at += bytes[self.at..].iter().take_while(|byte| is_word(**byte)).count();
                    Kind::Other
                }
                _ => Kind::Other,
            };
            let position = self.position_of(start);
            return Some(Token { kind, start, end: self.at, position });
        }
    }
}

impl Reader<'_> {
    /// Lines and columns from 1; a column is a UTF-16 code unit, as in the reference implementation and in editors.
    fn position_of(&mut self, offset: usize) -> Pos {
        let mut characters = self.text[self.counted..offset].chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\r' if characters.peek() == Some(&'\n') => {}
                '\n' | '\r' => {
                    self.position.line += 1;
                    self.position.column = 1;
                }
                _ => self.position.column += character.len_utf16(),
            }
        }
        self.counted = offset;
        self.position
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// How many bytes belong to a number that has begun, if it is one.
fn length_of_number(rest: &[u8]) -> usize {
    let mut is_exponent = false;
    let belongs = |byte: &&u8| {
        let belongs = is_word(**byte) || **byte == b'.' || is_exponent && matches!(**byte, b'+' | b'-');
        is_exponent = matches!(**byte, b'e' | b'E');
        belongs
    };
    rest.iter().take_while(belongs).count()
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

/// As much of the grammar as tells where a description may stand (before a definition, and before a variable's), and that
/// each argument and each field of an input has its colon, which the parser doesn't mind.
#[derive(Debug, Default)]
struct Grammar {
    frames: Vec<Frame>,
    /// After the keyword of an operation, up to its variables or its selection.
    in_header: bool,
    /// The last token was a `=`: what follows is a default.
    after_equals: bool,
}

/// What a bracket has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    Selection,
    Variables,
    List,
    /// Arguments, or the fields of an input.
    Fields(Next),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Name,
    Colon,
    Value,
    /// A `$` has been read.
    Variable,
}

impl Grammar {
    fn may_describe(&self) -> bool {
        match self.frames.last() {
            None => !self.in_header,
            Some(Frame::Variables) => !self.after_equals,
            Some(_) => false,
        }
    }

    /// Whether a string is the description of what begins with `word`.
    fn describes(&self, word: &str) -> bool {
        if self.frames.is_empty() {
            matches!(word, "query" | "mutation" | "subscription" | "fragment")
        } else {
            word == "$"
        }
    }

    /// False where a colon is missing.
    fn step(&mut self, word: &str, kind: Kind) -> bool {
        if let Some(Frame::Fields(next)) = self.frames.last_mut() {
            *next = match *next {
                Next::Name => Next::Colon,
                Next::Colon if word == ":" => Next::Value,
                Next::Colon => return false,
                Next::Value if word == "$" => Next::Variable,
                Next::Value | Next::Variable => Next::Name,
            };
        }
        match kind {
            Kind::Open => {
                let opened = match (word, self.frames.last()) {
                    ("(", None) => Frame::Variables,
                    ("(", Some(_)) => Frame::Fields(Next::Name),
                    ("{", None | Some(Frame::Selection)) => Frame::Selection,
                    ("{", Some(_)) => Frame::Fields(Next::Name),
                    _ => Frame::List,
                };
                if opened == Frame::Selection {
                    self.in_header = false;
                }
                self.frames.push(opened);
            }
            Kind::Close => {
                self.frames.pop();
            }
            _ if self.frames.is_empty() && matches!(word, "query" | "mutation" | "subscription") => {
                self.in_header = true;
            }
            _ => {}
        }
        self.after_equals = word == "=";
        true
    }
}

/// The text, copied as soon as something in it is put in other words.
struct Rewritten<'t> {
    text: &'t str,
    /// Up to where `new` has the text.
    copied: usize,
    new: String,
    tokens: Vec<(usize, Pos)>,
}

impl<'t> Rewritten<'t> {
    /// Where `offset` of the old text is in the new one, which has everything before it.
    fn moved(&self, offset: usize) -> usize {
        self.new.len() + offset - self.copied
    }

    fn token(&mut self, token: &Token) {
        self.tokens.push((self.moved(token.start), token.position));
    }

    fn replace(&mut self, token: &Token, with: &str) {
        self.new.push_str(&self.text[self.copied..token.start]);
        self.new.push_str(with);
        self.copied = token.end;
    }

    fn string(&mut self, token: &Token, is_description: bool) -> Result<()> {
        self.token(token);
        let literal = &self.text[token.start..token.end];
        if is_description {
            // The parser won't see it.
            let read = ast::Document::parser().parse_ast(format!("{{ a(b: {literal}) }}"), "");
            read.map_err(|_| syntax("Syntax error: a description is no string.".to_owned(), token.position))?;
        }
        let unescaped = match token.kind {
            Kind::String { is_block: false } => {
                unescaped(literal).map_err(|message| syntax(format!("Syntax error: {message}"), token.position))?
            }
            _ => None,
        };
        if is_description {
            self.replace(token, " ");
        } else if let Some(unescaped) = unescaped {
            self.replace(token, &unescaped);
        }
        Ok(())
    }

    fn finish(mut self) -> Text<'t> {
        let text = if self.copied == 0 {
            Cow::Borrowed(self.text)
        } else {
            self.new.push_str(&self.text[self.copied..]);
            Cow::Owned(self.new)
        };
        Text { text, tokens: self.tokens }
    }
}

fn syntax(message: String, position: Pos) -> Error {
    Refusal::new(Code::GraphqlParseFailed, message).at(position).into()
}

/// A string without escapes that the parser does not know; `None` where there are none. What is no escape at all is the
/// parser's to refuse.
fn unescaped(literal: &str) -> Result<Option<String>, String> {
    if !literal.contains("\\u") {
        return Ok(None);
    }
    let (mut rest, mut new, mut has_changed) = (literal, String::with_capacity(literal.len()), false);
    while let Some(found) = rest.find('\\') {
        let (before, escape) = rest.split_at(found);
        new.push_str(before);
        let Some((code, length)) = code_point(escape) else {
            // `\"`, `\\` and the like: two characters, the second of which begins nothing.
            let length = escape.chars().take(2).map(char::len_utf8).sum();
            new.push_str(&escape[..length]);
            rest = &escape[length..];
            continue;
        };
        let (code, length) = match (code, code_point(&escape[length..])) {
            (0xD800..=0xDBFF, Some((low @ 0xDC00..=0xDFFF, more))) => {
                (0x1_0000 + ((code - 0xD800) << 10) + (low - 0xDC00), length + more)
            }
            _ => (code, length),
        };
        let (text, after) = escape.split_at(length);
        let character = char::from_u32(code).ok_or_else(|| format!("`{text}` is no Unicode character."))?;
        if code > 0xFFFF {
            new.push(character);
            has_changed = true;
        } else if escape.starts_with("\\u{") {
            new.push_str(&format!("\\u{code:04X}"));
            has_changed = true;
        } else {
            new.push_str(text);
        }
        rest = after;
    }
    new.push_str(rest);
    Ok(has_changed.then_some(new))
}

/// The number of a `\uXXXX` or `\u{X…}` at the beginning of a text, and its length.
fn code_point(text: &str) -> Option<(u32, usize)> {
    let digits = text.strip_prefix("\\u")?;
    let (digits, around) = match digits.strip_prefix('{') {
        Some(braced) => (braced.split_once('}')?.0, 4),
        None => (digits.get(..4)?, 2),
    };
    let is_hexadecimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hexadecimal {
        return None;
    }
    // More digits than a number has are no character.
    let code = u32::from_str_radix(digits.trim_start_matches('0'), 16).or(if digits.bytes().all(|byte| byte == b'0') {
        Ok(0)
    } else {
        Err(())
    });
    Some((code.unwrap_or(u32::MAX), digits.len() + around))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Text<'_> {
        Text::read(text, 1000).expect("a text whose tokens can be read")
    }

    fn refused(text: &str, limit: usize) -> Code {
        match Text::read(text, limit) {
            Err(Error::Refused(refusal)) => refusal.code,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn counts_tokens_not_characters() {
        assert_eq!(read("{ a(b: 1.5e-3, c: \"x { y\") ...f } # { ( [").len(), 13);
        assert_eq!(read("\u{feff}{a}").len(), 3);
        assert_eq!(read("").len(), 0);
        assert!(Text::read("{ a }", 3).is_ok());
        assert_eq!(refused("{ a b }", 3), Code::QueryTooComplex);
    }

    #[test]
    fn refuses_brackets_nested_too_deep_and_none_in_strings() {
        let nested = |depth: usize| format!("{{ a(b: {}{}) }}", "[".repeat(depth), "]".repeat(depth));
        // The braces and the parentheses are two.
        assert!(Text::read(&nested(MAX_NESTING - 2), 1000).is_ok());
        assert_eq!(refused(&nested(MAX_NESTING - 1), 1000), Code::QueryTooDeep);
        assert!(Text::read(&format!("{{ a(b: \"{}\") }}", "[".repeat(500)), 1000).is_ok());
        assert!(Text::read(&format!("{{ a(b: \"\"\"{}\"\"\") }}", "[".repeat(500)), 1000).is_ok());
    }

    #[test]
    fn leaves_out_descriptions_and_no_other_strings() {
        let described = read("\"What it does.\" query Q(\"How many.\" $n: Int = 1) { a(b: \"kept\") }");
        assert_eq!(described.text, "  query Q(  $n: Int = 1) { a(b: \"kept\") }");
        let plain = "query Q($s: String = \"kept\") { a(b: [\"kept\", \"too\"]) }";
        assert!(matches!(read(plain).text, Cow::Borrowed(text) if text == plain));
    }

    #[test]
    fn puts_long_escapes_in_words_that_the_parser_knows() {
        assert_eq!(
            read(r#"{ a(b: "\u{1F600}\uD83D\uDE00\u{41}\\u{41}") }"#).text,
            "{ a(b: \"😀😀\\u0041\\\\u{41}\") }"
        );
        // A half of a pair alone is no character, nor is what is beyond the last one.
        for string in [r"\uD83D", r"\uDE00", r"\u{110000}", r"\u{FFFFFFFFFFFF}"] {
            assert_eq!(refused(&format!("{{ a(b: \"{string}\") }}"), 1000), Code::GraphqlParseFailed, "{string}");
        }
    }

    #[test]
    fn finds_places_again_in_the_text_that_was_sent() {
        let sent = "\"Said.\"\r\nquery Q {\n  a(b: \"\\u{1F600}\", 😀: 1)\n}";
        let read = read(sent);
        let place = |word: &str| {
            let position = read.position(read.text.find(word).expect("a word of the text"));
            (position.line, position.column)
        };
        assert_eq!(place("query"), (2, 1));
        assert_eq!(place("a("), (3, 3));
        // A column is a UTF-16 code unit.
        assert_eq!(place("1)"), (3, 25));
    }

    #[test]
    fn misses_colons_that_the_parser_does_not() {
        assert_eq!(refused("{ a(b 1) }", 1000), Code::GraphqlParseFailed);
        assert_eq!(refused("{ a(b: {c 1}) }", 1000), Code::GraphqlParseFailed);
        assert!(Text::read("query Q($a: Int) { a(b: $a, c: {d: [1]}) { e } }", 1000).is_ok());
    }
}
