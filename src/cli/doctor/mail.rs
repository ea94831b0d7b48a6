//! The SMTP server, where one is configured.

use std::sync::Arc;

use super::finding::Finding;
use crate::{base::config::Config, platform::mail};

const CHECK: &str = "smtp";

pub async fn look_at(config: Arc<Config>) -> Vec<Finding> {
    let server = match config.mail.smtp() {
        Ok(Some(server)) => server,
        Ok(None) => return vec![Finding::ok(CHECK, "none is configured: e-mails become files in DATA_DIR/mail")],
        Err(error) => return vec![Finding::failed(CHECK, error.to_string(), "correct the setting")],
    };
    let mut findings = vec![match mail::probe(&config).await {
        Ok(()) if server.login.is_some() => Finding::ok(CHECK, format!("{server:?} answers, and takes the password")),
        Ok(()) => Finding::ok(CHECK, format!("{server:?} answers")),
        Err(cause) => Finding::failed(
            CHECK,
            format!("{server:?} takes no e-mails: {cause}"),
            "see TODO_MAIL_SMTP_URL and the server's log. Until then e-mails are tried for some minutes, and become files \
             in DATA_DIR/mail",
        ),
    }];
    if server.is_open() {
        let found = format!("e-mails to {server:?} are not encrypted: their tokens can be read on their way");
        findings.push(Finding::warning(CHECK, found, "use smtps://, or smtp:// with ?tls=required"));
    }
    if config.mail.mailbox().is_ok_and(|sender| sender.email.domain() == "localhost") {
        let found = "TODO_MAIL_FROM is an address of localhost, which most servers refuse";
        findings.push(Finding::warning(CHECK, found, "set it to an address that the SMTP server may send for"));
    }
    findings
}
