//! An SMTP server on loopback: it keeps what it takes, and answers as its story says.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufStream},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::mail::{Email, parse};

/// What it says of an e-mail that it has read whole.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    Take,
    Reply(&'static str),
    /// Nothing, for ever.
    Silence,
}

/// How it is reached.
#[derive(Clone, Default)]
pub struct Doors {
    /// TLS from the first byte on.
    pub wrapped: Option<TlsAcceptor>,
    /// TLS after STARTTLS.
    pub upgraded: Option<TlsAcceptor>,
    /// Whom it lets in; anybody when unset.
    pub login: Option<(&'static str, &'static str)>,
}

type Judge = Arc<dyn Fn(usize) -> Verdict + Send + Sync>;
trait Stream: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}
type Line = BufStream<Pin<Box<dyn Stream>>>;

/// It ends with its last clone.
#[derive(Clone)]
pub struct SmtpServer {
    pub address: SocketAddr,
    kept: Arc<Kept>,
    _task: Arc<Ending>,
}

struct Ending(JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Default)]
struct Kept {
    taken: Mutex<Vec<String>>,
    /// E-mails that were read whole, taken or not.
    tries: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl SmtpServer {
    /// One that takes everything, without encryption.
    pub async fn start() -> Self {
        Self::with(0, Doors::default(), |_| Verdict::Take).await
    }

    /// `judge` is told how many e-mails came before.
    pub async fn judging(judge: impl Fn(usize) -> Verdict + Send + Sync + 'static) -> Self {
        Self::with(0, Doors::default(), judge).await
    }

    pub async fn with(port: u16, doors: Doors, judge: impl Fn(usize) -> Verdict + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (kept, judge) = (Arc::<Kept>::default(), Arc::new(judge) as Judge);
        let keeps = kept.clone();
        let task = tokio::spawn(async move {
            let mut guests = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, judge, doors) = (keeps.clone(), judge.clone(), doors.clone());
                guests.spawn(async move {
                    kept.connections.fetch_add(1, Ordering::SeqCst);
                    kept.most.fetch_max(kept.open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let stream: Pin<Box<dyn Stream>> = match &doors.wrapped {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => Box::pin(stream),
                            Err(_) => return,
                        },
                        None => Box::pin(stream),
                    };
                    // Whoever is served hangs up when they like.
                    let _ = serve(stream, &kept, &judge, &doors).await;
                    kept.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, kept, _task: Arc::new(Ending(task)) }
    }

    /// The setting that names it.
    pub fn url(&self) -> String {
        format!("smtp://{}?tls=none", self.address)
    }

    /// The e-mails that it took, oldest first.
    pub fn taken(&self) -> Vec<Email> {
        let taken = self.kept.taken.lock().expect("taken");
        taken.iter().map(|raw| parse(raw, std::path::PathBuf::new())).collect()
    }

    pub fn tries(&self) -> usize {
        self.kept.tries.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.kept.connections.load(Ordering::SeqCst)
    }

    /// Of the connections, so many at once.
    pub fn most_at_once(&self) -> usize {
        self.kept.most.load(Ordering::SeqCst)
    }
}

async fn reply(line: &mut Line, text: &str) -> std::io::Result<()> {
    line.write_all(format!("{text}\r\n").as_bytes()).await?;
    line.flush().await
}

/// Whether these are user and password of AUTH PLAIN.
fn is_login(word: &str, login: Option<(&str, &str)>) -> bool {
    let Some((user, password)) = login else { return true };
    STANDARD.decode(word).is_ok_and(|bytes| bytes == format!("\0{user}\0{password}").as_bytes())
}

async fn serve(stream: Pin<Box<dyn Stream>>, kept: &Kept, judge: &Judge, doors: &Doors) -> std::io::Result<()> {
    let mut line: Line = BufStream::new(stream);
    let (mut known, mut encrypted) = (doors.login.is_none(), doors.wrapped.is_some());
    reply(&mut line, "220 mail.example ready").await?;
    loop {
        let mut command = String::new();
        if line.read_line(&mut command).await? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = command.split_whitespace().collect();
        match (words.first().copied().unwrap_or_default().to_uppercase().as_str(), &doors.upgraded) {
            ("EHLO", Some(_)) if !encrypted => reply(&mut line, "250-mail.example\r\n250 STARTTLS").await?,
            ("EHLO", _) => reply(&mut line, "250-mail.example\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN").await?,
            ("STARTTLS", Some(tls)) => {
                reply(&mut line, "220 go ahead").await?;
                let Ok(stream) = tls.accept(line.into_inner()).await else { return Ok(()) };
                line = BufStream::new(Box::pin(stream));
                encrypted = true;
            }
            ("AUTH", _) if is_login(words.get(2).unwrap_or(&""), doors.login) => {
                known = true;
                reply(&mut line, "235 welcome").await?;
            }
            // As some do, it repeats what it was sent.
            ("AUTH", _) => reply(&mut line, &format!("535 not you: {}", command.trim())).await?,
            ("MAIL", Some(_)) if !encrypted => reply(&mut line, "530 STARTTLS first").await?,
            ("MAIL", _) if !known => reply(&mut line, "530 log in first").await?,
            ("MAIL" | "RCPT" | "NOOP" | "RSET", _) => reply(&mut line, "250 ok").await?,
            ("DATA", _) => {
                reply(&mut line, "354 go on").await?;
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    if line.read_line(&mut text).await? == 0 {
                        return Ok(());
                    }
                }
                match judge(kept.tries.fetch_add(1, Ordering::SeqCst)) {
                    Verdict::Take => {
                        kept.taken.lock().expect("taken").push(text.trim_end_matches(".\r\n").to_owned());
                        reply(&mut line, "250 taken").await?;
                    }
                    Verdict::Reply(words) => reply(&mut line, words).await?,
                    Verdict::Silence => std::future::pending().await,
                }
            }
            ("QUIT", _) => return reply(&mut line, "221 bye").await,
            _ => reply(&mut line, "500 what?").await?,
        }
    }
}
