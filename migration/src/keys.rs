//! The form of the `…_key` columns, in which texts are compared, sorted and kept unique. It is part of the schema: who
//! changes it adds a step that writes the keys again, as `m20261126_000018_keys` does.

use std::borrow::Cow;

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizer, DecomposingNormalizer};
use icu_properties::{CodePointMapData, props::GeneralCategory};
use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};

/// The form in which names and titles are compared: Unicode's full case folding of the canonical decomposition,
/// composed again (Unicode 3.13, D145), without outer spaces. `ß` is `ss`, a final sigma is a sigma, and it is all one how
/// an accent was typed.
pub fn fold(text: &str) -> String {
    fold_part(text.trim())
}

/// [`fold`] of a part of a text, whose outer spaces count.
pub fn fold_part(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let decomposed = DecomposingNormalizer::new_nfd().normalize(text);
    let folded = CaseMapper::new().fold_string(&decomposed);
    ComposingNormalizer::new_nfc().normalize(&folded).into_owned()
}

/// Octets of a mailbox's name at most (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL: usize = 64;
/// Octets of an address at most, so that it fits into a path of 256 (RFC 5321, 4.5.3.1.3).
const MAX_ADDRESS: usize = 254;

/// The key of an e-mail address, `name@domain`: the folded name, the domain in lower case and ASCII. `None` for what is
/// none: an unquoted name (RFC 5321, RFC 6531) and the name of a domain (IDNA 2008), not the number of a host. What would
/// be dropped or replaced unseen on the way is refused, not mended.
pub fn parse_email(text: &str) -> Option<String> {
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@')?;
    let local = ComposingNormalizer::new_nfc().normalize(local);
    let is_name = |atom: &str| !atom.is_empty() && atom.chars().all(is_in_atom);
    if local.len() > MAX_LOCAL || text.len() > MAX_ADDRESS || !local.split('.').all(is_name) {
        return None;
    }
    let key = format!("{}@{}", fold(&local), ascii_domain(domain)?);
    (key.len() <= MAX_ADDRESS).then_some(key)
}

/// An address as it is kept and written to: in normal form C, without outer spaces.
pub fn shown_email(text: &str) -> String {
    ComposingNormalizer::new_nfc().normalize(text.trim()).into_owned()
}

/// The key of whatever was typed where an address belongs, to look it up: what is no address has its folded form, without
/// the NUL that PostgreSQL's texts can't hold.
pub fn email_key(text: &str) -> String {
    parse_email(text).unwrap_or_else(|| fold(text).replace('\0', ""))
}

/// RFC 5321's `atext`; beyond ASCII what IDNA takes, too.
fn is_in_atom(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) } else { is_letter_or_digit(c) }
}

/// RFC 5892's `LetterDigits`.
fn is_letter_or_digit(c: char) -> bool {
    use GeneralCategory as Is;
    matches!(
        CodePointMapData::<Is>::new().get(c),
        Is::LowercaseLetter
            | Is::UppercaseLetter
            | Is::OtherLetter
            | Is::ModifierLetter
            | Is::NonspacingMark
            | Is::SpacingMark
            | Is::DecimalNumber
    )
}

/// A mark that goes over any letter, where the letter's own form would do: it makes `com` look like another `com`.
fn is_loose_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// A domain in lower case and ASCII (A-labels). `None` where it is none, where it holds what IDNA 2008 does not, or where
/// more than its case would change.
fn ascii_domain(domain: &str) -> Option<String> {
    // Joiners have rules of their own, which `idna` checks.
    let may_hold = |c: char| {
        c.is_ascii() || "\u{200c}\u{200d}\u{b7}\u{375}\u{5f3}\u{5f4}\u{30fb}".contains(c) || is_letter_or_digit(c)
    };
    if !domain.contains('.') || !domain.chars().all(may_hold) || domain.chars().any(is_loose_mark) {
        return None;
    }
    let ascii = Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify)
        .ok()?
        .into_owned();
    let (unicode, valid) = Uts46::new().to_unicode(ascii.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    let lower: Cow<'_, str> =
        if domain.is_ascii() { domain.to_ascii_lowercase().into() } else { domain.to_lowercase().into() };
    let is_kept = lower == ascii || lower == unicode;
    // A top-level domain of digits alone is part of an IPv4 address.
    let is_named = ascii.rsplit('.').next().is_some_and(|top| !top.bytes().all(|byte| byte.is_ascii_digit()));
    (valid.is_ok() && is_kept && is_named).then_some(ascii)
}
