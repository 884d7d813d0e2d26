use std::io;

use hopmq::Endpoint;
use hopmq::io::{Dialer, open_first};
use smol::net::{TcpStream, resolve};

use crate::runtime::Smol;
use crate::tcp::Stream;

/// Opens TCP connections: where a name has several addresses, to the [first that answers](open_first).
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDialer;

impl Dialer for TcpDialer {
    type Transport = Stream<TcpStream>;

    async fn dial(&self, endpoint: &Endpoint) -> io::Result<Stream<TcpStream>> {
        let addresses = resolve((endpoint.host.as_str(), endpoint.port)).await?;
        let stream = open_first(&Smol::current(), addresses, TcpStream::connect).await?;
        stream.set_nodelay(true)?;
        Ok(Stream::new(stream))
    }
}
