//! Accepting connections, and stopping: on SIGTERM the readiness turns 503 and each answer over HTTP/1 says that its
//! connection ends, a while later the listener closes, and requests under way get time to finish. A connection ends when it
//! says nothing for too long, or takes nothing.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{
    Response, StatusCode, Version,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::connection::{Paced, Watched};
use crate::{
    base::config::ServerConfig,
    platform::{
        connections::{Connection, Full},
        state::State,
    },
};

/// How long a client may take to send a request's headers; also to say which protocol it speaks.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between HTTP/2 pings, and how long the answer to one may take.
const PING: Duration = Duration::from_secs(20);
/// Requests under way on one HTTP/2 connection at most.
const STREAMS: u32 = 100;
/// How long a connection that is told to end may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that may wait at a listener that is about to close; those beyond are reset.
const BACKLOG: usize = 1024;
/// How long a connection that was taken before the listener closed may wait with its first request.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// Between looks at whether a connection is quiet or stuck, at most.
const LOOK: Duration = Duration::from_secs(2);
/// Between lines in the log about connections that could not be taken.
const COMPLAINT: Duration = Duration::from_secs(10);

/// What a connection too many hears; most clients show it.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 5\r\n\
    connection: close\r\n\r\n\
    {\"errors\":[{\"message\":\"Too many connections are open.\",\"extensions\":{\"code\":\"UNAVAILABLE\"}}]}\n";

/// Whether the server is going down. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Serves until `stop` resolves; goes on for the configured delay while it is not ready any more; then drains for as long
/// as configured.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    state: &State,
    draining: &Draining,
    stop: impl Future<Output = ()>,
) {
    let config = &state.config.server;
    let mut acceptor = Acceptor::new(state, router, draining);
    tokio::select! {
        () = acceptor.accept(&listener) => {}
        () = stop => {}
    }
    draining.begin();
    if !config.drain_delay.is_zero() {
        tracing::info!("stopping: not ready any more, closed in {} s", config.drain_delay.as_secs());
        let _ = timeout(config.drain_delay, acceptor.accept(&listener)).await;
    }
    acceptor.take_the_last(listener);
    tracing::info!("stopping: requests under way have {} s to finish", config.drain.as_secs());
    let live = state.live.clone();
    // Streams would outlast any patience; their clients come again, to another instance.
    tokio::spawn(async move { live.stop().await });
    acceptor.stopping.cancel();
    acceptor.tasks.close();
    if timeout(config.drain, acceptor.tasks.wait()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
}

/// Takes connections.
struct Acceptor<'a> {
    state: &'a State,
    router: Router,
    builder: Builder<TokioExecutor>,
    draining: Draining,
    stopping: CancellationToken,
    tasks: TaskTracker,
    /// When the log last said that connections can't be taken, and how many could not be since.
    complained: Option<Instant>,
    refused: u64,
}

impl<'a> Acceptor<'a> {
    fn new(state: &'a State, router: Router, draining: &Draining) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .max_concurrent_streams(STREAMS);
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let draining = draining.clone();
        Self { state, router, builder, draining, stopping, tasks, complained: None, refused: 0 }
    }

    async fn accept(&mut self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    // Out of file descriptors, mostly: wait for some to come back instead of spinning.
                    self.complain(&error);
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Closes the listener, after whoever has connected meanwhile: the system would reset them, whatever they have sent.
    fn take_the_last(&mut self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        // It does not block. Whoever connects without end must not keep the server from stopping.
        for _ in 0..BACKLOG {
            let Ok((stream, peer)) = listener.accept() else { return };
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.take(stream, peer);
            }
        }
    }

    fn take(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        match self.state.connections.admit(peer.ip()) {
            Ok(connection) => {
                let config = self.state.config.server.clone();
                let connection = Serving { connection, peer, config, draining: self.draining.clone() };
                let (router, builder, stopping) = (self.router.clone(), self.builder.clone(), self.stopping.clone());
                self.tasks.spawn(connection.run(stream, router, builder, stopping));
            }
            Err(full) => {
                self.complain(&match full {
                    Full::InAll => "too many connections (TODO_SERVER_MAX_CONNECTIONS)",
                    Full::Address => "too many connections from one address (TODO_SERVER_MAX_CONNECTIONS_PER_ADDRESS)",
                });
                // The buffer of a new connection has room for it, or nobody hears.
                let _ = futures_util::FutureExt::now_or_never(stream.write_all(TOO_MANY));
            }
        }
    }

    /// Says in the log that a connection was not taken, now and then.
    fn complain(&mut self, why: &dyn std::fmt::Display) {
        self.refused += 1;
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAINT) {
            tracing::warn!(error = %why, times = self.refused, "connections could not be accepted");
            (self.complained, self.refused) = (Some(Instant::now()), 0);
        }
    }
}

/// One connection, until it ends or becomes a socket.
struct Serving {
    connection: Arc<Connection>,
    peer: SocketAddr,
    config: ServerConfig,
    draining: Draining,
}

impl Serving {
    async fn run(
        self,
        stream: TcpStream,
        router: Router,
        builder: Builder<TokioExecutor>,
        stopping: CancellationToken,
    ) {
        let (peer, connection, draining) = (self.peer, self.connection.clone(), self.draining.clone());
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let under_way = connection.begin();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer));
            request.extensions_mut().insert(connection.clone());
            let (version, draining) = (request.version(), draining.clone());
            let answer = router.clone().oneshot(request);
            async move {
                let mut response = answer.await?.map(|body| Paced::new(body, under_way));
                if draining.has_begun() && version < Version::HTTP_2 {
                    announce_the_end(&mut response);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let io = TokioIo::new(Watched::new(stream, self.connection.clone()));
        let mut serving = pin!(builder.serve_connection_with_upgrades(io, service));
        let mut is_ending = false;
        let ended = loop {
            tokio::select! {
                ended = serving.as_mut() => break ended,
                () = self.connection.cut().cancelled() => return,
                is_stuck = self.is_over() => {
                    if is_stuck || is_ending {
                        return tracing::debug!(%peer, "a connection is cut: nothing was taken from it");
                    }
                    // HTTP/2 hears that it ends.
                    serving.as_mut().graceful_shutdown();
                    if let Ok(ended) = timeout(CLOSE_TIMEOUT, serving.as_mut()).await {
                        break ended;
                    }
                    return;
                }
                () = stopping.cancelled(), if !is_ending => {
                    is_ending = true;
                    if !self.connection.has_asked()
                        && let Ok(ended) = timeout(FIRST_REQUEST, serving.as_mut()).await
                    {
                        break ended;
                    }
                    serving.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    /// Waits until the connection has been quiet for too long, or stuck (then true).
    async fn is_over(&self) -> bool {
        let ServerConfig { idle_timeout, write_timeout, .. } = self.config;
        let look = LOOK.min(idle_timeout / 4).min(write_timeout / 4);
        loop {
            sleep(look).await;
            if self.connection.stuck_for() >= write_timeout {
                return true;
            }
            let patience = if self.connection.has_asked() { idle_timeout } else { idle_timeout.min(HEADER_TIMEOUT) };
            if self.connection.quiet_for().is_some_and(|quiet| quiet >= patience) {
                return false;
            }
        }
    }
}

/// The last answer on a connection. A proxy that keeps connections does not send the next request on one that is about to
/// close, where it would be lost. A socket's connection is no longer HTTP.
fn announce_the_end<B>(response: &mut Response<B>) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
