use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hopmq_proto::amqp::Method;
use hopmq_proto::client::{Reply, Token};

use super::Error;
use super::channel::ChannelInner;
use super::connection::ConnectionInner;

/// A call to the server: a future of its answer.
///
/// The call was sent when this was made; dropping it stops waiting and unsends nothing. What the server then grants to
/// nobody is given back: a channel is closed, a consumer cancelled, a message requeued. Until it is answered or
/// dropped, it keeps its channel open.
#[must_use = "a call does its work without being awaited, but its errors are lost"]
pub struct Call<T> {
    state: State<T>,
}

enum State<T> {
    /// The answer was known before anything was sent.
    Known(Result<T, Error>),
    Pending(Pending<T>),
    Done,
}

/// A call that has been sent.
struct Pending<T> {
    connection: Arc<ConnectionInner>,
    /// The channel that the call is on, and keeps open; `None` for a close, which has nothing to give back.
    channel: Option<Arc<ChannelInner>>,
    token: Token,
    take: Box<dyn FnOnce(Reply) -> T + Send>,
}

impl<T> Call<T> {
    /// Sends `method` on `channel`. `take` makes the result out of the reply.
    pub(crate) fn send(
        channel: &Arc<ChannelInner>,
        method: impl Into<Method>,
        take: impl FnOnce(Token, Reply) -> T + Send + 'static,
    ) -> Self {
        Self::send_behind(channel, None, method, take)
    }

    /// Sends `first`, whose answer nobody awaits, and `method` right behind it.
    pub(crate) fn send_behind(
        channel: &Arc<ChannelInner>,
        first: Option<Method>,
        method: impl Into<Method>,
        take: impl FnOnce(Token, Reply) -> T + Send + 'static,
    ) -> Self {
        let sent = channel.shared().command(|state, now| {
            if let Some(first) = first {
                let token = state.engine.call(channel.id, first, now)?;
                state.engine.abandon(channel.id, token);
            }
            let method = method.into();
            let name = method.name();
            let token = state.engine.call(channel.id, method, now)?;
            state.journal.on_call(channel.id, name, token);
            state.expect_reply(token);
            Ok(token)
        });
        Self::sent(&channel.connection, Some(channel), sent, take)
    }

    /// A call that has been given to the engine, which answered with `sent`.
    pub(crate) fn sent(
        connection: &Arc<ConnectionInner>,
        channel: Option<&Arc<ChannelInner>>,
        sent: Result<Token, Error>,
        take: impl FnOnce(Token, Reply) -> T + Send + 'static,
    ) -> Self {
        match sent {
            Ok(token) => {
                let take = Box::new(move |reply| take(token, reply));
                let (connection, channel) = (connection.clone(), channel.cloned());
                Self { state: State::Pending(Pending { connection, channel, token, take }) }
            }
            Err(error) => Self::refused(error),
        }
    }

    /// A call that was not sent.
    pub(crate) fn refused(error: Error) -> Self {
        Self::known(Err(error))
    }

    /// A call that needs not be sent.
    pub(crate) fn known(answer: Result<T, Error>) -> Self {
        Self { state: State::Known(answer) }
    }

    /// Whether it was sent.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.state, State::Pending(_))
    }
}

impl<T> Future for Call<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &self.state {
            State::Pending(pending) => {
                match pending.connection.shared.look(|state| state.poll_reply(cx, pending.token)) {
                    Poll::Ready(answer) => Some(answer),
                    Poll::Pending => return Poll::Pending,
                }
            }
            State::Known(_) | State::Done => None,
        };
        match (std::mem::replace(&mut self.state, State::Done), answer) {
            (State::Pending(pending), Some(answer)) => {
                Poll::Ready(answer.map(pending.take).map_err(Error::from))
            }
            (State::Known(answer), _) => Poll::Ready(answer),
            _ => Poll::Pending, // polled after it was ready
        }
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        if let State::Pending(Pending { connection, channel, token, .. }) = &self.state {
            let channel = channel.as_ref().map(|channel| channel.id);
            connection.shared.command(|state, now| state.forget_call(channel, *token, now));
        }
    }
}

impl<T> Unpin for Call<T> {}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Known(_) => "known",
            State::Pending(_) => "pending",
            State::Done => "done",
        };
        f.debug_tuple("Call").field(&state).finish()
    }
}
