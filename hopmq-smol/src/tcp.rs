use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use hopmq::io::{Listener, Peer, Transport};
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::{TcpListener, TcpStream};

/// How much to read at once at most, as a driver does.
const READ_MAX: usize = 256 * 1024;

/// Any byte stream of smol's, and of others with its traits, as a [`Transport`].
pub struct Stream<S> {
    stream: S,
    /// Copying out of it costs less than filling the spare capacity of the input with zeros before each read. It grows with what is asked
    /// for.
    buffer: Vec<u8>,
}

impl<S> Stream<S> {
    /// That stream.
    #[must_use]
    pub const fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }
}

impl<S: fmt::Debug> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.stream).finish()
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for Stream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = READ_MAX.min(input.capacity() - input.len());
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let buffer = self.buffer.get_mut(..room).unwrap_or_default();
        let n = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        input.put_slice(buffer.get(..n).unwrap_or_default());
        Poll::Ready(Ok(n))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, chunks)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Accepts TCP connections.
#[derive(Debug)]
pub struct TcpAcceptor(Arc<Async<std::net::TcpListener>>);

impl From<TcpListener> for TcpAcceptor {
    fn from(listener: TcpListener) -> Self {
        Self(listener.into())
    }
}

impl Listener for TcpAcceptor {
    type Transport = Stream<TcpStream>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Transport, Peer)>> {
        let (stream, address) = loop {
            match self.0.get_ref().accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_readable(cx))?,
                accepted => break accepted?,
            }
        };
        let _ = stream.set_nodelay(true); // fails when the peer has gone already: its driver finds out
        let peer =
            Peer { address: address.to_string(), is_loopback: address.ip().to_canonical().is_loopback() };
        Poll::Ready(Ok((Stream::new(stream.try_into()?), peer)))
    }
}
