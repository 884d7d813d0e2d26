//! The same on async-std's executor. Sockets and alarms are smol's, which async-std has under its own, too.
//!
//! async-std is no longer maintained, and its authors point to smol: this is for programs that are still there.
//! Everything that is not here is in [the crate](crate) itself.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async_std::task::block_on(async {
//!     let broker = hopmq_smol::async_std::Broker::start().await?;
//!     let connection = hopmq_smol::async_std::connect(&broker.uri()).await?;
//!     Ok(connection.close().await?)
//! })
//! # }
//! ```

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use hopmq::io::{Network, Runtime};
use hopmq::{ConnectError, ConnectOptions, Connection};

use crate::dial::TcpDialer;
use crate::runtime::{Smol, SmolClock, SmolTimer};
use crate::tcp::TcpAcceptor;

/// A broker inside this process, on async-std.
pub type Broker = hopmq::Broker<AsyncStd>;

/// Connects to the broker at `uri`, and runs the connection on async-std's executor; else as
/// [`hopmq_smol::connect`](crate::connect).
///
/// # Errors
///
/// When the URI is wrong, or there is no connection within `connection_timeout` (10 s where the URI does not say).
pub async fn connect(uri: &str) -> Result<Connection, ConnectError> {
    connect_with(uri.parse()?).await
}

/// Connects as `options` say, and runs the connection on async-std's executor; else as
/// [`hopmq_smol::connect_with`](crate::connect_with).
///
/// # Errors
///
/// When there is no connection within `connect_timeout`, which covers name look-up, TCP, TLS and the AMQP
/// handshake.
pub async fn connect_with(options: ConnectOptions) -> Result<Connection, ConnectError> {
    Connection::connect(&AsyncStd::current(), TcpDialer, options).await
}

/// async-std's executor.
#[derive(Debug, Clone)]
pub struct AsyncStd {
    smol: Smol,
}

impl AsyncStd {
    /// The one that there is.
    #[must_use]
    pub fn current() -> Self {
        Self { smol: Smol::current() }
    }
}

impl Runtime for AsyncStd {
    type Clock = SmolClock;
    type Timer = SmolTimer;

    fn clock(&self) -> SmolClock {
        self.smol.clock()
    }

    fn timer(&self) -> SmolTimer {
        self.smol.timer()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(::async_std::task::spawn(future)); // it runs on without its handle
    }
}

impl Network for AsyncStd {
    type Listener = TcpAcceptor;

    fn current() -> Self {
        Self::current()
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<(TcpAcceptor, SocketAddr)> {
        self.smol.bind(address).await
    }
}
