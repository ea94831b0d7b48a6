//! The connection to Redis, whether it is up, and how many instances share it.
//!
//! Redis is a help, never a need: whoever asks it gets `None` while it is away, and does without. Nobody waits for it
//! longer than the configured time, and while it is known to be away nobody waits at all: one task tries it again.

mod inspection;

use std::{
    fmt::Display,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use redis::{
    AsyncCommands as _, AsyncConnectionConfig, Client, FromRedisValue, Script, ScriptInvocation,
    aio::MultiplexedConnection,
};
use tokio::{sync::Notify, time::timeout};

use crate::{
    base::{config::RedisConfig, error::Error, secret},
    platform::metrics::Metrics,
};

pub use inspection::{Inspection, inspect};

/// How long connecting, and the heartbeat, may take at least: nobody waits for them.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// Between heartbeats.
const BEAT: Duration = Duration::from_secs(3);
/// Between tries while Redis is away.
const RETRY: Duration = Duration::from_millis(500);

/// Enters this instance among those alive, forgets those that were silent for ten seconds, and counts them.
static HEARTBEAT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local now = tonumber(redis.call('TIME')[1])
         redis.call('ZADD', KEYS[1], now, ARGV[1])
         redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 10)
         redis.call('EXPIRE', KEYS[1], 60)
         return redis.call('ZCARD', KEYS[1])",
    )
});
const INSTANCES: &str = "todo:instances";

/// Clones share the connection. Keys begin with `todo:`.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    client: Client,
    /// How long a request waits for an answer at most.
    patience: Duration,
    link: Mutex<Link>,
    /// Wakes the task that tries again.
    lost: Arc<Notify>,
    /// This instance among the others.
    name: String,
    instances: AtomicU32,
    metrics: Metrics,
}

#[derive(Default)]
struct Link {
    /// `None` while Redis is away.
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that a late failure of an old one does not end a new one.
    number: u64,
    /// What the log said last.
    said: Option<bool>,
}

impl std::fmt::Debug for Redis {
    /// Without the URL: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("is_up", &self.is_up()).finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects, and keeps trying for as long as the value lives. Redis may be away: that is no failure. A URL that
    /// can't be read is one; the message does not repeat it.
    pub async fn start(config: &RedisConfig, metrics: Metrics) -> Result<Self, Error> {
        let unreadable = |error: redis::RedisError| Error::internal(format!("REDIS_URL: {}", error.category()));
        let client = Client::open(config.url.as_str()).map_err(unreadable)?;
        let name = secret::new_token()?;
        let redis = Self(Arc::new(Inner {
            client,
            patience: config.timeout,
            link: Mutex::default(),
            lost: Arc::default(),
            name,
            instances: AtomicU32::new(1),
            metrics,
        }));
        redis.beat().await;
        tokio::spawn(Self::watch(Arc::downgrade(&redis.0)));
        Ok(redis)
    }

    pub fn is_up(&self) -> bool {
        self.link().connection.is_some()
    }

    /// Instances that share this Redis, this one included, as last seen.
    pub fn instances(&self) -> u32 {
        self.0.instances.load(Ordering::Relaxed).max(1)
    }

    /// Runs a script; `None` when Redis is away.
    pub async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Option<T> {
        self.ask(|mut connection| async move { script.invoke_async(&mut connection).await }).await
    }

    /// Tells whoever listens to a channel. While Redis is away nobody does.
    pub async fn publish(&self, channel: &str, message: &str) {
        self.ask(|mut connection| async move { connection.publish::<_, _, ()>(channel, message).await }).await;
    }

    /// Calls `heard` with each message of a channel, for ever; on a connection of its own, made again when it is lost.
    /// What is said meanwhile is missed.
    pub async fn listen(&self, channel: &str, heard: impl Fn(&str)) {
        loop {
            // What is wrong is said by the other connection.
            if let Ok(Ok(mut messages)) = timeout(self.probe_patience(), self.0.client.get_async_pubsub()).await
                && messages.subscribe(channel).await.is_ok()
            {
                let mut messages = messages.into_on_message();
                while let Some(message) = messages.next().await {
                    if let Ok(text) = message.get_payload::<String>() {
                        heard(&text);
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn ask<T, F>(&self, question: impl FnOnce(MultiplexedConnection) -> F) -> Option<T>
    where
        F: Future<Output = redis::RedisResult<T>>,
    {
        let (number, connection) = self.connection()?;
        match timeout(self.0.patience, question(connection)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => self.lose(number, &error),
            Err(_) => self.lose(number, &format_args!("no answer within {} ms", self.0.patience.as_millis())),
        }
        self.0.lost.notify_one();
        None
    }

    fn connection(&self) -> Option<(u64, MultiplexedConnection)> {
        let link = self.link();
        Some((link.number, link.connection.clone()?))
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.0.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries again and again while Redis is away, and tells it now and then that this instance lives. Ends with the last
    /// clone.
    async fn watch(inner: Weak<Inner>) {
        loop {
            let Some(redis) = inner.upgrade().map(Self) else { return };
            let (lost, pause) = (redis.0.lost.clone(), if redis.is_up() { BEAT } else { RETRY });
            drop(redis);
            let _ = timeout(pause, lost.notified()).await;
            let Some(redis) = inner.upgrade().map(Self) else { return };
            redis.beat().await;
        }
    }

    /// One heartbeat, on a new connection where there is none. It writes, so a Redis that refuses to counts as away.
    async fn beat(&self) {
        let (number, connection) = {
            let link = self.link();
            (link.number, link.connection.clone())
        };
        let alive = async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => self.connect().await.map_err(|error| error.to_string())?,
            };
            let mut heartbeat = HEARTBEAT.key(INSTANCES);
            heartbeat.arg(&self.0.name);
            let counted = timeout(self.probe_patience(), heartbeat.invoke_async::<u32>(&mut connection)).await;
            let instances = counted.map_err(|_| "no answer to a heartbeat".to_owned())?;
            Ok::<_, String>((connection, instances.map_err(|error| error.to_string())?))
        };
        match alive.await {
            Ok((connection, instances)) => {
                self.0.instances.store(instances, Ordering::Relaxed);
                self.found(connection);
            }
            Err(reason) => self.lose(number, &reason),
        }
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let patience = Some(self.probe_patience());
        let config = AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience);
        self.0.client.get_multiplexed_async_connection_with_config(&config).await
    }

    fn probe_patience(&self) -> Duration {
        PROBE_PATIENCE.max(self.0.patience)
    }

    fn found(&self, connection: MultiplexedConnection) {
        let mut link = self.link();
        if link.connection.is_none() {
            link.connection = Some(connection);
            link.number += 1;
        }
        if link.said.replace(true) != Some(true) {
            tracing::info!(instances = self.instances(), "Redis answers: limits hold for all instances together");
        }
        self.0.metrics.redis_is_up(true, self.instances());
    }

    fn lose(&self, number: u64, reason: &dyn Display) {
        let mut link = self.link();
        if link.number != number {
            return;
        }
        link.connection = None;
        if link.said.replace(false) != Some(false) {
            tracing::warn!(
                %reason,
                instances = self.instances(),
                "Redis is away: until it is back, this instance limits its callers to its share, the limit divided by the instances"
            );
        }
        self.0.metrics.redis_is_up(false, self.instances());
    }
}
