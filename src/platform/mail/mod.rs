//! Mail: [`Mailer`] is the one way by which an e-mail, and any token in it, leaves the server.
//!
//! One mailbox gets so many e-mails an hour (see [`budget`]). Each e-mail goes to the SMTP server, where one is configured.
//! Without one, and where it does not take it, it becomes an `.eml` file (RFC 5322) under `DATA_DIR/mail`, readable by its
//! owner alone.

mod budget;
mod email;
mod outbox;
mod purge;
mod smtp;

pub use budget::Budget;
pub use email::{Email, span};
pub use outbox::probe;

use std::{io, path::Path, time::SystemTime};

use lettre::{
    Address, Message,
    message::{Mailbox, header::ContentType},
};
use tokio::{fs, io::AsyncWriteExt};
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    base::{
        clock::Clock,
        config::Config,
        error::{Error, Result},
    },
    data::db::Db,
    platform::metrics::Metrics,
};
use outbox::Outbox;

/// Sends e-mails after the answer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mailer {
    from: Mailbox,
    outbox: Outbox,
    /// How clients reach the server, where that is configured.
    server: Option<String>,
    /// E-mails an hour to one mailbox.
    limit: u64,
    db: Db,
    clock: Clock,
    background: TaskTracker,
}

/// Whether mail can be addressed to it. Neither line breaks nor lists pass.
pub fn is_address(text: &str) -> bool {
    text.parse::<Address>().is_ok()
}

impl Mailer {
    pub fn new(config: &Config, db: Db, background: TaskTracker, metrics: Metrics) -> Result<Self> {
        let from = config.mail.mailbox().map_err(Error::internal)?;
        let server = config.server.public_url.clone();
        let outbox = Outbox::new(config, from.email.domain(), metrics)?;
        let (limit, clock) = (config.mail.letters_per_mailbox, db.clock().clone());
        Ok(Self { from, outbox, server, limit, db, clock, background })
    }

    /// Call it before waiting for `background`: an e-mail that the SMTP server has not taken yet is tried once more, and
    /// then becomes a file, within some seconds.
    pub fn stop(&self) {
        self.outbox.stop();
    }

    /// Sends an e-mail, later. Call it after the commit of what the e-mail is about. What can't be sent becomes a file, which
    /// is logged by its name, without the e-mail's text; nobody waits for it.
    pub fn post(&self, message: Email) {
        // Made here: e-mails keep the order in which they were posted.
        let (mailer, id) = (self.clone(), self.clock.new_uuid());
        let delivery = async move {
            if let Err(error) = mailer.deliver(&message, id).await {
                tracing::error!(subject = message.subject(), error = %error.describe(), "an e-mail could not be sent");
            }
        };
        self.background.spawn(delivery.in_current_span());
    }

    /// RATE_LIMITED when the mailbox has had as many e-mails as anybody may have sent to it within an hour.
    pub async fn check_room(&self, to: &str) -> Result<()> {
        budget::check_room(&self.db, self.limit, to).await
    }

    async fn deliver(&self, message: &Email, id: Uuid) -> Result<()> {
        if !budget::take(&self.db, self.limit, id, message.to(), message.budget()).await? {
            tracing::warn!(
                subject = message.subject(),
                "a mailbox has had its e-mails of this hour; this one is left out"
            );
            return Ok(());
        }
        let sent = self.message(message, id)?;
        self.outbox.deliver(&sent, id, message.subject()).await
    }

    fn message(&self, message: &Email, id: Uuid) -> Result<Message> {
        // The address alone: a name in the header would be one more thing that a person may choose.
        let to: Address = message.to().parse().map_err(Error::internal)?;
        Message::builder()
            .from(self.from.clone())
            .to(to.into())
            .date(SystemTime::from(self.clock.now()))
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .subject(message.subject())
            .header(ContentType::TEXT_PLAIN)
            .body(message.text(self.server.as_deref()))
            .map_err(Error::internal)
    }
}

/// Writes `name.eml`, from the first byte on readable by its owner alone, and whole before it has that name.
async fn write_private(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut directory = fs::DirBuilder::new();
    directory.recursive(true);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        directory.mode(0o700);
        options.mode(0o600);
    }
    directory.create(folder).await?;
    let unfinished = folder.join(format!("{name}.part"));
    let mut file = options.open(&unfinished).await?;
    file.write_all(bytes).await?;
    file.sync_all().await?;
    fs::rename(unfinished, folder.join(format!("{name}.eml"))).await
}
