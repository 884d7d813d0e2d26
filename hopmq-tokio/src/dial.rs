use std::io;

use hopmq::Endpoint;
use hopmq::io::{Dialer, open_first};
use tokio::net::{TcpStream, lookup_host};

use crate::runtime::Tokio;
use crate::tcp::Stream;

/// Opens TCP connections: where a name has several addresses, to the [first that answers](open_first).
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDialer;

impl Dialer for TcpDialer {
    type Transport = Stream<TcpStream>;

    async fn dial(&self, endpoint: &Endpoint) -> io::Result<Stream<TcpStream>> {
        let addresses: Vec<_> = lookup_host((endpoint.host.as_str(), endpoint.port)).await?.collect();
        let stream = open_first(&Tokio::current(), addresses, TcpStream::connect).await?;
        stream.set_nodelay(true)?;
        Ok(Stream::new(stream))
    }
}
