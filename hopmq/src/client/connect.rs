use std::future::poll_fn;
use std::sync::Arc;

use hopmq_proto::client::{CloseReason, Config, Session};

use super::connection::ConnectionInner;
use super::connector::{Connector, Plain, Secure};
use super::host::Owner;
use super::journal::Scope;
use super::redial::{Login, Redial, drive};
use super::shared::Shared;
use super::{ConnectError, ConnectOptions, Connection, Endpoint};
use crate::io::{Dialer, Runtime, Transport};

impl Connection {
    /// Connects as `options` say, and runs the connection on `runtime`. An adapter's `connect` is this with the
    /// adapter's own runtime and dialer.
    ///
    /// What brings it back after a loss runs there too: [`ConnectOptions::recovery`] says whether and how. With
    /// [`RecoveryMode::Always`](crate::RecoveryMode::Always) that begins here, and this waits until there is a server.
    ///
    /// Dropping the future gives up.
    ///
    /// # Errors
    ///
    /// When there is no connection to any of the endpoints within `connect_timeout`: for one endpoint its error, for
    /// several the error of each.
    pub async fn connect<R: Runtime, D: Dialer>(
        runtime: &R,
        dialer: D,
        mut options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        options.check().map_err(|(option, error)| ConnectError::Option { option, error })?;
        let endpoints = options.endpoints();
        match options.tls.take() {
            None => connect(runtime, Plain(dialer), endpoints, options).await,
            Some(tls) => connect(runtime, Secure { dialer, tls }, endpoints, options).await,
        }
    }

    /// Opens a connection over a transport that is already there, and runs it on `runtime`. It ends when the transport
    /// does.
    ///
    /// An adapter's `connect` is most often what you want. Dropping the future closes the transport.
    ///
    /// # Errors
    ///
    /// Why the connection did not open, within `connect_timeout`.
    pub async fn open<R: Runtime>(
        runtime: &R,
        transport: impl Transport,
        config: Config,
    ) -> Result<Self, Arc<CloseReason>> {
        let scope = Scope::new(&config, &[]);
        let shared = Shared::new(config, Vec::new(), scope, runtime.clock(), Session::over_transport);
        let (owner, carrier) = (Owner::new(&shared), runtime.clone());
        let inner = Arc::new(ConnectionInner { shared: shared.clone() });
        runtime.spawn(async move {
            let _owner = owner;
            drive(&carrier, &shared, transport, None).await;
        });
        inner.opened().await?;
        Ok(Self { inner })
    }
}

/// Connects through `connector`, and keeps it for what comes after a loss.
async fn connect<R: Runtime, C: Connector>(
    runtime: &R,
    connector: C,
    endpoints: Vec<Endpoint>,
    options: ConnectOptions,
) -> Result<Connection, ConnectError> {
    let ConnectOptions { provider, recovery, config, .. } = options;
    let login = Login::new(provider, config.connect_timeout);
    let seed = runtime.seed();
    let places = endpoints.len();
    let scope = Scope::new(&config, &endpoints);
    let shared = Shared::new(config, endpoints.clone(), scope, runtime.clock(), |config, now| {
        Session::new(config, recovery, places, seed, now)
    });
    let inner = Arc::new(ConnectionInner { shared: shared.clone() });
    let owner = Owner::new(&shared);
    let redial = Redial { runtime: runtime.clone(), shared, connector, endpoints, login, _owner: owner };
    runtime.spawn(redial.run());
    match inner.opened().await {
        Ok(()) => Ok(Connection { inner }),
        Err(reason) => Err(inner.shared.look(|state| state.attempts.take_error(reason))),
    }
}

impl ConnectionInner {
    /// Waits for the first handshake.
    async fn opened(&self) -> Result<(), Arc<CloseReason>> {
        poll_fn(|cx| self.shared.look(|state| state.poll_opened(cx))).await
    }
}
