//! The part of a text that is shown of a hit: plain text, with `**` around the words that match. Cut between what a reader
//! sees as characters, so that no accent, flag or family comes apart.

use std::ops::Range;

use migration::words::words;
use unicode_segmentation::UnicodeSegmentation as _;

/// Characters at most, without marks.
const MAX_CHARACTERS: usize = 200;
/// Bytes at most, without marks: one character may be of any number of code points.
const MAX_BYTES: usize = 1_000;
/// Bytes of one character; what is longer is cut within.
const MAX_CHARACTER_BYTES: usize = 64;
/// Bytes of text shown before the first match.
const LEAD: usize = 60;
/// Matches that are looked at in one text.
const MAX_MATCHES: usize = 1_000;

/// A snippet of that text which has most of the words, each with whether it may go on; of equals the first.
pub fn snippet<'t>(wanted: &[(String, bool)], texts: impl IntoIterator<Item = &'t str>) -> String {
    let mut best: Option<(&str, Vec<Match>, usize)> = None;
    for text in texts {
        let matches = matches(wanted, text);
        let count = (0..wanted.len()).filter(|wanted| matches.iter().any(|one| one.wanted == *wanted)).count();
        if best.as_ref().is_none_or(|(_, _, most)| count > *most) {
            best = Some((text, matches, count));
        }
    }
    let Some((text, matches, _)) = best else { return String::new() };
    marked(text, &matches)
}

/// A word of the text, and which of the wanted ones it is.
struct Match {
    at: Range<usize>,
    wanted: usize,
}

fn matches(wanted: &[(String, bool)], text: &str) -> Vec<Match> {
    let is = |word: &str| wanted.iter().position(|(wanted, _)| word == wanted).or_else(|| begins(wanted, word));
    words(text).filter_map(|word| Some(Match { wanted: is(&word.folded)?, at: word.at })).take(MAX_MATCHES).collect()
}

fn begins(wanted: &[(String, bool)], word: &str) -> Option<usize> {
    wanted.iter().position(|(wanted, may_go_on)| *may_go_on && word.starts_with(wanted.as_str()))
}

/// The window of the text that has most of the wanted words: where its first match is.
fn densest(matches: &[Match]) -> usize {
    let count = |from: usize| {
        let end = matches[from].at.start + MAX_CHARACTERS - LEAD;
        let within = matches[from..].iter().take_while(|one| one.at.end <= end).take(64);
        within.fold(0_u64, |seen, one| seen | 1 << one.wanted).count_ones()
    };
    // The first of equals.
    let best = (0..matches.len()).rev().max_by_key(|from| count(*from));
    best.map_or(0, |from| matches[from].at.start)
}

fn marked(text: &str, matches: &[Match]) -> String {
    let first = densest(matches);
    let start = beginning(text, first);
    let mut out = String::new();
    let (mut characters, mut bytes, mut is_marked, mut end) = (0, 0, false, text.len());
    // The first match that has not ended yet.
    let mut next = matches.iter().skip_while(|one| one.at.end <= start).peekable();
    for (at, piece) in pieces(text, start) {
        if characters == MAX_CHARACTERS || bytes + piece.len() > MAX_BYTES {
            end = at;
            break;
        }
        while next.peek().is_some_and(|one| one.at.end <= at) {
            next.next();
        }
        let is_match = next.peek().is_some_and(|one| one.at.start < at + piece.len());
        let shown = shown(piece, out.ends_with(' ') || out.is_empty());
        if shown.is_empty() {
            continue;
        }
        if is_match != is_marked {
            out.push_str("**");
            is_marked = is_match;
        }
        out.push_str(&shown);
        characters += 1;
        bytes += shown.len();
    }
    if is_marked {
        out.push_str("**");
    }
    let out = out.trim_end();
    let before = if text[..start].trim().is_empty() { "" } else { "…" };
    let after = if text[end..].trim().is_empty() { "" } else { "…" };
    format!("{before}{out}{after}")
}

/// Where a snippet with a match at `first` begins: some words before it.
fn beginning(text: &str, first: usize) -> usize {
    if first <= LEAD {
        return 0;
    }
    let mut earliest = first - LEAD;
    while !text.is_char_boundary(earliest) {
        earliest += 1;
    }
    let before = &text[earliest..first];
    let Some(space) = before.find(char::is_whitespace) else { return first };
    earliest + before[space..].find(|c: char| !c.is_whitespace()).map_or(before.len(), |skipped| space + skipped)
}

/// What is seen as one character each, from `start` on, with where it is.
fn pieces(text: &str, start: usize) -> impl Iterator<Item = (usize, &str)> {
    text[start..].grapheme_indices(true).flat_map(move |(at, grapheme)| {
        let is_whole = grapheme.len() <= MAX_CHARACTER_BYTES;
        let whole = is_whole.then_some((start + at, grapheme));
        let parts = (!is_whole).then(|| {
            grapheme
                .char_indices()
                .map(move |(within, c)| (start + at + within, &grapheme[within..within + c.len_utf8()]))
        });
        whole.into_iter().chain(parts.into_iter().flatten())
    })
}

/// What of a character is shown. White space is one space; left out are control characters, what turns the direction of all
/// that follows (its end may have been cut off), and asterisks, so that each `**` is a mark.
fn shown(piece: &str, after_space: bool) -> String {
    if piece.chars().all(char::is_whitespace) {
        return if after_space { String::new() } else { " ".to_owned() };
    }
    let is_left_out =
        |c: char| c.is_control() || c == '*' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    piece.chars().filter(|c| !is_left_out(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str, text: &str) -> String {
        let mut wanted: Vec<(String, bool)> = words(query).map(|word| (word.folded, false)).collect();
        if let Some(last) = wanted.last_mut() {
            last.1 = true;
        }
        snippet(&wanted, [text])
    }

    #[test]
    fn matches_are_marked_and_the_rest_is_text() {
        assert_eq!(of("log pag", "The login page, and pages."), "The login **page**, and **pages**.");
        assert_eq!(of("ubung", "Die U\u{308}bungen 🎉"), "Die **U\u{308}bungen** 🎉");
        assert_eq!(of("b", "<b>**bold**</b>\n\n\t* x"), "<**b**>**bold**</**b**> x");
        assert_eq!(of("مرحبا", "قل مرحبا \u{202e}الآن"), "قل **مرحبا** الآن");
        assert_eq!(of("nothing", "A text"), "A text");
        assert_eq!(snippet(&[("a".to_owned(), true)], []), "");
        assert_eq!(snippet(&[("two".into(), false), ("b".into(), true)], ["one", "two", "two b"]), "**two** **b**");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = format!("{} needle {}", "word ".repeat(100), "more ".repeat(100));
        let found = of("needle", &text);
        assert!(found.starts_with("…word ") && found.ends_with('…') && found.contains(" **needle** more"), "{found}");
        assert!(found.chars().count() <= MAX_CHARACTERS + 6, "{found}");
        let family = "👩\u{200d}👩\u{200d}👧\u{200d}👦";
        let found = of("needle", &format!("needle {}", family.repeat(500)));
        let rest = found.trim_start_matches("**needle** ").trim_end_matches('…');
        assert!(rest.len() <= MAX_BYTES && rest.replace(family, "").is_empty(), "{found}");
        // One character of a megabyte, and a word without an end.
        let marks = format!("needle e{}", "\u{301}".repeat(100_000));
        assert!(of("needle", &marks).len() < 1_100);
        let found = of("need", &"needle".repeat(10_000));
        assert!(found.starts_with("**needle") && found.ends_with("**…") && found.len() < 250, "{found}");
        // The place with most of the words is shown.
        let text = format!("alpha {} beta alpha", "word ".repeat(100));
        assert!(of("alpha beta", &text).ends_with("**beta** **alpha**"));
    }
}
