//! A connection's stream and the bodies that go over it, watched: what finds no room, and what is not taken.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::platform::connections::{Connection, UnderWay, Waiting};

/// Bytes of a body that are handed on at once: what a slow client must take within the write timeout.
const CHUNK: usize = 16 * 1024;

/// A client's stream; the connection is open as long as it is.
pub struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl Watched {
    pub fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }

    fn wrote<T>(&self, poll: Poll<T>) -> Poll<T> {
        self.connection.set_write_blocked(poll.is_pending());
        poll
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buffer);
        self.wrote(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.wrote(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// An answer's body, which tells whether it is the client or the server that must act next.
pub struct Paced {
    body: Body,
    under_way: UnderWay,
}

impl Paced {
    pub fn new(body: Body, under_way: UnderWay) -> Self {
        // Until it is asked for: HTTP/2 asks when the client lets something be sent.
        under_way.set_unread(!body.is_end_stream());
        Self { body, under_way }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let poll = Pin::new(&mut self.body).poll_frame(cx);
        self.under_way.set_unread(poll.is_ready());
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Weighs what an answer keeps in memory until the client has taken it, and hands it on in chunks.
pub async fn weigh(request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let response = next.run(request).await;
    // Streams have no size: what they bring is weighed as it is made.
    let (Some(connection), Some(bytes)) = (connection, response.body().size_hint().exact()) else { return response };
    let waiting = connection.hold(usize::try_from(bytes).unwrap_or(usize::MAX));
    response.map(|body| Body::new(Chunked { body, left: Bytes::new(), _waiting: waiting }))
}

/// A body in chunks; what it holds counts until its last chunk has been taken.
struct Chunked {
    body: Body,
    left: Bytes,
    _waiting: Waiting,
}

impl HttpBody for Chunked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.left.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.left = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.left.len().min(CHUNK);
        let chunk = self.left.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let left = u64::try_from(self.left.len()).unwrap_or(u64::MAX);
        let mut hint = self.body.size_hint();
        hint.set_lower(hint.lower() + left);
        if let Some(upper) = self.body.size_hint().upper() {
            hint.set_upper(upper + left);
        }
        hint
    }
}
