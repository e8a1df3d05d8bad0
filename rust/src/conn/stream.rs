//! The byte stream under a connection.
//!
//! Owns the kinds of streams and how one read, one write and the lingering before closing are done.
//! Never looks at what the bytes say. Called by [`super::serve`].

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio_rustls::server::TlsStream;

use crate::outbox::{Outbox, SLICES_MAX};

/// Any byte stream that a connection can run over.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin {
    /// The socket that it runs over itself, if there is one.
    fn socket(&self) -> Option<&TcpStream>;
}

impl ByteStream for TlsStream<TcpStream> {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0)
    }
}

/// Both ends in one process.
impl ByteStream for DuplexStream {
    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}

/// Where a connection's bytes come from.
pub enum Stream {
    /// TCP; the writing half is with the connection, where everyone may write.
    Tcp(OwnedReadHalf),
    /// Anything else; only the task writes.
    Any(Box<dyn ByteStream>),
}

impl Stream {
    /// Has the system forget what it did not send yet, once this is dropped, and reset the peer.
    pub(super) fn forget_unsent(&self) {
        let socket = match self {
            Self::Tcp(half) => Some(half.as_ref()),
            Self::Any(stream) => stream.socket(),
        };
        if let Some(socket) = socket {
            // A socket that takes no option is gone, and nothing waits on it.
            let _ = socket.set_zero_linger();
        }
    }
}

/// Reads once into `target`.
pub(super) fn poll_stream(
    stream: &mut Stream,
    context: &mut Context<'_>,
    target: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(target);
    let outcome = match stream {
        Stream::Tcp(half) => Pin::new(half).poll_read(context, &mut buffer),
        Stream::Any(stream) => Pin::new(stream.as_mut()).poll_read(context, &mut buffer),
    };
    outcome.map_ok(|()| buffer.filled().len())
}

/// Writes once out of `outbox`.
pub(super) fn write_to<W: AsyncWrite + Unpin + ?Sized>(
    writer: &mut W,
    context: &mut Context<'_>,
    outbox: &Outbox,
) -> Poll<io::Result<usize>> {
    let writer = Pin::new(writer);
    if let Some(single) = outbox.as_single() {
        return writer.poll_write(context, single);
    }
    let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
    let used = outbox.slices(&mut slices);
    writer.poll_write_vectored(context, &slices[..used])
}

/// Reads and forgets until the peer closes too: closing a socket with unread bytes would reset
/// it, and the peer might never see why it was closed. Every look at the socket is told to
/// `looked`: a peer who goes on sending is work like any other.
pub(super) async fn linger(mut stream: Stream, time: Duration, looked: impl Fn()) {
    let mut left = LINGER_BYTES_MAX;
    let discard = async {
        let mut chunk = vec![0; 4096];
        while left > 0 {
            let read = poll_fn(|context| {
                looked();
                poll_stream(&mut stream, context, &mut chunk)
            });
            match read.await {
                Ok(got) if got > 0 => left = left.saturating_sub(got),
                _ => return,
            }
        }
    };
    // Whether the peer closed or the time is over: either way the socket is dropped now.
    let _ = tokio::time::timeout(time, discard).await;
}

const LINGER_BYTES_MAX: usize = 1 << 20;
