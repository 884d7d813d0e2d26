use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use hopmq::io::{Listener, Peer, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Any byte stream of tokio's as a [`Transport`].
#[derive(Debug)]
pub struct Stream<S>(S);

impl<S> Stream<S> {
    /// That stream.
    #[must_use]
    pub const fn new(stream: S) -> Self {
        Self(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for Stream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        pin!(self.0.read_buf(input)).poll(cx) // a read is done in one poll, or has done nothing
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, chunks)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Accepts TCP connections.
#[derive(Debug)]
pub struct TcpAcceptor(TcpListener);

impl From<TcpListener> for TcpAcceptor {
    fn from(listener: TcpListener) -> Self {
        Self(listener)
    }
}

impl Listener for TcpAcceptor {
    type Transport = Stream<TcpStream>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Transport, Peer)>> {
        let (stream, address) = ready!(self.0.poll_accept(cx))?;
        let _ = stream.set_nodelay(true); // fails when the peer has gone already: its driver finds out
        let peer =
            Peer { address: address.to_string(), is_loopback: address.ip().to_canonical().is_loopback() };
        Poll::Ready(Ok((Stream::new(stream), peer)))
    }
}
