//! The letters that a test's server has sent, read back from their files.

use std::{fs, path::PathBuf};

use super::app::TestApp;

/// One `.eml` file.
#[derive(Debug)]
pub struct Letter {
    pub path: PathBuf,
    /// Headers, unfolded.
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Letter {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The token: the one line that is set in.
    pub fn token(&self) -> String {
        let lines: Vec<&str> = self.text.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        assert_eq!(lines.len(), 1, "one token in: {}", self.text);
        lines[0].to_owned()
    }
}

impl TestApp {
    /// All letters to an address, oldest first.
    pub async fn letters_to(&self, email: &str) -> Vec<Letter> {
        self.settle().await;
        let mut letters = self.letters();
        letters.retain(|letter| letter.header("to") == email);
        letters
    }

    /// The newest letter to an address; it must be about `subject`.
    pub async fn letter(&self, email: &str, subject: &str) -> Letter {
        let letter = self.letters_to(email).await.pop().unwrap_or_else(|| panic!("no letter to {email}"));
        assert_eq!(letter.header("subject"), subject);
        letter
    }

    fn letters(&self) -> Vec<Letter> {
        let folder = self.state.config.data_dir.join("mail");
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        // Named by time-ordered ids.
        paths.sort();
        paths.into_iter().map(read).collect()
    }
}

fn read(path: PathBuf) -> Letter {
    assert_eq!(path.extension().and_then(|extension| extension.to_str()), Some("eml"), "{}", path.display());
    let raw = fs::read_to_string(&path).expect("a letter");
    let (head, body) = raw.split_once("\r\n\r\n").expect("headers and a body");
    let head = head.replace("\r\n ", " ");
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("a header: {line}"));
        (name.to_owned(), value.to_owned())
    };
    Letter { headers: head.split("\r\n").map(pair).collect(), text: body.replace("\r\n", "\n"), path }
}
