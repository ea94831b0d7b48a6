//! What e-mails say. Plain text; no page takes a token yet, so each names the mutation that does.

use std::time::Duration;

use super::Budget;
use crate::data::entity::{user, webhook};

/// An e-mail to one address.
#[derive(Clone)]
pub struct Email {
    budget: Budget,
    to: String,
    subject: String,
    greeting: String,
    paragraphs: Vec<String>,
}

impl std::fmt::Debug for Email {
    /// Without the text, which may hold a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Email").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Email {
    fn new(budget: Budget, to: &str, subject: &str, greeting: String) -> Self {
        Self { budget, to: to.to_owned(), subject: one_line(subject), greeting, paragraphs: Vec::new() }
    }

    fn to_person(budget: Budget, to: &str, user: &user::Model, subject: &str) -> Self {
        let name = user.full_name.as_deref().unwrap_or(&user.username);
        Self::new(budget, to, subject, format!("Hello {},", one_line(name)))
    }

    fn paragraph(mut self, text: impl Into<String>) -> Self {
        self.paragraphs.push(text.into());
        self
    }

    /// A token on a line of its own, with what takes it, for how long.
    fn token(self, token: &str, mutation: &str, ttl: Duration) -> Self {
        self.paragraph(format!("    {token}"))
            .paragraph(format!("Send it with the mutation {mutation}. It works once, within {}.", span(ttl)))
    }

    /// To a new account's address.
    pub fn verification(user: &user::Model, token: &str, ttl: Duration) -> Self {
        Self::to_person(Budget::Asked, &user.email, user, "Confirm your e-mail address")
            .paragraph("An account was made with this address. This token confirms that it is yours:")
            .token(token, "emailVerify", ttl)
            .paragraph("If it was not you, ignore this e-mail.")
    }

    /// To the address that is to become the account's.
    pub fn email_change(user: &user::Model, new_email: &str, token: &str, ttl: Duration) -> Self {
        Self::to_person(Budget::Asked, new_email, user, "Confirm your new e-mail address")
            .paragraph("This address is to become the one of your account. This token confirms that it is yours:")
            .token(token, "emailVerify", ttl)
            .paragraph("Until then the account keeps its present address. If it was not you, ignore this e-mail.")
    }

    /// To the address that was the account's until now.
    pub fn email_changed(old: &user::Model) -> Self {
        Self::to_person(Budget::Notice, &old.email, old, "Your e-mail address was changed")
            .paragraph("Your account has another e-mail address now. This one is not used any more.")
            .paragraph("If it was not you, tell whoever runs this server at once.")
    }

    pub fn password_reset(user: &user::Model, token: &str, ttl: Duration) -> Self {
        Self::to_person(Budget::Reset, &user.email, user, "Choose a new password")
            .paragraph("Somebody asked for a new password for your account. This token lets you choose one:")
            .token(token, "passwordResetComplete", ttl)
            .paragraph("If it was not you, ignore this e-mail: without the token nothing changes.")
    }

    pub fn password_changed(user: &user::Model) -> Self {
        Self::to_person(Budget::Notice, &user.email, user, "Your password was changed")
            .paragraph("The password of your account was changed, and its other sessions were ended.")
            .paragraph("If it was not you, ask for a new password with the mutation passwordResetRequest at once.")
    }

    /// To somebody who may not have an account yet.
    pub fn invitation(to: &str, organization: &str, token: &str, ttl: Duration) -> Self {
        let organization = one_line(organization);
        Self::new(Budget::Asked, to, &format!("Invitation to {organization}"), "Hello,".to_owned())
            .paragraph(format!("You are invited to join {organization}. This token lets you in:"))
            .paragraph(format!("    {token}"))
            .paragraph(format!(
                "Send it with the mutation userRegister (invitationToken) to make an account with this address, or with \
                 invitationAccept if you have one. It works once, within {}.",
                span(ttl)
            ))
            .paragraph("If you don't know what this is about, ignore this e-mail.")
    }

    /// To an owner of the organization.
    pub fn webhook_disabled(owner: &user::Model, organization: &str, webhook: &webhook::Model, reason: &str) -> Self {
        let organization = one_line(organization);
        let webhook = one_line(webhook.name.as_deref().unwrap_or(&webhook.url));
        Self::to_person(Budget::Notice, &owner.email, owner, &format!("A webhook of {organization} was disabled"))
            .paragraph(format!("The webhook {webhook} of {organization} gets no more events."))
            .paragraph(one_line(reason))
            .paragraph(
                "Once its receiver works again, enable it with the mutation webhookUpdate (isEnabled: true), and send what \
                 it has missed with webhookReplay.",
            )
    }

    pub const fn budget(&self) -> Budget {
        self.budget
    }

    pub fn to(&self) -> &str {
        &self.to
    }

    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The whole text; `server` is how clients reach it, where that is known.
    pub fn text(&self, server: Option<&str>) -> String {
        let Self { greeting, paragraphs, .. } = self;
        let place = server.map(|url| format!(", {url}/graphql")).unwrap_or_default();
        format!("{greeting}\n\n{}\n\n-- \nTodo Platform{place}\n", paragraphs.join("\n\n"))
    }
}

/// A time as people say it: in the largest unit that measures it whole.
pub fn span(ttl: Duration) -> String {
    let seconds = ttl.as_secs();
    let units = [(24 * 60 * 60, "day"), (60 * 60, "hour"), (60, "minute"), (1, "second")];
    let (size, unit) = units.into_iter().find(|(size, _)| seconds.is_multiple_of(*size)).unwrap_or((1, "second"));
    let count = seconds / size;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// A name that people choose, so that it can neither end its line, in a header or in the text, nor fill the e-mail.
fn one_line(text: &str) -> String {
    let spaced = text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c });
    let line: String = spaced.take(120).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_its_largest_whole_unit() {
        assert_eq!(
            [3600, 86_400, 172_800, 5400, 61].map(|s| span(Duration::from_secs(s))),
            ["1 hour", "1 day", "2 days", "90 minutes", "61 seconds"]
        );
    }

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(one_line("Acme\r\nBcc: all@example.com\u{2028}\0"), "Acme Bcc: all@example.com");
        assert_eq!(one_line(&"x".repeat(500)).len(), 120);
    }
}
