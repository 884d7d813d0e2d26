use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hopmq_proto::client::{CallError, CommandError, ConfirmFailures, Confirmation, Reply, Token, Unsent};
use thiserror::Error as ThisError;

use super::call::Call;
use super::channel::{Channel, ChannelInner};
use super::{Error, PublishError};

/// The confirm of a message that was sent: a future of its fate.
///
/// Dropping it stops waiting; the message stays sent. Until then it keeps its channel open.
#[must_use = "await it to know whether the broker has the message"]
pub struct Confirm {
    channel: Arc<ChannelInner>,
    /// `None` once resolved.
    token: Option<Token>,
}

impl Confirm {
    pub(super) fn new(channel: &Channel, token: Option<Token>) -> Self {
        Self { channel: channel.inner.clone(), token }
    }
}

impl Future for Confirm {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(token) = self.token else { return Poll::Pending };
        let result = ready!(self.channel.shared().look(|state| state.poll_confirm(cx, token)));
        self.token = None;
        Poll::Ready(outcome(result))
    }
}

fn outcome(result: Result<Confirmation, CallError>) -> Result<(), PublishError> {
    match result {
        Ok(Confirmation::Acked) => Ok(()),
        Ok(Confirmation::Nacked) => Err(PublishError::Nacked),
        Ok(Confirmation::Returned(returned)) => Err(PublishError::Returned(returned)),
        Ok(Confirmation::Unsent(unsent)) => {
            let Unsent { reason, body } = *unsent;
            Err(PublishError::NotSent { error: CommandError::Closed(reason), body })
        }
        Err(error) => Err(PublishError::Unconfirmed(error)),
    }
}

impl Drop for Confirm {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            drop(self.channel.shared().look(|state| state.forget_confirm(token)));
        }
    }
}

impl fmt::Debug for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Confirm").field(&self.token.map(Token::as_u64)).finish()
    }
}

/// Confirms of many messages, to be awaited together.
#[derive(Debug, Default)]
pub struct Confirms {
    waiting: Vec<Confirm>,
    /// What a wait that was dropped has found.
    failed: Option<PublishError>,
}

impl Confirms {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: Vec::new(), failed: None }
    }

    /// Adds one.
    pub fn push(&mut self, confirm: Confirm) {
        self.waiting.push(confirm);
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits for all of them, whatever their fate, and empties the collection.
    ///
    /// Cancel safe: what was not waited for is still here, and the next wait also tells what this one has found.
    ///
    /// # Errors
    ///
    /// The first message that is not known to be on the broker, after all have been waited for.
    pub async fn wait(&mut self) -> Result<(), PublishError> {
        while let Some(confirm) = self.waiting.last_mut() {
            let outcome = confirm.await;
            self.waiting.pop();
            if let Err(error) = outcome {
                self.failed = Some(error); // they are taken from the end, so the last one seen is the first message's
            }
        }
        self.failed.take().map_or(Ok(()), Err)
    }
}

impl Extend<Confirm> for Confirms {
    fn extend<I: IntoIterator<Item = Confirm>>(&mut self, confirms: I) {
        self.waiting.extend(confirms);
    }
}

impl FromIterator<Confirm> for Confirms {
    fn from_iter<I: IntoIterator<Item = Confirm>>(confirms: I) -> Self {
        Self { waiting: confirms.into_iter().collect(), failed: None }
    }
}

/// Waits for everything that was published on a channel: [`Publisher::wait_for_confirms`](super::Publisher::wait_for_confirms).
#[derive(Debug)]
#[must_use = "await it to know whether the broker has the messages"]
pub struct WaitForConfirms(Call<ConfirmFailures>);

impl WaitForConfirms {
    pub(super) fn new(channel: &Channel) -> Self {
        let inner = &channel.inner;
        let sent = inner.shared().command(|state, _| {
            let token = state.engine.await_confirms(inner.id)?;
            state.expect_reply(token);
            Ok(token)
        });
        Self(Call::sent(&inner.connection, Some(inner), sent, |_, reply| match reply {
            Reply::Confirmed { failures, .. } => failures,
            _ => ConfirmFailures::default(),
        }))
    }
}

impl Future for WaitForConfirms {
    type Output = Result<(), ConfirmsError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(failures) if failures.count() == 0 => Ok(()),
            Ok(failures) => Err(ConfirmsError::Failed(failures)),
            Err(error) => Err(ConfirmsError::Ended(error)),
        })
    }
}

/// Why not everything that was published on a channel is known to be on the broker.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum ConfirmsError {
    /// Everything is resolved, and these have failed since it was last asked.
    #[error("not confirmed: {} messages nacked, {} returned, {} lost", .0.nacked, .0.returned, .0.lost)]
    Failed(ConfirmFailures),
    /// The channel ended first. What was not confirmed by then may or may not be on the broker.
    #[error(transparent)]
    Ended(Error),
}
