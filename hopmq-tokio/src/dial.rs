use std::io;

use hopmq::Endpoint;
use hopmq::io::Dialer;
use tokio::net::TcpStream;

use crate::tcp::Stream;

/// Opens TCP connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDialer;

impl Dialer for TcpDialer {
    type Transport = Stream<TcpStream>;

    async fn dial(&self, endpoint: &Endpoint) -> io::Result<Stream<TcpStream>> {
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Stream(stream))
    }
}
