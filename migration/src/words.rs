//! The form in which search compares words. It is part of the schema, as [`crate::keys`] is: PostgreSQL's function
//! `search_fold` and SQLite's tokenizer make words alike, and what ranks and marks matches goes by this.

use std::ops::Range;

use icu_normalizer::DecomposingNormalizer;
use icu_properties::{
    CodePointMapData,
    props::{GeneralCategory, GeneralCategoryGroup},
};

/// What stands between words, as code points: punctuation, symbols, white space, pictures. By ranges, since what
/// PostgreSQL takes for a letter otherwise hangs on the cluster's language.
pub(crate) const BETWEEN_WORDS: &str = concat!(
    r"\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7",
    r"\u02c2-\u02c5\u05be\u05c0\u05c3\u05f3\u05f4\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965",
    r"\u2000-\u206f\u2070\u2074-\u207e\u2080-\u208e\u20a0-\u20cf\u2150-\u215f\u2190-\u2bff\u2e00-\u2e7f",
    r"\u3000-\u3004\u3008-\u3020\u3030\ufe00-\ufe1f\ufe30-\ufe6f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65",
    r"\U0001f000-\U0001f0ff\U0001f110-\U0001faff",
);

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its bytes in the text.
    pub at: Range<usize>,
    /// See [`fold_word`].
    pub folded: String,
}

/// The words of a text, in their order.
pub fn words(text: &str) -> impl Iterator<Item = Word> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(is_of_word)?;
        let end = text[start..].find(|c| !is_of_word(c)).map_or(text.len(), |length| start + length);
        from = end;
        Some(Word { at: start..end, folded: fold_word(&text[start..end]) })
    })
}

/// A word in lower case and without accents: `Übung` is `ubung`.
pub fn fold_word(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    let decomposed = DecomposingNormalizer::new_nfd().normalize(word);
    // A final sigma is a sigma.
    let lower = |c: char| if c == 'ς' { 'σ'.to_lowercase() } else { c.to_lowercase() };
    decomposed.chars().filter(|c| !is_accent(*c)).flat_map(lower).collect()
}

fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Letters, decimal digits, and the marks on them.
pub fn is_of_word(c: char) -> bool {
    use GeneralCategoryGroup as Is;
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    let of_words = Is::Letter.union(Is::Mark).union(Is::DecimalNumber).union(Is::LetterNumber);
    of_words.contains(category) && !is_presentation(c)
}

/// Chooses how the sign before it is drawn; a mark by its category alone.
fn is_presentation(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}')
}

/// Stands before a lexeme of PostgreSQL that begins with a digit: its parser would take `3e8a9f` for a number and a word.
pub const BEFORE_DIGIT: char = 'ª';

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        words(text).map(|word| word.folded).collect()
    }

    #[test]
    fn words_are_letters_and_digits_without_case_and_accents() {
        assert_eq!(
            all("Fix v2.1: foo-bar_baz (é, E\u{301}, Ü)!"),
            ["fix", "v2", "1", "foo", "bar", "baz", "e", "e", "u"]
        );
        assert_eq!(all("ΟΔΥΣΣΕΎΣ ё हिन्दी مَرحبا 🎉party☺\u{fe0f}"), ["οδυσσευσ", "е", "हिन्दी", "مَرحبا", "party"]);
        assert_eq!(all(" \t…!?—🎉"), [""; 0]);
        assert_eq!(all("3e8a9f x²y ①٣"), ["3e8a9f", "x", "y", "٣"]);
        let found: Vec<_> = words("a é").map(|word| word.at).collect();
        assert_eq!(found, [0..1, 2..4]);
    }
}
