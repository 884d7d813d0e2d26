use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::crypto::ring;
use rustls::{ServerConfig, ServerConnection};

use super::{Pem, TlsError, TlsStream};
use crate::io::{Listener, Peer};

/// Accepts TLS in what a listener accepts, for a broker that serves `amqps`. It asks nobody for a certificate.
#[derive(Debug)]
pub struct TlsListener<L> {
    listener: L,
    config: Arc<ServerConfig>,
}

impl<L> TlsListener<L> {
    /// Shows `certificates`, the server's own first, which belong to `key`.
    ///
    /// # Errors
    ///
    /// When they cannot be read or used.
    pub fn new(listener: L, certificates: &Pem, key: &Pem) -> Result<Self, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let config = builder.with_single_cert(certificates.certificates()?, key.key()?)?;
        Ok(Self { listener, config: Arc::new(config) })
    }
}

impl<L: Listener> Listener for TlsListener<L> {
    type Transport = TlsStream<L::Transport>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Transport, Peer)>> {
        let config = &self.config;
        self.listener.poll_accept(cx).map(|accepted| {
            let (transport, peer) = accepted?;
            let tls = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
            Ok((TlsStream::new(tls, transport), peer))
        })
    }
}
