//! An SMTP server that takes e-mails. So many connections at once, each used again while more e-mails wait, and closed
//! when none does.
//!
//! The connections are kept here and not by lettre's pool: that one has no limit of time for an answer, and takes a
//! connection back whose exchange was given up in the middle, on which the next e-mail would be read as part of the last.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lettre::{
    Message,
    transport::smtp::{
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, TlsParameters},
        extension::ClientId,
    },
};
use tokio::{sync::Semaphore, time::timeout};

use crate::base::{
    config::{Encryption, SmtpServer},
    error::{Error, Result},
};

/// Connections at most.
const CONNECTIONS: usize = 4;
/// For the farewell, which nothing depends on.
const FAREWELL: Duration = Duration::from_secs(2);
/// Characters of a server's words that are told.
const TOLD: usize = 300;

/// Why an e-mail was not taken.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}")]
pub struct SmtpError {
    what: String,
    /// Another try would end the same.
    pub is_final: bool,
}

type Lettre = lettre::transport::smtp::Error;

impl SmtpError {
    fn new(error: &Lettre) -> Self {
        // The server's words, on one line and not many of them.
        let what = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TOLD).collect();
        Self { what, is_final: error.is_permanent() || error.is_client() }
    }

    /// Without the server's words, which may repeat what it was sent.
    fn of_login(error: &Lettre) -> Self {
        let what = match error.status() {
            Some(code) => format!("the server refused user and password ({code})"),
            None => "the login failed: the connection ended, or the server knows neither PLAIN nor LOGIN".to_owned(),
        };
        Self { what, is_final: error.is_permanent() || error.is_client() }
    }

    /// Nobody waits for the SMTP server any longer.
    pub fn given_up(why: &str) -> Self {
        Self { what: why.to_owned(), is_final: true }
    }

    fn silent(limit: Duration) -> Self {
        Self { what: format!("no answer within {}", humantime::format_duration(limit)), is_final: false }
    }
}

pub struct Smtp {
    server: SmtpServer,
    tls: Option<TlsParameters>,
    hello: ClientId,
    /// For one e-mail, and for a connection.
    limit: Duration,
    places: Semaphore,
    /// E-mails that wait for a place.
    waiting: AtomicUsize,
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Smtp {
    /// Reads the machine's root certificates, and connects to nobody yet. `name` is what this server calls itself.
    pub fn new(server: SmtpServer, name: &str, limit: Duration) -> Result<Self> {
        let tls = match server.encryption {
            Encryption::None => None,
            Encryption::Tls | Encryption::StartTls => {
                Some(TlsParameters::new_rustls(server.host.clone()).map_err(Error::internal)?)
            }
        };
        Ok(Self {
            server,
            tls,
            hello: ClientId::Domain(name.to_owned()),
            limit,
            places: Semaphore::new(CONNECTIONS),
            waiting: AtomicUsize::new(0),
            idle: Mutex::default(),
        })
    }

    /// Hands an e-mail over; once it is `Ok`, the server has taken charge of it.
    pub async fn send(&self, message: &Message) -> Result<(), SmtpError> {
        let waiting = Waiting::begin(&self.waiting);
        // The semaphore is never closed.
        let _place = self.places.acquire().await.ok();
        drop(waiting);
        let exchange = timeout(self.limit, self.exchange(message)).await;
        // Given up, its connection is closed where it stands.
        let mut connection = exchange.map_err(|_| SmtpError::silent(self.limit))??;
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        } else {
            let _ = timeout(FAREWELL, connection.abort()).await;
            let rest = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
            drop(rest);
        }
        Ok(())
    }

    /// Whether the server answers, and takes user and password.
    pub async fn probe(&self) -> Result<(), SmtpError> {
        let connection = timeout(self.limit, self.connect()).await;
        let mut connection = connection.map_err(|_| SmtpError::silent(self.limit))??;
        let _ = timeout(FAREWELL, connection.abort()).await;
        Ok(())
    }

    async fn exchange(&self, message: &Message) -> Result<AsyncSmtpConnection, SmtpError> {
        let mut connection = match self.idle().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let sent = connection.send(message.envelope(), &message.formatted()).await;
        sent.map_err(|error| SmtpError::new(&error))?;
        Ok(connection)
    }

    /// One of the connections that still work.
    async fn idle(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let mut connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if connection.test_connected().await {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SmtpError> {
        let SmtpServer { host, port, encryption, login } = &self.server;
        let told = |error| SmtpError::new(&error);
        let at_once = self.tls.clone().filter(|_| *encryption == Encryption::Tls);
        let place = (host.as_str(), *port);
        let limit = Some(self.limit);
        let connection = AsyncSmtpConnection::connect_tokio1(place, limit, &self.hello, at_once, None);
        let mut connection = connection.await.map_err(told)?;
        if let Some(tls) = self.tls.clone().filter(|_| *encryption == Encryption::StartTls) {
            connection.starttls(tls, &self.hello).await.map_err(told)?;
        }
        if let Some((user, password)) = login {
            let credentials = Credentials::new(user.clone(), password.clone());
            let login = connection.auth(DEFAULT_MECHANISMS, &credentials).await;
            login.map_err(|error| SmtpError::of_login(&error))?;
        }
        Ok(connection)
    }
}

/// Counts as waiting until it is dropped.
struct Waiting<'c>(&'c AtomicUsize);

impl<'c> Waiting<'c> {
    fn begin(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
