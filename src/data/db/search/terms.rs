//! What is looked for: the words of a query.

use migration::words::{BEFORE_DIGIT, fold_word, words};

use crate::base::error::{Refusal, Result};

/// Characters of a query at most.
pub const MAX_QUERY: usize = 256;
/// Words of a query at most.
pub const MAX_WORDS: usize = 16;

/// The words of a query, all of which must be there. What is written together (`foo-bar`, `v2.1`) or within quotation marks is a
/// phrase: its words follow each other. The last word may go on (`mee` finds `meeting`), unless a quotation mark ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    phrases: Vec<Vec<String>>,
    is_open: bool,
}

impl Terms {
    /// `None` for a text without words, which finds nothing. BAD_REQUEST for one that is too long or has too many words.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        if text.chars().take(MAX_QUERY + 1).count() > MAX_QUERY {
            return Err(Refusal::bad_request(format!("A search has at most {MAX_QUERY} characters.")).into());
        }
        let mut phrases: Vec<Vec<String>> = Vec::new();
        let mut is_open = true;
        for (number, part) in text.split('"').enumerate() {
            let is_quoted = number % 2 == 1;
            let parts: Vec<&str> = if is_quoted { vec![part] } else { part.split_whitespace().collect() };
            for part in parts {
                let found: Vec<String> = words(part).map(|word| part[word.at].to_owned()).collect();
                if !found.is_empty() {
                    phrases.push(found);
                    is_open = !is_quoted;
                }
            }
        }
        // One that is not closed is still being written.
        is_open |= text.matches('"').count() % 2 == 1;
        let terms = Self { phrases, is_open };
        if terms.words().count() > MAX_WORDS {
            return Err(Refusal::bad_request(format!("A search has at most {MAX_WORDS} words.")).into());
        }
        Ok((!terms.phrases.is_empty()).then_some(terms))
    }

    /// The words, as they were written.
    fn words(&self) -> impl Iterator<Item = &str> {
        self.phrases.iter().flatten().map(String::as_str)
    }

    /// The words as texts are compared, and whether each may go on.
    pub fn folded(&self) -> Vec<(String, bool)> {
        let mut folded: Vec<(String, bool)> = self.words().map(|word| (fold_word(word), false)).collect();
        if let Some(last) = folded.last_mut() {
            last.1 = self.is_open;
        }
        folded
    }

    /// The last word, when it may go on.
    pub(super) fn open_word(&self) -> Option<&str> {
        self.phrases.last().and_then(|phrase| phrase.last()).filter(|_| self.is_open).map(String::as_str)
    }

    /// For PostgreSQL: a `tsquery`. `within`: a lexeme that must be there besides.
    pub(super) fn to_tsquery(&self, within: &str) -> String {
        let lexeme = |word: &String| {
            let begins_with_digit = word.starts_with(|c: char| c.is_ascii_digit());
            let before = if begins_with_digit { BEFORE_DIGIT.to_string() } else { String::new() };
            format!("'{before}{word}'")
        };
        let phrase = |words: &Vec<String>| words.iter().map(lexeme).collect::<Vec<_>>().join(" <-> ");
        let all = self.phrases.iter().map(|words| format!("({})", phrase(words)));
        let mut query: String = std::iter::once(format!("'{within}'")).chain(all).collect::<Vec<_>>().join(" & ");
        if self.is_open {
            query.insert_str(query.len() - 1, ":*");
        }
        query
    }

    /// For SQLite's FTS5: all but the last phrase, and the words before the last of that.
    pub(super) fn to_match(&self) -> Match {
        let quoted = |words: &[String]| format!("\"{}\"", words.join(" "));
        let (last, before) = self.phrases.split_last().map_or((&[][..], &[][..]), |(last, before)| (last, before));
        let head: String = before.iter().map(|words| format!("{} AND ", quoted(words))).collect();
        let lead: String =
            last.split_last().map_or(&[][..], |(_, lead)| lead).iter().map(|word| format!("{word} ")).collect();
        let whole = format!("{head}{}{}", quoted(last), if self.is_open { " *" } else { "" });
        Match { head, lead, whole }
    }
}

/// A query of FTS5, in parts.
pub(super) struct Match {
    /// All but the last phrase, each followed by `AND`.
    pub head: String,
    /// The words of the last phrase before its last, each followed by a space.
    pub lead: String,
    /// All of it.
    pub whole: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Terms {
        Terms::parse(text).expect("it is short").expect("it has words")
    }

    #[test]
    fn phrases_are_what_is_written_together() {
        let found = terms(" fix \"login page\" v2.1 Übu");
        assert_eq!(found.to_tsquery("@x"), "'@x' & ('fix') & ('login' <-> 'page') & ('v2' <-> 'ª1') & ('Übu':*)");
        assert_eq!(found.to_match().whole, "\"fix\" AND \"login page\" AND \"v2 1\" AND \"Übu\" *");
        assert_eq!(found.folded().last(), Some(&("ubu".to_owned(), true)));
        assert_eq!(terms("\"login page\"").to_match().whole, "\"login page\"");
        assert_eq!(terms("\"login pa").to_match().whole, "\"login pa\" *");
        assert_eq!(terms("\"login\" page").to_match().whole, "\"login\" AND \"page\" *");
        assert_eq!(terms("page \"!\"").open_word(), Some("page"));
        let parts = terms("a foo-bar").to_match();
        assert_eq!((parts.head.as_str(), parts.lead.as_str()), ("\"a\" AND ", "foo "));
    }

    #[test]
    fn what_is_no_query_is_told() {
        for nothing in ["", "  ", "\"", "!?*()\"\"—🎉", "\0"] {
            assert_eq!(Terms::parse(nothing).expect("it is short"), None, "{nothing:?}");
        }
        assert!(Terms::parse(&"é".repeat(MAX_QUERY)).is_ok());
        assert!(Terms::parse(&"é".repeat(MAX_QUERY + 1)).is_err());
        assert!(Terms::parse(&"a ".repeat(MAX_WORDS)).is_ok());
        assert!(Terms::parse(&"a ".repeat(MAX_WORDS + 1)).is_err());
        // Nothing of a query's syntax gets through.
        let odd = terms("a'b:* <-> c\\ (NEAR) AND \"x\u{0}y\"");
        assert!(!odd.to_tsquery("@x").contains(['\\', '\0', 'N']) || odd.to_tsquery("@x").contains("'NEAR'"));
    }
}
