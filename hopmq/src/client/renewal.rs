use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hopmq_proto::Instant;
use hopmq_proto::amqp::{Credentials, Secret, ShortStr};

use super::events::ConnectionEvent;
use super::provider::{ProvidedCredentials, Provider, ProviderError};
use super::shared::Shared;
use crate::io::{Clock, Runtime};

/// How long to wait after the first failure; twice as long after each further one.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Keeps the secret fresh that a connection has logged in with, until the credentials do not expire. It is dropped when the
/// connection is lost or ends.
pub(super) struct Renewal<R> {
    pub(super) runtime: R,
    pub(super) shared: Arc<Shared>,
    pub(super) provider: Provider,
    /// How long the provider may take.
    pub(super) timeout: Duration,
    /// What it has given.
    pub(super) provided: ProvidedCredentials,
    /// When.
    pub(super) at: Instant,
}

impl<R: Runtime> Renewal<R> {
    pub(super) async fn run(self) {
        // It is polled behind the driver, which reads the handshake: nobody has to be woken.
        poll_fn(|_| match self.shared.look(|state| state.engine.is_open()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        self.renew_again_and_again().await;
    }

    async fn renew_again_and_again(&self) {
        let (mut provided, mut at) = (self.provided.clone(), self.at);
        while let Some(refresh_after) = provided.refresh_after() {
            let expires = provided.expires_in.map(|time| at + time);
            self.runtime.sleep((at + refresh_after) - self.now()).await;
            let mut backoff = BACKOFF_MIN;
            (provided, at) = loop {
                match self.renew(expires).await {
                    Ok(next) => break next,
                    Err(error) => {
                        self.shared.announce(ConnectionEvent::RefreshFailed { error: error.to_string() });
                    }
                }
                let again = self.now() + backoff;
                if expires.is_some_and(|expires| expires <= again) {
                    return;
                }
                self.runtime.sleep(backoff).await;
                backoff = BACKOFF_MAX.min(backoff * 2);
            };
            self.shared.announce(ConnectionEvent::SecretUpdated);
        }
    }

    /// Asks the provider, and gives the server what it says. Tells when it said so.
    async fn renew(&self, expires: Option<Instant>) -> Result<(ProvidedCredentials, Instant), ProviderError> {
        let limit = expires.map_or(self.timeout, |expires| self.timeout.min(expires - self.now()));
        let provided = self.runtime.timeout(limit, self.provider.0.provide()).await;
        let provided = provided.ok_or("the credentials provider did not answer in time")??;
        let at = self.now();
        if let Credentials::Password { password, .. } = &provided.credentials {
            self.update_secret(password.clone()).await?;
        }
        Ok((provided, at))
    }

    async fn update_secret(&self, secret: Secret) -> Result<(), ProviderError> {
        let token = self.shared.command(|state, now| {
            let token = state.engine.update_secret(secret, ShortStr::from_static("renewed"), now)?;
            state.expect_reply(token);
            Ok::<_, ProviderError>(token)
        })?;
        poll_fn(|cx| self.shared.look(|state| state.poll_reply(cx, token))).await?;
        Ok(())
    }

    fn now(&self) -> Instant {
        self.runtime.clock().now()
    }
}
