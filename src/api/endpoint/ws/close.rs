//! How a socket ends, and what the client is told then.

use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::base::error::{Code, Refusal};

/// Why the server closes a socket.
#[derive(Debug)]
pub struct Close {
    code: u16,
    reason: String,
}

impl Close {
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// A close frame holds 123 bytes of reason.
    pub fn frame(mut self) -> CloseFrame {
        let end = (0..=self.reason.len().min(123)).rev().find(|end| self.reason.is_char_boundary(*end));
        self.reason.truncate(end.unwrap_or_default());
        CloseFrame { code: self.code.into(), reason: self.reason.into() }
    }
}

/// How a socket ends.
pub enum End {
    /// The client is gone.
    Gone,
    Close(Close),
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// Why a client is not let in: what will pass by itself, what the credential is not good for, what is wrong for ever.
pub fn refused(refusal: &Refusal) -> Close {
    match refusal.code {
        Code::Unauthenticated | Code::Forbidden => Close::new(4403, format!("Forbidden: {}", refusal.message)),
        Code::RateLimited | Code::Unavailable | Code::Timeout => {
            Close::new(1013, format!("Try again later: {}", refusal.code))
        }
        _ => Close::new(4400, format!("{}: {}", refusal.code, refusal.message)),
    }
}

pub fn malformed(what: &str) -> Close {
    Close::new(4400, format!("Invalid message: {what}"))
}

pub fn going_away() -> Close {
    Close::new(1001, "Going away")
}
