//! What becomes of an e-mail: handed to the SMTP server, in a few tries over some minutes, or a file.

use std::{path::PathBuf, sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable as _};
use lettre::Message;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    smtp::{Smtp, SmtpError},
    write_private,
};
use crate::{
    base::{
        config::Config,
        error::{Error, Result},
    },
    platform::metrics::Metrics,
};

/// E-mails that wait for the server at most, each of some kilobytes; more become files at once.
const WAITING: usize = 1_000;
/// Tries after the first.
const RETRIES: usize = 4;
/// A pause is so many times the one before: with 5 s, tries are spread over 7 minutes, as servers that let strangers wait
/// demand.
const FACTOR: f32 = 4.0;
/// With those before it, an e-mail waits so long at most.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// When this server stops, what is being sent may take so long, or a quarter of what there is.
const LAST: Duration = Duration::from_secs(5);

/// Clones share connections and queue.
#[derive(Clone, Debug)]
pub struct Outbox {
    /// Unset: all become files.
    smtp: Option<Arc<Smtp>>,
    pub folder: PathBuf,
    retry_pause: Duration,
    places: Arc<Semaphore>,
    stopping: CancellationToken,
    last: Duration,
    metrics: Metrics,
}

impl Outbox {
    /// `domain` is that of the sender's address.
    pub fn new(config: &Config, domain: &str, metrics: Metrics) -> Result<Self> {
        Ok(Self {
            smtp: smtp(config, domain)?.map(Arc::new),
            folder: config.data_dir.join("mail"),
            retry_pause: config.mail.retry_pause,
            places: Arc::new(Semaphore::new(WAITING)),
            stopping: CancellationToken::new(),
            last: LAST.min(config.server.drain / 4),
            metrics,
        })
    }

    /// From now on what waits is tried once more, and then becomes a file.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Ends when the e-mail is somewhere: at the server, or in its file. `subject` is for the log.
    pub async fn deliver(&self, message: &Message, id: Uuid, subject: &str) -> Result<()> {
        let Some(smtp) = &self.smtp else {
            self.write(message, id).await?;
            self.metrics.emailed("written");
            return Ok(());
        };
        let cause = match self.places.try_acquire() {
            Ok(_place) => {
                self.metrics.emails_wait(1);
                let sent = self.send(smtp, message).await;
                self.metrics.emails_wait(-1);
                match sent {
                    Ok(()) => {
                        self.metrics.emailed("sent");
                        return Ok(());
                    }
                    Err(error) => error.to_string(),
                }
            }
            Err(_) => format!("{WAITING} others wait for the SMTP server"),
        };
        self.metrics.emailed("failed");
        self.write(message, id).await?;
        let file = format!("{id}.eml");
        tracing::error!(subject, file, error = cause, "an e-mail could not be sent; it is in DATA_DIR/mail");
        Ok(())
    }

    async fn send(&self, smtp: &Smtp, message: &Message) -> Result<(), SmtpError> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(self.retry_pause)
            .with_factor(FACTOR)
            .without_max_delay()
            .with_max_times(RETRIES)
            .with_jitter();
        let stopping = self.stopping.clone();
        let pause = move |time| {
            let stopping = stopping.clone();
            // What waits is tried a last time when this server stops.
            async move { timeout(time, stopping.cancelled_owned()).await.unwrap_or_default() }
        };
        let attempt = || smtp.send(message);
        let tries =
            attempt.retry(pauses).sleep(pause).when(|error| !error.is_final && !self.stopping.is_cancelled()).notify(
                |error, time| tracing::warn!(%error, "an e-mail was not taken; tried again in {} s", time.as_secs()),
            );
        tokio::select! {
            sent = tries => sent,
            () = self.time_is_up() => Err(SmtpError::given_up("the server stopped before it was sent")),
            () = sleep(LONGEST) => Err(SmtpError::given_up("it has waited for 30 minutes")),
        }
    }

    async fn time_is_up(&self) {
        self.stopping.cancelled().await;
        sleep(self.last).await;
    }

    async fn write(&self, message: &Message, id: Uuid) -> Result<()> {
        write_private(&self.folder, &id.to_string(), &message.formatted()).await.map_err(Error::internal)
    }
}

/// The SMTP server that is configured, if any. This one calls itself by its public name, or else the sender's domain.
fn smtp(config: &Config, domain: &str) -> Result<Option<Smtp>> {
    let Some(server) = config.mail.smtp().map_err(Error::internal)? else { return Ok(None) };
    let url = config.server.public_url.as_deref().and_then(|url| url::Url::parse(url).ok());
    let host = url.as_ref().and_then(url::Url::domain).unwrap_or(domain);
    Smtp::new(server, host, config.mail.timeout).map(Some)
}

/// For `doctor`: what is wrong with the SMTP server that is configured.
pub async fn probe(config: &Config) -> Result<(), String> {
    let sender = config.mail.mailbox().map_err(|error| error.to_string())?;
    let Some(smtp) = smtp(config, sender.email.domain()).map_err(|error| error.describe())? else {
        return Ok(());
    };
    smtp.probe().await.map_err(|error| error.to_string())
}
