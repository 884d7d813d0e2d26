use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use hopmq_proto::Instant;

use super::journal::Scope;
use super::renewal::Renewal;
use super::{ConnectError, ConnectOptions, Connection, Endpoint};
use crate::io::{Clock, Dialer, Runtime, Timer, Transport};

impl Connection {
    /// Connects as `options` say, and runs the connection on `runtime`. An adapter's `connect` is this with the
    /// adapter's own runtime and dialer.
    ///
    /// Dropping the future gives up.
    ///
    /// # Errors
    ///
    /// When there is no connection to any of the endpoints within `connect_timeout`: for one endpoint its error, for
    /// several the error of each.
    pub async fn connect<R: Runtime, D: Dialer>(
        runtime: &R,
        dialer: &D,
        mut options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        options.check().map_err(|(option, error)| ConnectError::Option { option, error })?;
        let clock = runtime.clock();
        let deadline = clock.now() + options.config.connect_timeout;
        let Some(provider) = options.provider.take() else {
            return try_each(runtime, dialer, &options, deadline).await;
        };
        let provided = match within(runtime, deadline, provider.0.provide()).await {
            Some(provided) => provided.map_err(ConnectError::Credentials)?,
            None => return Err(ConnectError::CredentialsTimeout),
        };
        let provided_at = clock.now();
        options.config.credentials = provided.credentials.clone();
        let connection = try_each(runtime, dialer, &options, deadline).await?;
        if provided.refresh_after().is_some() {
            let renewal = Renewal {
                runtime: runtime.clone(),
                shared: connection.inner.shared.clone(),
                provider,
                timeout: options.config.connect_timeout,
            };
            runtime.spawn(renewal.run(provided, provided_at));
        }
        Ok(connection)
    }
}

/// Tries the endpoints in order.
async fn try_each<R: Runtime, D: Dialer>(
    runtime: &R,
    dialer: &D,
    options: &ConnectOptions,
    deadline: Instant,
) -> Result<Connection, ConnectError> {
    let clock = runtime.clock();
    let endpoints = options.endpoints();
    let scope = Scope::new(&options.config, &endpoints);
    let mut errors = Vec::new();
    for (n, endpoint) in endpoints.iter().enumerate() {
        let left = u32::try_from(endpoints.len() - n).unwrap_or(u32::MAX);
        let share = (deadline - clock.now()) / left;
        scope.connecting(endpoint);
        match attempt(&scope, runtime, dialer, options, endpoint.clone(), share).await {
            Ok(connection) => return Ok(connection),
            Err(error) => {
                scope.attempt_failed(endpoint, &error);
                errors.push(error);
            }
        }
    }
    Err(match errors.pop() {
        Some(error) if errors.is_empty() => error,
        last => ConnectError::Endpoints(errors.into_iter().chain(last).collect()),
    })
}

/// Tries one endpoint, for as long as `share`.
async fn attempt<R: Runtime, D: Dialer>(
    scope: &Scope,
    runtime: &R,
    dialer: &D,
    options: &ConnectOptions,
    endpoint: Endpoint,
    share: Duration,
) -> Result<Connection, ConnectError> {
    let deadline = runtime.clock().now() + share;
    let tls = options.tls.as_ref().map(|tls| tls.client(&endpoint.host)).transpose();
    let tls = match tls {
        Ok(tls) => tls,
        Err(error) => return Err(ConnectError::Tls { endpoint, error }),
    };
    let transport = match within(runtime, deadline, dialer.dial(&endpoint)).await {
        Some(Ok(transport)) => transport,
        Some(Err(error)) => return Err(ConnectError::Dial { endpoint, error }),
        None => return Err(ConnectError::DialTimeout { endpoint }),
    };
    let Some(tls) = tls else { return open(scope, runtime, transport, options, endpoint, deadline).await };
    match within(runtime, deadline, tls.connect(transport)).await {
        Some(Ok(transport)) => open(scope, runtime, transport, options, endpoint, deadline).await,
        Some(Err(error)) => Err(ConnectError::Tls { endpoint, error }),
        None => Err(ConnectError::DialTimeout { endpoint }),
    }
}

async fn open<R: Runtime>(
    scope: &Scope,
    runtime: &R,
    transport: impl Transport,
    options: &ConnectOptions,
    endpoint: Endpoint,
    deadline: Instant,
) -> Result<Connection, ConnectError> {
    let mut config = options.config.clone();
    config.connect_timeout = deadline - runtime.clock().now();
    let opened = Connection::open_in(scope.clone(), runtime, transport, config).await;
    opened.map_err(|reason| ConnectError::Refused { endpoint, reason })
}

/// What `future` gives before `deadline`.
pub(super) async fn within<R: Runtime, F: Future>(
    runtime: &R,
    deadline: Instant,
    future: F,
) -> Option<F::Output> {
    let (mut future, mut timer) = (pin!(future), runtime.timer());
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.poll_until(cx, deadline).map(|()| None),
    })
    .await
}
