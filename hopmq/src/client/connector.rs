use std::future::Future;

use super::{ConnectError, Endpoint};
use crate::io::{Dialer, Transport};
use crate::tls::{Secured, TlsOptions};

/// Opens what a connection is carried by. One type for each kind, so that nothing is decided anew for each read and write.
pub(super) trait Connector: Send + Sync + 'static {
    type Transport: Transport;

    fn connect(
        &self,
        endpoint: &Endpoint,
    ) -> impl Future<Output = Result<Self::Transport, ConnectError>> + Send;
}

/// Without TLS.
pub(super) struct Plain<D>(pub(super) D);

/// With TLS.
pub(super) struct Secure<D> {
    pub(super) dialer: D,
    pub(super) tls: TlsOptions,
}

async fn dial<D: Dialer>(dialer: &D, endpoint: &Endpoint) -> Result<D::Transport, ConnectError> {
    dialer.dial(endpoint).await.map_err(|error| ConnectError::Dial { endpoint: endpoint.clone(), error })
}

impl<D: Dialer> Connector for Plain<D> {
    type Transport = D::Transport;

    async fn connect(&self, endpoint: &Endpoint) -> Result<D::Transport, ConnectError> {
        dial(&self.0, endpoint).await
    }
}

impl<D: Dialer> Connector for Secure<D> {
    type Transport = Secured<D::Transport>;

    async fn connect(&self, endpoint: &Endpoint) -> Result<Secured<D::Transport>, ConnectError> {
        let failed = |error| ConnectError::Tls { endpoint: endpoint.clone(), error };
        let tls = self.tls.client(&endpoint.host).map_err(failed)?;
        let transport = dial(&self.dialer, endpoint).await?;
        tls.connect(transport).await.map_err(failed)
    }
}
