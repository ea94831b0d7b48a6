//! From a file's bytes to its text: how it is encoded is found out, and said.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::{
    super::options::{Options, Setting},
    record::Unreadable,
};

/// The text of a file.
pub struct Text {
    pub text: String,
    /// `UTF-8`, with how it was found out where that is not certain.
    pub encoding: String,
}

/// What the bytes say, in the encoding named or else in the one that they seem to have: by their byte order mark, as
/// UTF-16 by its zeros, as UTF-8, and as windows-1252 where they are nothing of that.
pub fn decode(bytes: Vec<u8>, options: &Options) -> Result<Text, Unreadable> {
    let named =
        options.encoding.as_deref().map(|label| Encoding::for_label(label.as_bytes()).ok_or_else(|| unknown(label)));
    let named = named.transpose()?;
    let advice = options.asked_by.calls(Setting::Encoding);
    if bytes.starts_with(b"PK\x03\x04") {
        return Err(Unreadable::new("COMPRESSED", "This is a ZIP archive; unpack it, and import the file in it."));
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(Unreadable::new("COMPRESSED", "This is compressed with gzip; unpack it first."));
    }
    let marked = Encoding::for_bom(&bytes);
    let (encoding, found) = match (named, marked) {
        (Some(encoding), _) => (encoding, " as told".to_owned()),
        (None, Some((encoding, _))) => (encoding, " by its byte order mark".to_owned()),
        (None, None) => match by_zeros(&bytes) {
            Some(encoding) => (encoding, " by its zeros".to_owned()),
            None if std::str::from_utf8(&bytes).is_ok() => (UTF_8, String::new()),
            None => (guessed(&bytes, &advice)?, format!(", which is a guess; {advice} says otherwise")),
        },
    };
    let name = format!("{}{found}", encoding.name());
    let skipped = marked.filter(|(marked, _)| *marked == encoding).map_or(0, |(_, length)| length);
    let text = if encoding == UTF_8 && skipped == 0 {
        String::from_utf8(bytes).map_err(|error| broken(encoding, error.as_bytes(), &advice))?
    } else {
        match encoding.decode_without_bom_handling_and_without_replacement(&bytes[skipped..]) {
            Some(Cow::Borrowed(text)) => text.to_owned(),
            Some(Cow::Owned(text)) => text,
            None => return Err(broken(encoding, &bytes, &advice)),
        }
    };
    Ok(Text { text, encoding: name })
}

/// Names that [`Encoding::for_label`] does not know.
fn unknown(label: &str) -> Unreadable {
    Unreadable::new("UNKNOWN_ENCODING", format!("{label:?} is no encoding such as utf-8, utf-16le or iso-8859-1."))
}

fn broken(encoding: &'static Encoding, bytes: &[u8], advice: &str) -> Unreadable {
    let place = if encoding == UTF_8 { format!(" on line {}", first_invalid(bytes)) } else { String::new() };
    let message =
        format!("The file is not {}: something{place} can't be read so. {advice} names another.", encoding.name());
    Unreadable::new("ENCODING", message)
}

/// The line of the first byte that is no UTF-8.
fn first_invalid(bytes: &[u8]) -> usize {
    let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    1 + bytes[..valid].iter().filter(|byte| **byte == b'\n').count()
}

/// UTF-16 without a mark: of mostly Latin text every second byte is zero.
fn by_zeros(bytes: &[u8]) -> Option<&'static Encoding> {
    let begin = &bytes[..bytes.len().min(4096)];
    let zeros = |first: usize| begin.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let most = begin.len() / 2;
    match most > 1 {
        true if odd * 10 > most * 7 && even * 10 < most => Some(UTF_16LE),
        true if even * 10 > most * 7 && odd * 10 < most => Some(UTF_16BE),
        _ => None,
    }
}

/// windows-1252, which gives every byte a meaning; unless nearly all is UTF-8, and some bytes of it are damaged.
fn guessed(bytes: &[u8], advice: &str) -> Result<&'static Encoding, Unreadable> {
    let (mut valid, mut invalid) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        valid += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        invalid += usize::from(!chunk.invalid().is_empty());
    }
    if valid > invalid {
        let message = format!(
            "The file is UTF-8, but for {invalid} place(s), the first on line {}. Correct them, or name an encoding by \
             {advice}.",
            first_invalid(bytes)
        );
        return Err(Unreadable::new("ENCODING", message));
    }
    Ok(WINDOWS_1252)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding_of(bytes: &[u8]) -> String {
        decode(bytes.to_vec(), &Options::default())
            .map_or_else(|error| error.code.to_owned(), |text| format!("{} {}", text.encoding, text.text))
    }

    fn utf16(text: &str, bytes_of: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes_of).collect()
    }

    #[test]
    fn encodings_are_found_out() {
        assert_eq!(encoding_of("Müll".as_bytes()), "UTF-8 Müll");
        assert_eq!(encoding_of(b"\xef\xbb\xbfM\xc3\xbcll"), "UTF-8 by its byte order mark Müll");
        for (bytes_of, name) in [(u16::to_le_bytes as fn(u16) -> [u8; 2], "UTF-16LE"), (u16::to_be_bytes, "UTF-16BE")] {
            assert_eq!(encoding_of(&utf16("Müll, title", bytes_of)), format!("{name} by its zeros Müll, title"));
            let marked = utf16("\u{feff}漢字", bytes_of);
            assert_eq!(encoding_of(&marked), format!("{name} by its byte order mark 漢字"));
        }
        let guess = "windows-1252, which is a guess; `encoding` says otherwise";
        assert_eq!(encoding_of(b"M\xfcll \x80"), format!("{guess} Müll €"));
        // Broken in one place, it is not taken for another encoding as a whole.
        assert_eq!(
            encoding_of("Müll, Öl, Ähre".as_bytes().iter().chain(b"\xff").copied().collect::<Vec<_>>().as_slice()),
            "ENCODING"
        );
        assert_eq!(encoding_of(b"\xff\xfe\x00\xd8"), "ENCODING");
        assert_eq!(encoding_of(b"PK\x03\x04 and so on"), "COMPRESSED");
        assert_eq!(encoding_of(b""), "UTF-8 ");
    }
}
