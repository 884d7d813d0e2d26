use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use hopmq_proto::broker::Config;

use super::Broker;
use crate::io::Network;
#[cfg(feature = "tls")]
use crate::tls::{Pem, TlsListener};

/// How often to look for a port that is free on both loopback addresses.
const PORT_ATTEMPTS: usize = 16;

/// Where a broker was told to listen first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) scheme: &'static str,
    pub(super) address: SocketAddr,
}

/// An adapter's `Broker` is this one on the adapter's runtime, such as `hopmq_tokio::Broker`.
impl<R: Network> Broker<R> {
    /// A broker that listens on a free port of this machine's loopback addresses, 127.0.0.1 and (where there is
    /// IPv6) \[::1\], on the [current](Network::current) runtime. User guest, password guest.
    ///
    /// # Errors
    ///
    /// When the system gives no port.
    pub async fn start() -> io::Result<Self> {
        let broker = Self::in_memory(Config::default());
        let mut last_error = None;
        for _ in 0..PORT_ATTEMPTS {
            let runtime = &broker.inner.runtime;
            let (v4, address) = runtime.bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
            let v6 = match runtime.bind((Ipv6Addr::LOCALHOST, address.port()).into()).await {
                Ok((v6, _)) => Some(v6),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    last_error = Some(error);
                    continue;
                }
                Err(_) => None, // no IPv6 here
            };
            broker.set_place("amqp", address);
            broker.serve(v4);
            if let Some(v6) = v6 {
                broker.serve(v6);
            }
            return Ok(broker);
        }
        Err(last_error.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
    }

    /// A broker that [listens](Self::listen) on `address`, on the [current](Network::current) runtime.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub async fn bind(address: impl ToSocketAddrs, config: Config) -> io::Result<Self> {
        let broker = Self::in_memory(config);
        broker.listen(address).await?;
        Ok(broker)
    }

    /// A broker that [listens](Self::listen_tls) on `address` and speaks TLS there, on the [current](Network::current)
    /// runtime.
    ///
    /// # Errors
    ///
    /// When it cannot listen there, or the certificates are not usable.
    #[cfg(feature = "tls")]
    pub async fn bind_tls(
        address: impl ToSocketAddrs,
        config: Config,
        certificates: &Pem,
        key: &Pem,
    ) -> io::Result<Self> {
        let broker = Self::in_memory(config);
        broker.listen_tls(address, certificates, key).await?;
        Ok(broker)
    }

    /// A broker that listens nowhere, for connections [in memory](Self::connect), on the [current](Network::current)
    /// runtime.
    #[must_use]
    pub fn in_memory(config: Config) -> Self {
        Self::new(R::current(), config)
    }

    /// Listens on `address`, too. Port 0 is a free one, which is in the address that this gives. A name is looked up
    /// here and now, which blocks the thread; an address costs nothing.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let (listener, address) = self.open(address.to_socket_addrs()?).await?;
        self.set_place("amqp", address);
        self.serve(listener);
        Ok(address)
    }

    /// [Listens](Self::listen) on `address`, too, and speaks TLS there: it shows `certificates`, its own first, which belong
    /// to `key`. Whoever connects must be told whom to trust, by [`TlsOptions::ca`](crate::TlsOptions::ca).
    ///
    /// [`uri`](Self::uri) names the address, so that the certificate must be for that: for `localhost`, connect to that name.
    ///
    /// # Errors
    ///
    /// When it cannot listen there, or the certificates are not usable.
    #[cfg(feature = "tls")]
    pub async fn listen_tls(
        &self,
        address: impl ToSocketAddrs,
        certificates: &Pem,
        key: &Pem,
    ) -> io::Result<SocketAddr> {
        let (listener, address) = self.open(address.to_socket_addrs()?).await?;
        let listener = TlsListener::new(listener, certificates, key).map_err(io::Error::other)?;
        self.set_place("amqps", address);
        self.serve(listener);
        Ok(address)
    }

    /// Listens on the first of the addresses where it can.
    async fn open(
        &self,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> io::Result<(R::Listener, SocketAddr)> {
        let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
        for address in addresses {
            match self.inner.runtime.bind(address).await {
                Ok(listening) => return Ok(listening),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn set_place(&self, scheme: &'static str, address: SocketAddr) {
        let _ = self.inner.place.set(Place { scheme, address }); // the first one stays
    }
}
