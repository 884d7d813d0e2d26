use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hopmq_proto::{Engine as _, Instant, Want};

use super::attempts::Step;
use super::connector::Connector;
use super::host::{ClientHost, Owner};
use super::provider::{ProvidedCredentials, Provider};
use super::renewal::Renewal;
use super::shared::Shared;
use super::{ConnectError, Endpoint};
use crate::driver::Driver;
use crate::io::{Clock, Runtime, Timer, Transport};

/// What runs a connection from its first dial to its end: it opens each transport that the session wants, and drives it.
pub(super) struct Redial<R, C> {
    pub(super) runtime: R,
    pub(super) shared: Arc<Shared>,
    pub(super) connector: C,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) login: Login,
    pub(super) _owner: Owner,
}

impl<R: Runtime, C: Connector> Redial<R, C> {
    pub(super) async fn run(mut self) {
        let mut want = attend(&self.runtime, &self.shared, Want::Wait).await;
        while let Want::Dial { endpoint, .. } = want {
            if let Some(transport) = self.attempt(endpoint, want).await {
                let renewal = self.renewal();
                drive(&self.runtime, &self.shared, transport, renewal).await;
            }
            want = attend(&self.runtime, &self.shared, Want::Wait).await;
        }
    }

    /// Opens a transport, for as long as the session wants it.
    async fn attempt(&mut self, number: usize, want: Want) -> Option<C::Transport> {
        let Self { runtime, shared, connector, endpoints, login, .. } = self;
        let endpoint = endpoints.get(number)?;
        shared.scope.connecting(endpoint);
        // What is not wanted any more, and an error's words, are the dialer's: they are kept out of the lock.
        let mut opened = {
            let mut wanted = pin!(attend(runtime, shared, want));
            let mut dial = pin!(async {
                login.prepare(runtime, shared).await?;
                shared.look(|state| state.attempts.set_step(Step::Dialing));
                connector.connect(endpoint).await
            });
            poll_fn(|cx| match wanted.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(None),
                Poll::Pending => dial.as_mut().poll(cx).map(Some),
            })
            .await
        };
        let failure = opened.as_ref().and_then(|opened| opened.as_ref().err()).map(why);
        shared.command(|state, now| {
            if state.engine.want() != want {
                return None; // another thread may have closed it by now
            }
            match opened.take()? {
                Ok(transport) => {
                    state.attempts.set_step(Step::Handshake);
                    state.engine.handle_connected(now);
                    Some(transport)
                }
                Err(error) => {
                    state.engine.handle_dial_error(failure.unwrap_or_default(), now);
                    state.attempts.set_error(error);
                    None
                }
            }
        })
    }

    /// What keeps the secret fresh that has just been used, where it expires.
    fn renewal(&mut self) -> Option<Renewal<R>> {
        let (provided, at) = self.login.provided.take()?;
        let (runtime, shared) = (self.runtime.clone(), self.shared.clone());
        let provider = self.login.provider.clone()?;
        provided.refresh_after()?;
        let timeout = self.login.timeout;
        Some(Renewal { runtime, shared, provider, timeout, provided, at })
    }
}

/// What an error says, without the endpoint.
fn why(error: &ConnectError) -> String {
    match error {
        ConnectError::Dial { error, .. } => error.to_string(),
        ConnectError::Tls { error, .. } => error.to_string(),
        error => error.to_string(),
    }
}

/// Who logs in next.
pub(super) struct Login {
    provider: Option<Provider>,
    /// How long it may take to renew.
    timeout: Duration,
    /// What the provider has given and no server was shown, and when.
    provided: Option<(ProvidedCredentials, Instant)>,
}

impl Login {
    pub(super) const fn new(provider: Option<Provider>, timeout: Duration) -> Self {
        Self { provider, timeout, provided: None }
    }

    /// Asks the provider, unless what it gave last is still good, and tells the session.
    async fn prepare<R: Runtime>(&mut self, runtime: &R, shared: &Shared) -> Result<(), ConnectError> {
        let Some(provider) = &self.provider else { return Ok(()) };
        let now = runtime.clock().now();
        let is_good = |(provided, at): &(ProvidedCredentials, Instant)| {
            provided.refresh_after().is_none_or(|after| *at + after > now)
        };
        if !self.provided.as_ref().is_some_and(is_good) {
            shared.look(|state| state.attempts.set_step(Step::Asking));
            let provided = provider.0.provide().await.map_err(ConnectError::Credentials)?;
            self.provided = Some((provided, runtime.clock().now()));
        }
        if let Some((provided, _)) = &self.provided {
            let credentials = provided.credentials.clone();
            shared.look(|state| state.engine.set_credentials(credentials));
        }
        Ok(())
    }
}

/// Looks after a session that has no transport, for as long as it wants what it wanted; gives what it wants then.
async fn attend<R: Runtime>(runtime: &R, shared: &Arc<Shared>, wanted: Want) -> Want {
    let (clock, mut timer) = (runtime.clock(), runtime.timer());
    let mut host = ClientHost::new(shared.clone());
    poll_fn(|cx| {
        loop {
            let pass = host.pass_without_transport(cx.waker(), clock.now());
            if pass.want != wanted {
                return Poll::Ready(pass.want);
            }
            let due = pass.deadline.is_some_and(|deadline| timer.poll_until(cx, deadline).is_ready());
            if !due {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Runs a session over a transport, until it needs it no more.
pub(super) async fn drive<R: Runtime>(
    runtime: &R,
    shared: &Arc<Shared>,
    transport: impl Transport,
    renewal: Option<Renewal<R>>,
) {
    let host = ClientHost::new(shared.clone());
    let mut driver = Driver::new(host, transport, runtime.timer(), runtime.clock());
    let Some(renewal) = renewal else { return driver.await };
    let mut renewal = pin!(renewal.run());
    let mut is_renewed = true;
    poll_fn(|cx| {
        let driven = Pin::new(&mut driver).poll(cx);
        // Behind the driver, which has handed out what the renewal waits for.
        is_renewed = is_renewed && renewal.as_mut().poll(cx).is_pending();
        driven
    })
    .await;
}
