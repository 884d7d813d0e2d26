use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::BytesMut;
#[cfg(not(feature = "tls"))]
use hopmq::TlsError;
use hopmq::io::{DialError, Dialer, Transport};
use hopmq::{Endpoint, TlsOptions};
use tokio::net::TcpStream;

use crate::tcp::Stream;

/// Opens TCP connections, and TLS in them.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDialer;

impl Dialer for TcpDialer {
    type Transport = Dialed;

    async fn dial(&self, endpoint: &Endpoint, tls: Option<&TlsOptions>) -> Result<Dialed, DialError> {
        #[cfg(feature = "tls")]
        let tls = tls.map(|tls| tls.client(&endpoint.host)).transpose()?;
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        stream.set_nodelay(true)?;
        match tls {
            None => Ok(Dialed::Tcp(Stream(stream))),
            #[cfg(feature = "tls")]
            Some(tls) => {
                let connector = tokio_rustls::TlsConnector::from(tls.config.clone());
                let stream = connector.connect(tls.name.clone(), stream).await;
                let stream = stream.map_err(|error| tls.handshake_error(error))?;
                Ok(Dialed::Tls(Stream(Box::new(stream))))
            }
            #[cfg(not(feature = "tls"))]
            Some(_) => Err(TlsError::NotBuilt.into()),
        }
    }
}

/// A connection that was dialled.
#[derive(Debug)]
#[non_exhaustive]
pub enum Dialed {
    /// TCP alone.
    Tcp(Stream<TcpStream>),
    /// TLS over TCP.
    #[cfg(feature = "tls")]
    Tls(Stream<Box<tokio_rustls::client::TlsStream<TcpStream>>>),
}

impl Transport for Dialed {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => stream.poll_read(cx, input),
            // A server that leaves without TLS's own goodbye has left all the same: AMQP has its own.
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.poll_read(cx, input).map(|read| match read {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                read => read,
            }),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => stream.poll_write(cx, chunks),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.poll_write(cx, chunks),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_flush(cx),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.poll_shutdown(cx),
        }
    }
}
