use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

use hopmq::{BrokerConfig, CloseReason, Config, Connection};
#[cfg(feature = "tls")]
use hopmq::{Pem, TlsListener};
use tokio::net::{TcpListener, ToSocketAddrs};

use crate::runtime::Tokio;
use crate::tcp::TcpAcceptor;

/// How often to look for a port that is free on both loopback addresses.
const PORT_ATTEMPTS: usize = 16;

/// A broker inside this process, on the current tokio runtime.
///
/// It derefs to [`hopmq::Broker`], which says what it can do and when it shuts down.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hopmq_tokio::{Broker, connect};
///
/// let broker = Broker::start().await?;
/// let connection = connect(&broker.uri()).await?;
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Broker {
    broker: hopmq::Broker<Tokio>,
    address: Option<SocketAddr>,
    scheme: &'static str,
}

impl Broker {
    /// A broker that listens on a free port of this machine's loopback addresses, 127.0.0.1 and (where there is
    /// IPv6) \[::1\]. User guest, password guest.
    ///
    /// # Errors
    ///
    /// When the system gives no port.
    pub async fn start() -> io::Result<Self> {
        let mut last_error = None;
        for _ in 0..PORT_ATTEMPTS {
            let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = v4.local_addr()?;
            let v6 = match TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await {
                Ok(v6) => Some(v6),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    last_error = Some(error);
                    continue;
                }
                Err(_) => None, // no IPv6 here
            };
            let mut broker = Self::in_memory(BrokerConfig::default());
            broker.address = Some(address);
            broker.serve(TcpAcceptor(v4));
            if let Some(v6) = v6 {
                broker.serve(TcpAcceptor(v6));
            }
            return Ok(broker);
        }
        Err(last_error.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
    }

    /// A broker that listens on `address`. Port 0 is a free one.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub async fn bind(address: impl ToSocketAddrs, config: BrokerConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let mut broker = Self::in_memory(config);
        broker.address = Some(listener.local_addr()?);
        broker.serve(TcpAcceptor(listener));
        Ok(broker)
    }

    /// A broker that listens on `address` and speaks TLS there: it shows `certificates`, its own first, which belong to
    /// `key`. Port 0 is a free one. Whoever connects must be told whom to trust, by [`TlsOptions::ca`](hopmq::TlsOptions::ca).
    ///
    /// [`uri`](Self::uri) names the address, so that the certificate must be for that: for `localhost`, connect to that name.
    ///
    /// # Errors
    ///
    /// When it cannot listen there, or the certificates are not usable.
    #[cfg(feature = "tls")]
    pub async fn bind_tls(
        address: impl ToSocketAddrs,
        config: BrokerConfig,
        certificates: &Pem,
        key: &Pem,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let mut broker = Self::in_memory(config);
        broker.address = Some(listener.local_addr()?);
        broker.scheme = "amqps";
        let listener = TlsListener::new(TcpAcceptor(listener), certificates, key);
        broker.serve(listener.map_err(io::Error::other)?);
        Ok(broker)
    }

    /// A broker that listens nowhere, for connections [in memory](Broker::connect).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn in_memory(config: BrokerConfig) -> Self {
        Self { broker: hopmq::Broker::new(Tokio::current(), config), address: None, scheme: "amqp" }
    }

    /// Opens a connection in memory, as user guest.
    ///
    /// # Errors
    ///
    /// Why the connection did not open.
    pub async fn connect(&self) -> Result<Connection, Arc<CloseReason>> {
        self.broker.connect(Config::default()).await
    }

    /// The address it listens on, if it does.
    #[must_use]
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The URI to [`connect`](crate::connect) to; without a host when it listens nowhere.
    #[must_use]
    pub fn uri(&self) -> String {
        let scheme = self.scheme;
        self.address.map_or_else(|| format!("{scheme}:"), |address| format!("{scheme}://{address}"))
    }
}

impl Deref for Broker {
    type Target = hopmq::Broker<Tokio>;

    fn deref(&self) -> &Self::Target {
        &self.broker
    }
}
