//! What a check found.

use std::fmt;

use serde::Serialize;

/// How it is; the last is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// The server works, and something may go wrong, or is unsafe.
    Warning,
    /// The server does not start, does not do all of its work, or may lose data.
    Failed,
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at; programs may go by it.
    pub check: &'static str,
    pub status: Status,
    /// What was found. Holds no secret.
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, found: found.into(), advice: None }
    }

    pub fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, status: Status::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    pub fn failed(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, status: Status::Failed, found: found.into(), advice: Some(advice.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Failed => "failed",
        };
        write!(f, "{status:8} {:14} {}", self.check, self.found)?;
        match &self.advice {
            Some(advice) => write!(f, "\n{:24}-> {advice}", ""),
            None => Ok(()),
        }
    }
}

/// Bytes as people read them.
pub fn bytes(count: u64) -> String {
    let mut units = ["bytes", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let (mut size, mut unit) = (count, units.next().unwrap_or_default());
    for larger in units {
        if size < 10 * 1024 {
            break;
        }
        (size, unit) = (size / 1024, larger);
    }
    format!("{size} {unit}")
}
