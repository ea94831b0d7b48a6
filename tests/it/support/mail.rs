//! The e-mails that a test's server has sent, read back from their files.

use std::{fs, path::PathBuf};

use super::app::TestApp;

/// One `.eml` file.
#[derive(Debug)]
pub struct Email {
    pub path: PathBuf,
    /// Headers, unfolded.
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Email {
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
    /// All e-mails to an address, oldest first.
    pub async fn emails_to(&self, email: &str) -> Vec<Email> {
        self.settle().await;
        let mut messages = self.messages();
        messages.retain(|message| message.header("to") == email);
        messages
    }

    /// The newest e-mail to an address; it must be about `subject`.
    pub async fn email(&self, email: &str, subject: &str) -> Email {
        let message = self.emails_to(email).await.pop().unwrap_or_else(|| panic!("no e-mail to {email}"));
        assert_eq!(message.header("subject"), subject);
        message
    }

    fn messages(&self) -> Vec<Email> {
        let folder = self.state.config.data_dir.join("mail");
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        // Named by time-ordered ids.
        paths.sort();
        paths.into_iter().map(read).collect()
    }
}

fn read(path: PathBuf) -> Email {
    assert_eq!(path.extension().and_then(|extension| extension.to_str()), Some("eml"), "{}", path.display());
    parse(&fs::read_to_string(&path).expect("an e-mail"), path)
}

/// An e-mail as it is sent.
pub fn parse(raw: &str, path: PathBuf) -> Email {
    let (head, body) = raw.split_once("\r\n\r\n").expect("headers and a body");
    let head = head.replace("\r\n ", " ");
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("a header: {line}"));
        (name.to_owned(), value.to_owned())
    };
    Email { headers: head.split("\r\n").map(pair).collect(), text: body.replace("\r\n", "\n"), path }
}
