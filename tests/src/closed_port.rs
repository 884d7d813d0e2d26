//! A port on which nobody listens.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that refuses connections: bound for as long as this lives, so that nobody else is given it.
#[derive(Debug)]
pub struct ClosedPort {
    socket: TcpSocket,
}

impl ClosedPort {
    /// One that was free.
    #[must_use]
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { socket }
    }

    /// Where to connect to in vain.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }
}

impl Default for ClosedPort {
    fn default() -> Self {
        Self::new()
    }
}
