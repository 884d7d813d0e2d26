use std::collections::VecDeque;
use std::sync::Arc;

use hopmq_proto::client::CloseReason;

use super::{ConnectError, Endpoint};

/// The attempts to connect: where they go, and, until the first has succeeded, what became of them.
pub(crate) struct Attempts {
    endpoints: Vec<Endpoint>,
    step: Step,
    /// Why the attempt under way has failed, where that was before the handshake.
    error: Option<ConnectError>,
    /// Of the latest round, oldest first.
    errors: VecDeque<ConnectError>,
    has_succeeded: bool,
}

/// How far the attempt under way is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The provider is asked for credentials.
    Asking,
    /// A transport is being opened.
    Dialing,
    /// There is a transport.
    Handshake,
}

impl Attempts {
    pub(super) const fn new(endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints, step: Step::Handshake, error: None, errors: VecDeque::new(), has_succeeded: false }
    }

    pub(super) fn endpoint(&self, number: usize) -> Option<&Endpoint> {
        self.endpoints.get(number)
    }

    pub(super) fn set_step(&mut self, step: Step) {
        self.step = step;
    }

    /// The attempt has failed before its handshake; the session will say so too.
    pub(super) fn set_error(&mut self, error: ConnectError) {
        self.error = Some(error);
    }

    /// The session has given the attempt up.
    pub(super) fn on_failed(&mut self, number: usize, reason: &Arc<CloseReason>) {
        let error = self.error.take();
        let Some(endpoint) = self.endpoints.get(number).filter(|_| !self.has_succeeded).cloned() else {
            return;
        };
        let error = error.unwrap_or_else(|| match self.step {
            Step::Asking => ConnectError::CredentialsTimeout,
            Step::Dialing => ConnectError::DialTimeout { endpoint },
            Step::Handshake => ConnectError::Refused { endpoint, reason: reason.clone() },
        });
        if self.errors.len() >= self.endpoints.len() {
            self.errors.pop_front();
        }
        self.errors.push_back(error);
    }

    pub(super) fn on_opened(&mut self) {
        self.has_succeeded = true;
        self.errors.clear();
    }

    /// Why there is no connection: what became of each attempt, or else why the session has ended.
    pub(super) fn take_error(&mut self, reason: Arc<CloseReason>) -> ConnectError {
        let mut errors: Vec<_> = std::mem::take(&mut self.errors).into();
        let is_of_provider = |error: &ConnectError| {
            matches!(error, ConnectError::Credentials(_) | ConnectError::CredentialsTimeout)
        };
        if errors.iter().all(is_of_provider) {
            errors.drain(..errors.len().saturating_sub(1)); // it was asked for each endpoint
        }
        match errors.pop() {
            Some(error) if errors.is_empty() => error,
            None => {
                let nowhere = || Endpoint { host: String::new(), port: 0 };
                let endpoint = self.endpoints.first().cloned().unwrap_or_else(nowhere);
                ConnectError::Refused { endpoint, reason }
            }
            last => ConnectError::Endpoints(errors.into_iter().chain(last).collect()),
        }
    }
}
