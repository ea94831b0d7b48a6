//! How mail leaves the server.

use std::{fmt, net::IpAddr, time::Duration};

use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{ConfigError, parse};

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailConfig {
    /// Whom mail comes from: an address, or `Name <address>`.
    pub from: String,
    /// How long an e-mail's file is kept.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// E-mails an hour to one mailbox, of what anybody can have sent to it, of resets, and of notices each; 0: as many as
    /// there are.
    #[serde(deserialize_with = "parse::number")]
    pub letters_per_mailbox: u64,
    /// Who takes e-mails (see [`SmtpServer`]), with the password; unset: they become files.
    pub smtp_url: Option<String>,
    /// How long the SMTP server may take for one e-mail.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The pause before an e-mail's second try; each further one is four times as long.
    #[serde(with = "humantime_serde")]
    pub retry_pause: Duration,
}

impl fmt::Debug for MailConfig {
    /// Without the URL, which holds a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailConfig").field("from", &self.from).finish_non_exhaustive()
    }
}

/// Who takes e-mails: `smtps://user:password@host:465` or `smtp://user:password@host:587`.
#[derive(Clone)]
pub struct SmtpServer {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    /// User and password.
    pub login: Option<(String, String)>,
}

impl fmt::Debug for SmtpServer {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// How a connection to an SMTP server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// From the first byte on.
    Tls,
    /// From STARTTLS on, which the server must offer.
    StartTls,
    /// Not at all.
    None,
}

impl SmtpServer {
    /// What is wrong is said without the URL.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "expected smtps://user:password@host or smtp://user:password@host")?;
        let mut options = url.query_pairs();
        let (encryption, port) = match (url.scheme(), options.next().as_ref().map(|(name, value)| (&**name, &**value)))
        {
            ("smtps", None) => (Encryption::Tls, 465),
            ("smtp", None | Some(("tls", "required"))) => (Encryption::StartTls, 587),
            ("smtp", Some(("tls", "none"))) => (Encryption::None, 25),
            ("smtp" | "smtps", Some(_)) => {
                return Err("of options there are `?tls=required` and `?tls=none` of smtp://");
            }
            _ => return Err("expected smtps://… or smtp://…"),
        };
        if options.next().is_some() || !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err("expected nothing after host and port but `?tls=required` or `?tls=none`");
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port().unwrap_or(port);
        if host.is_empty() || port == 0 {
            return Err("expected a host, and a port other than 0");
        }
        let decoded = |part: &str| match percent_decode_str(part).decode_utf8() {
            Ok(text) if !text.contains('\0') => Ok(text.into_owned()),
            _ => Err("user and password must be UTF-8, with what has a meaning in URLs as %40 and so on"),
        };
        let login = match (decoded(url.username())?, url.password()) {
            (user, None) if user.is_empty() => None,
            (user, Some(password)) if !user.is_empty() && !password.is_empty() => Some((user, decoded(password)?)),
            _ => return Err("expected both user and password, or none of them"),
        };
        let server = Self { host, port, encryption, login };
        if server.login.is_some() && server.is_open() {
            return Err("a password is sent without encryption only to this machine: use smtps:// or ?tls=required");
        }
        Ok(server)
    }

    /// Whether others may read what is sent there.
    pub fn is_open(&self) -> bool {
        let is_local = self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.encryption == Encryption::None && !is_local
    }
}

/// Whoever hands e-mails on must have time to.
const SHORTEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            from: "Todo Platform <no-reply@localhost>".to_owned(),
            retention: 30 * SHORTEST,
            letters_per_mailbox: 5,
            smtp_url: None,
            timeout: Duration::from_secs(30),
            retry_pause: Duration::from_secs(5),
        }
    }
}

impl MailConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.retention < SHORTEST {
            return Err(ConfigError::of("mail.retention", "at least 1d"));
        }
        if self.timeout < Duration::from_millis(100) || self.timeout > Duration::from_secs(300) {
            return Err(ConfigError::of("mail.timeout", "100ms to 5m"));
        }
        if self.retry_pause < Duration::from_millis(10) || self.retry_pause > Duration::from_secs(60) {
            return Err(ConfigError::of("mail.retry_pause", "10ms to 1m"));
        }
        self.smtp()?;
        self.mailbox().map(drop)
    }

    /// The SMTP server, where one is set.
    pub fn smtp(&self) -> Result<Option<SmtpServer>, ConfigError> {
        let parsed = self.smtp_url.as_deref().map(SmtpServer::parse).transpose();
        parsed.map_err(|what| ConfigError::of("mail.smtp_url", what))
    }

    /// The sender, as mail's headers take it.
    pub fn mailbox(&self) -> Result<Mailbox, ConfigError> {
        let malformed = || ConfigError::of("mail.from", "expected `address` or `Name <address>`");
        if self.from.chars().any(char::is_control) {
            return Err(malformed());
        }
        self.from.trim().parse().map_err(|_| malformed())
    }
}
