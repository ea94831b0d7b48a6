//! Which items a text says are done: `fixes ACME-42, ACME-43 and ACME-44`.
//!
//! Commit messages and the texts of requests are Markdown (or plain text, which reads the same). What a reader doesn't see
//! as a statement doesn't count: code, and comments of HTML.

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

const VERBS: [&str; 9] = ["fix", "fixes", "fixed", "close", "closes", "closed", "resolve", "resolves", "resolved"];
/// Words that join the entries of a list.
const JOINTS: [&str; 2] = ["and", "or"];

/// The identifiers that a text says are done, in upper case and in their order: those that follow one of the verbs, one
/// after the other, with any marks between them but the end of a sentence.
pub fn closed(text: &str) -> Vec<String> {
    let text = visible(text);
    let mut found = Vec::new();
    let mut follows = false;
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
        if length == 0 {
            rest = &rest[first.len_utf8()..];
            follows &= !ends_sentence(first, rest);
            continue;
        }
        let (word, after) = rest.split_at(length);
        rest = after;
        let bare = word.trim_matches(['-', '_']);
        if is_one_of(&VERBS, bare) {
            follows = true;
        } else if let Some(identifier) = identifier(bare).filter(|_| follows && ends_there(after)) {
            found.push(identifier);
        } else if !bare.is_empty() {
            follows &= is_one_of(&JOINTS, bare);
        }
    }
    found
}

/// E-mails of every script, so that a verb within a longer word is none; but an identifier may be followed by a script
/// that puts no blanks between its words.
fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() && !is_ideographic(c) || matches!(c, '-' | '_')
}

/// Scripts of East Asia, which are written without blanks.
fn is_ideographic(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

fn ends_sentence(mark: char, rest: &str) -> bool {
    match mark {
        '.' | '!' | '?' => rest.chars().next().is_none_or(char::is_whitespace),
        '。' | '！' | '？' => true,
        // A word of another script between a verb and an item, as any other word.
        other => is_ideographic(other) && other.is_alphanumeric(),
    }
}

/// Whether an identifier is over, as it is not in `ACME-1.5` and `ACME-1@example.com`.
fn ends_there(after: &str) -> bool {
    let mut following = after.chars();
    let is_joined = matches!(following.next(), Some('.' | '@'));
    !(is_joined && following.next().is_some_and(char::is_alphanumeric))
}

fn is_one_of(words: &[&str], word: &str) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// `acme-42` as `ACME-42`.
fn identifier(word: &str) -> Option<String> {
    let (prefix, number) = word.rsplit_once('-')?;
    let is_one = (1..=20).contains(&prefix.len())
        && prefix.chars().all(|c| c.is_ascii_alphanumeric())
        && (1..=18).contains(&number.len())
        && number.chars().all(|c| c.is_ascii_digit());
    is_one.then(|| word.to_ascii_uppercase())
}

/// What a reader of the text sees of it, without code.
fn visible(text: &str) -> String {
    let mut seen = Visible::default();
    // A block of HTML comes in pieces.
    let mut html = String::new();
    let mut in_code = false;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Text(text) if !in_code => seen.push(&text),
            // A word stands where code is: what follows it is no part of the list before it.
            Event::Code(_) => seen.push(" code "),
            Event::InlineHtml(tag) => seen.html(&tag),
            Event::Html(part) => html.push_str(&part),
            Event::SoftBreak | Event::HardBreak => seen.push("\n"),
            Event::End(TagEnd::HtmlBlock) => {
                seen.html(&std::mem::take(&mut html));
                seen.end_block();
            }
            Event::End(TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::Item) => seen.end_block(),
            _ => {}
        }
    }
    seen.text
}

#[derive(Default)]
struct Visible {
    text: String,
    /// Elements of code that are open.
    code: u32,
}

impl Visible {
    fn push(&mut self, text: &str) {
        if self.code == 0 {
            self.text.push_str(text);
        }
    }

    /// Text between tags; comments and what is in elements of code are left out.
    fn html(&mut self, html: &str) {
        let mut rest = html;
        while let Some(at) = rest.find('<') {
            let (text, tag) = rest.split_at(at);
            self.push(text);
            if let Some(comment) = tag.strip_prefix("<!--") {
                rest = comment.split_once("-->").map_or("", |(_, after)| after);
                continue;
            }
            let Some((tag, after)) = tag[1..].split_once('>') else { return };
            let name =
                tag.trim_start_matches('/').split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            if is_one_of(&["code", "pre"], name) {
                self.code = if tag.starts_with('/') { self.code.saturating_sub(1) } else { self.code + 1 };
            }
            rest = after;
        }
        self.push(rest);
    }

    /// What was left open ends with its block.
    fn end_block(&mut self) {
        self.code = 0;
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_says_is_done() {
        let cases: &[(&str, &[&str])] = &[
            ("Fixes ACME-42", &["ACME-42"]),
            ("fix: acme-42.", &["ACME-42"]),
            ("Fixes:#ACME-42", &["ACME-42"]),
            ("This closes #ACME-1, ACME-2 and ACME-3; see ACME-4", &["ACME-1", "ACME-2", "ACME-3"]),
            ("Resolved (ACME-7)\n\nand fixes\nACME-8", &["ACME-7", "ACME-8"]),
            ("ACME-42 needs a fix", &[]),
            ("ACME-42 needs a fix. ACME-43 does not", &[]),
            ("prefixes ACME-42", &[]),
            ("préfixes ACME-42", &[]),
            ("auto-fixes ACME-42", &[]),
            ("fixes the build of ACME-42", &[]),
            ("fixes ACME-", &[]),
            ("fixes #42", &[]),
            ("fixes ACME-1.5 and ACME-2@example.com", &[]),
            ("fixes ACME-1-2", &[]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(closed(text), *expected, "{text}");
        }
    }

    #[test]
    fn lists_are_written_in_many_ways() {
        let cases: &[(&str, &[&str])] = &[
            ("fixes ACME-1，ACME-2", &["ACME-1", "ACME-2"]),
            ("fixes ACME-1、ACME-2", &["ACME-1", "ACME-2"]),
            ("fixes ACME-1/ACME-2", &["ACME-1", "ACME-2"]),
            ("fixes ACME-1&ACME-2", &["ACME-1", "ACME-2"]),
            ("fixes ACME-1+ACME-2", &["ACME-1", "ACME-2"]),
            ("fixes ACME-1,ACME-2;ACME-3|ACME-4", &["ACME-1", "ACME-2", "ACME-3", "ACME-4"]),
            ("fixes ACME-1 ACME-2", &["ACME-1", "ACME-2"]),
            ("fixes：ACME-1", &["ACME-1"]),
            ("fixes ACME-1—crash", &["ACME-1"]),
            ("fixes ACME-1–crash", &["ACME-1"]),
            ("fixes ACME-1's bug", &["ACME-1"]),
            ("fixes ACME-1’s bug", &["ACME-1"]),
            ("fixes ACME-1…", &["ACME-1"]),
            ("fixes \"ACME-1\", 'ACME-2'", &["ACME-1", "ACME-2"]),
            ("fixes ACME-1の不具合", &["ACME-1"]),
            ("fixes ACME-1。ACME-2 は別件", &["ACME-1"]),
            ("Fixes:\n\n- ACME-1\n- ACME-2 (with tests)\n- ACME-3", &["ACME-1", "ACME-2"]),
            ("fixes **ACME-1**, [ACME-2](https://todo.example.com/i/ACME-9)", &["ACME-1", "ACME-2"]),
            ("fixes https://todo.example.com/i/ACME-9", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(closed(text), *expected, "{text}");
        }
    }

    #[test]
    fn code_and_comments_say_nothing() {
        let silent = [
            "```\nfixes ACME-1\n```",
            "~~~ text\nfixes ACME-1\n~~~",
            "As in\n\n    fixes ACME-1\n",
            "Write `fixes ACME-1` into the message",
            "fixes `ACME-1`",
            "<!-- fixes ACME-1 -->",
            "<!--\nWrite fixes ACME-1\n\nbelow\n-->\n",
            "text <!-- fixes ACME-1 --> text",
            "<!-- never closed fixes ACME-1",
            "<pre>\nfixes ACME-1\n</pre>",
            "see <code>fixes ACME-1</code>",
            "```\nfixes ACME-1",
        ];
        for text in silent {
            assert!(closed(text).is_empty(), "{text}");
        }
        let beside = "<!-- fixes ACME-1 -->\n\nFixes ACME-2 <!-- not --> and ACME-3\n\n```\nfixes ACME-4\n```\n\n\
                      <details>\ncloses ACME-5\n</details>\n\nsee <code>x, closes ACME-6";
        assert_eq!(closed(beside), ["ACME-2", "ACME-3", "ACME-5"]);
    }
}
