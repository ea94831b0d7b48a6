//! One request and its answer over one connection, which is used for nothing else.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::SendError;

/// Of a name's addresses, so many are tried.
const TRIES: usize = 4;
/// Bytes that hyper gathers at most to find the end of an answer's head.
const HEAD: usize = 16 * 1024;

/// Connects to the first of `addresses` that answers. The time is shared out, so that one that is silent leaves some
/// for the next.
pub async fn connect(addresses: &[SocketAddr], until: Instant) -> Result<TcpStream, SendError> {
    let tried = &addresses[..addresses.len().min(TRIES)];
    let mut failure = "no address".to_owned();
    for (address, left) in tried.iter().zip((1..=tried.len() as u32).rev()) {
        let share = until.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error.to_string(),
            Err(_) => failure = "nobody answers".to_owned(),
        }
    }
    Err(SendError::Connect(failure))
}

/// What came back.
pub struct Received {
    pub status: StatusCode,
    pub retry_after: Option<String>,
    /// The first bytes of the body.
    pub body: Vec<u8>,
}

/// Sends `request`, and reads until `until` and `most` bytes at most, of which it keeps the first `keep` of the body.
/// Once the head is there the answer counts, whatever becomes of the rest.
pub async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    until: Instant,
    most: usize,
    keep: usize,
) -> Result<Received, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| SendError::Answer(error.to_string());
    let stream = TokioIo::new(Bounded { stream, left: most });
    let mut builder = http1::Builder::new();
    let handshake = builder.max_buf_size(HEAD).handshake(stream);
    let (mut sender, connection) =
        timeout_at(until, handshake).await.map_err(|_| SendError::TimedOut)?.map_err(broken)?;
    let answer = async move {
        let answer = timeout_at(until, sender.send_request(request)).await;
        let (head, mut rest) = answer.map_err(|_| SendError::TimedOut)?.map_err(broken)?.into_parts();
        let mut body = Vec::new();
        while let Ok(Some(Ok(frame))) = timeout_at(until, rest.frame()).await {
            let data = frame.into_data().unwrap_or_default();
            body.extend_from_slice(&data[..data.len().min(keep - body.len())]);
        }
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Received { status: head.status, retry_after, body })
    };
    // Polled here instead of in a task, so that the connection never outlives the call. What ends it also ends the
    // answer, which knows more.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = drive => Err(SendError::TimedOut),
    }
}

/// A stream that gives `left` bytes and then fails: heads, chunk sizes and interim answers count like the body.
struct Bounded<S> {
    stream: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("the answer is too long")));
        }
        let most = self.left.min(into.remaining());
        let mut part = ReadBuf::new(into.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        into.advance(read);
        self.left -= read;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
