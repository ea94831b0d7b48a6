//! The connections that clients have open: how many there are, in all and from one address, and how much waits on each
//! to be taken. Both are bounded: a connection too many is refused, and when the answers that wait for their clients
//! weigh too much in all, the connection with most of them is cut.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use ipnet::IpNet;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::config::ServerConfig;

/// Connections at most where nothing is configured and the process may open very many files.
const MAXIMUM: usize = 20_000;

/// What limits connections. Clones share it.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    maximum: usize,
    per_address: usize,
    trusted_proxies: Vec<IpNet>,
    /// Bytes of answers in memory at most.
    waiting_bytes: usize,
    /// Bytes of answers in memory now.
    waiting: AtomicUsize,
    /// When instants are counted from.
    epoch: Instant,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last_number: u64,
    by_number: HashMap<u64, Weak<Connection>>,
    by_address: HashMap<IpAddr, usize>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Too many in all.
    InAll,
    /// Too many from one address.
    Address,
}

/// Lets the process open as many files as it may. Connections are files.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
}

/// Files that the process may open once it has raised its limit; `None`: as many as it likes.
pub fn file_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// Connections at most where nothing is configured: three of four files that the process may open. The rest is for the
/// database, webhooks, e-mails.
fn default_maximum() -> usize {
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    files.map_or(MAXIMUM, |files| (files / 4 * 3).clamp(1, MAXIMUM))
}

impl Connections {
    pub fn new(config: &ServerConfig) -> Self {
        let maximum = config.max_connections.unwrap_or_else(default_maximum);
        Self(Arc::new(Inner {
            maximum,
            per_address: config.max_connections_per_address.unwrap_or_else(|| (maximum / 8).max(1)),
            trusted_proxies: config.trusted_proxies.clone(),
            waiting_bytes: config.waiting_bytes,
            waiting: AtomicUsize::new(0),
            epoch: Instant::now(),
            open: Mutex::default(),
        }))
    }

    /// Lets a connection in from an address; it is open as long as the value lives.
    ///
    /// # Errors
    ///
    /// When there are too many. Trusted proxies stand for many addresses: only the number in all counts for them.
    pub fn admit(&self, peer: IpAddr) -> Result<Arc<Connection>, Full> {
        let mut open = self.0.open();
        if open.by_number.len() >= self.0.maximum {
            return Err(Full::InAll);
        }
        let peer = peer.to_canonical();
        let is_proxy = self.0.trusted_proxies.iter().any(|network| network.contains(&peer));
        let address = (!is_proxy).then(|| neighbourhood(peer));
        if let Some(address) = address {
            let count = open.by_address.entry(address).or_default();
            if *count >= self.0.per_address {
                return Err(Full::Address);
            }
            *count += 1;
        }
        open.last_number += 1;
        let number = open.last_number;
        let connection = Arc::new(Connection {
            number,
            address,
            connections: self.clone(),
            waiting: AtomicUsize::new(0),
            cut: CancellationToken::new(),
            write_blocked: Since::default(),
            requests: Mutex::new(Requests {
                count: 0,
                has_come: false,
                quiet_since: Instant::now(),
                unread: Vec::new(),
            }),
        });
        open.by_number.insert(number, Arc::downgrade(&connection));
        Ok(connection)
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.0.open().by_number.len()
    }

    /// An answer's text, which counts among what is in memory as long as anybody has it.
    pub fn weigh(&self, text: String) -> Bytes {
        let text = text.into_boxed_str();
        self.0.waiting.fetch_add(text.len(), Ordering::Relaxed);
        Bytes::from_owner(Weighed { text, connections: self.clone() })
    }

    /// Cuts connections, those with most waiting first, until what waits in all is within the limit.
    fn relieve(&self) {
        let total = self.0.waiting.load(Ordering::Relaxed);
        if total <= self.0.waiting_bytes {
            return;
        }
        let open: Vec<Arc<Connection>> = self.0.open().by_number.values().filter_map(Weak::upgrade).collect();
        let (ending, mut going): (Vec<_>, Vec<_>) = open.into_iter().partition(|one| one.cut.is_cancelled());
        let mut relieved: usize = ending.iter().map(|one| one.waiting.load(Ordering::Relaxed)).sum();
        going.sort_unstable_by_key(|one| one.waiting.load(Ordering::Relaxed));
        while total.saturating_sub(relieved) > self.0.waiting_bytes {
            let Some(heaviest) = going.pop() else { return };
            let bytes = heaviest.waiting.load(Ordering::Relaxed);
            tracing::warn!(bytes, total, "a connection is cut: too much waits for clients in all, most of it there");
            relieved += bytes.max(1);
            heaviest.cut.cancel();
        }
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address, or of IPv6 the network of 64 bits that one subscriber has.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
    }
}

/// A text that is counted.
struct Weighed {
    text: Box<str>,
    connections: Connections,
}

impl AsRef<[u8]> for Weighed {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Weighed {
    fn drop(&mut self) {
        self.connections.0.waiting.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    number: u64,
    address: Option<IpAddr>,
    connections: Connections,
    /// Bytes that wait for the client to take them.
    waiting: AtomicUsize,
    cut: CancellationToken,
    write_blocked: Since,
    requests: Mutex<Requests>,
}

#[derive(Debug)]
struct Requests {
    /// Under way.
    count: usize,
    has_come: bool,
    /// When the last one ended, or the connection began.
    quiet_since: Instant,
    /// Of each that is under way: since when what was made of its answer has not been taken.
    unread: Vec<Weak<Since>>,
}

impl Connection {
    /// Cancelled when the connection is to end at once.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Counts bytes that wait for this client and are weighed themselves ([`Connections::weigh`]).
    pub fn wait(self: &Arc<Self>, bytes: usize) -> Waiting {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.connections.relieve();
        Waiting { connection: self.clone(), bytes, is_own: false }
    }

    /// Counts bytes that wait for this client, here and in all.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Waiting {
        self.connections.0.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.connections.relieve();
        Waiting { connection: self.clone(), bytes, is_own: true }
    }

    /// A request has begun; it is under way as long as the value lives.
    pub fn begin(self: &Arc<Self>) -> UnderWay {
        let unread = Arc::new(Since::default());
        let mut requests = self.requests();
        requests.count += 1;
        requests.has_come = true;
        requests.unread.retain(|since| since.strong_count() > 0);
        requests.unread.push(Arc::downgrade(&unread));
        UnderWay { connection: self.clone(), unread }
    }

    /// How long there has been no request under way; `None` while there is one.
    pub fn quiet_for(&self) -> Option<Duration> {
        let requests = self.requests();
        (requests.count == 0).then(|| requests.quiet_since.elapsed())
    }

    /// Whether a request has come.
    pub fn has_asked(&self) -> bool {
        self.requests().has_come
    }

    /// How long the client has taken nothing of what waits for it.
    pub fn stuck_for(&self) -> Duration {
        let epoch = self.connections.0.epoch;
        let requests = self.requests();
        let unread = requests.unread.iter().filter_map(Weak::upgrade).map(|since| since.elapsed(epoch));
        unread.fold(self.write_blocked.elapsed(epoch), Duration::max)
    }

    /// Whether the last write found no room.
    pub fn set_write_blocked(&self, is_blocked: bool) {
        self.write_blocked.set(is_blocked, self.connections.0.epoch);
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.connections.0.open();
        open.by_number.remove(&self.number);
        if let Some(address) = self.address
            && let Some(count) = open.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

/// Bytes that wait for a client, until dropped.
#[derive(Debug)]
pub struct Waiting {
    connection: Arc<Connection>,
    bytes: usize,
    /// Whether they count in all, too.
    is_own: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.connection.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
        if self.is_own {
            self.connection.connections.0.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// A request that is under way, its answer's body included.
#[derive(Debug)]
pub struct UnderWay {
    connection: Arc<Connection>,
    unread: Arc<Since>,
}

impl UnderWay {
    /// Whether it is the client who must act: take what was made of the answer.
    pub fn set_unread(&self, is_unread: bool) {
        self.unread.set(is_unread, self.connection.connections.0.epoch);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut requests = self.connection.requests();
        requests.count -= 1;
        requests.quiet_since = Instant::now();
    }
}

/// Since when something has been so: milliseconds after the epoch, 0 while it is not.
#[derive(Debug, Default)]
struct Since(AtomicU64);

impl Since {
    fn set(&self, is_so: bool, epoch: Instant) {
        if !is_so {
            self.0.store(0, Ordering::Relaxed);
        } else if self.0.load(Ordering::Relaxed) == 0 {
            self.0.store(millis(epoch.elapsed()).max(1), Ordering::Relaxed);
        }
    }

    fn elapsed(&self, epoch: Instant) -> Duration {
        match self.0.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(millis(epoch.elapsed()).saturating_sub(since)),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
