use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use hopmq::Endpoint;
use hopmq::io::{Dialer, Transport, open_first};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::runtime::Handle;

/// What a socket that is ready wakes the thread with.
pub(crate) const SOCKET: Token = Token(1);

/// How much to read at once.
const READ: usize = 64 * 1024;

/// Opens TCP connections.
///
/// Everything that an [`Io`](crate::Io) runs is polled when anything happens, so neither it nor the [`Stream`] keeps
/// wakers.
pub(crate) struct TcpDialer {
    registry: Registry,
    runtime: Handle,
}

impl TcpDialer {
    pub(crate) const fn new(registry: Registry, runtime: Handle) -> Self {
        Self { registry, runtime }
    }

    async fn open(&self, address: SocketAddr) -> io::Result<Stream> {
        let mut socket = TcpStream::connect(address)?;
        self.registry.register(&mut socket, SOCKET, Interest::READABLE | Interest::WRITABLE)?;
        poll_fn(|_| poll_connected(&socket)).await?;
        socket.set_nodelay(true)?;
        Ok(Stream::new(socket))
    }
}

/// Ready when the connection has been made or has failed.
fn poll_connected(socket: &TcpStream) -> Poll<io::Result<()>> {
    if let Some(error) = socket.take_error()? {
        return Poll::Ready(Err(error));
    }
    match socket.peer_addr() {
        Err(error) if error.kind() == ErrorKind::NotConnected => Poll::Pending,
        known => Poll::Ready(known.map(drop)),
    }
}

impl Dialer for TcpDialer {
    type Transport = Stream;

    async fn dial(&self, endpoint: &Endpoint) -> io::Result<Stream> {
        let addresses: Vec<_> = (endpoint.host.as_str(), endpoint.port).to_socket_addrs()?.collect();
        open_first(&self.runtime, addresses, |address| self.open(address)).await
    }
}

/// A socket that is registered with the poll of its [`Io`](crate::Io).
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    /// Copying out of it costs less than filling the spare capacity of the input with zeros before each read.
    buffer: Box<[u8]>,
}

impl Stream {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, buffer: vec![0; READ].into_boxed_slice() }
    }
}

/// Tries until a signal does not interrupt.
fn poll_io<T>(mut io: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
    loop {
        match io() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}

impl Transport for Stream {
    fn poll_read(&mut self, _: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = READ.min(input.capacity() - input.len());
        let buffer = self.buffer.get_mut(..room).unwrap_or_default();
        let read = poll_io(|| self.socket.read(buffer));
        if let Poll::Ready(Ok(n)) = read {
            input.put_slice(buffer.get(..n).unwrap_or_default());
        }
        read
    }

    fn poll_write(&mut self, _: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        poll_io(|| self.socket.write_vectored(chunks))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(Shutdown::Write))
    }
}
