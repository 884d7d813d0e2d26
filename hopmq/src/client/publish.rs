use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hopmq_proto::Instant;
use hopmq_proto::amqp::{self, Properties};
use hopmq_proto::client::{self as proto, Token, WhenLost};

use super::PublishError;
use super::channel::Channel;
use super::confirm::Confirm;
use super::shared::State;
use super::waits::Ticket;

/// What a message gets that is given no properties.
static PERSISTENT: LazyLock<Properties> = LazyLock::new(|| Properties::new().persistent());

/// A message, and where it goes.
#[derive(Debug)]
pub(super) struct Message<'a> {
    exchange: &'a str,
    routing_key: &'a str,
    mandatory: bool,
    immediate: bool,
    properties: &'a Properties,
    /// It is sent while fewer than so many wait for their confirm.
    max_unconfirmed: usize,
    when_lost: WhenLost,
    body: Bytes,
}

impl<'a> Message<'a> {
    pub(super) fn new(
        exchange: &'a str,
        routing_key: &'a str,
        properties: &'a Properties,
        body: Bytes,
    ) -> Self {
        Self {
            exchange,
            routing_key,
            mandatory: false,
            immediate: false,
            properties,
            max_unconfirmed: usize::MAX,
            when_lost: WhenLost::Resend,
            body,
        }
    }

    /// A persistent message.
    pub(super) fn persistent(exchange: &'a str, routing_key: &'a str, body: Bytes) -> Self {
        Self::new(exchange, routing_key, &PERSISTENT, body)
    }

    /// It comes back when no queue takes it.
    pub(super) const fn mandatory(mut self, mandatory: bool) -> Self {
        self.mandatory = mandatory;
        self
    }

    /// It is sent while fewer than so many wait for their confirm.
    pub(super) const fn max_unconfirmed(mut self, count: usize) -> Self {
        self.max_unconfirmed = count;
        self
    }

    /// What becomes of it when the connection is lost.
    pub(super) const fn when_lost(mut self, when_lost: WhenLost) -> Self {
        self.when_lost = when_lost;
        self
    }

    fn give(
        &self,
        state: &mut State,
        channel: &Channel,
        now: Instant,
    ) -> Result<Option<Token>, proto::PublishError> {
        let publish = amqp::Publish {
            exchange: self.exchange.as_bytes(),
            routing_key: self.routing_key.as_bytes(),
            mandatory: self.mandatory,
            immediate: self.immediate,
        };
        if self.max_unconfirmed != usize::MAX {
            state.engine.check_unconfirmed(channel.inner.id, self.max_unconfirmed)?;
        }
        let Self { properties, body, when_lost, .. } = self;
        let id = channel.inner.id;
        let sent = state.engine.publish_with(id, &publish, properties, body, *when_lost, now)?;
        state.counts.on_publish(sent);
        state.journal.on_publish(channel.inner.id, &publish, self.body.len(), sent);
        Ok(sent)
    }

    fn not_sent(&mut self, error: proto::PublishError) -> PublishError {
        let body = std::mem::take(&mut self.body);
        match error {
            proto::PublishError::Command(error) => PublishError::NotSent { error, body },
            _ => PublishError::Full { body },
        }
    }

    fn timed_out(&mut self) -> PublishError {
        PublishError::TimedOut { body: std::mem::take(&mut self.body) }
    }
}

/// A message that waits for room, to be sent.
#[derive(Debug)]
struct Attempt<'a> {
    channel: &'a Channel,
    message: Message<'a>,
    /// Its place among those that wait for room.
    ticket: Option<Ticket>,
}

impl<'a> Attempt<'a> {
    const fn new(channel: &'a Channel, message: Message<'a>) -> Self {
        Self { channel, message, ticket: None }
    }

    /// Gives the message to the engine as soon as there is room.
    fn poll(&mut self, cx: &Context<'_>, wants_confirm: bool) -> Poll<Result<Option<Token>, PublishError>> {
        let Self { channel, message, ticket } = self;
        let given = channel.inner.shared().command(|state, now| {
            let given = message.give(state, channel, now);
            if let Err(proto::PublishError::Full | proto::PublishError::Blocked) = given {
                state.wait_for_room(cx, ticket, now);
                return given;
            }
            if let (Ok(Some(token)), true) = (&given, wants_confirm) {
                state.expect_confirm(*token);
            }
            if let Some(ticket) = ticket.take() {
                state.leave_room(ticket);
            }
            given
        });
        match given {
            Ok(token) => Poll::Ready(Ok(token)),
            Err(proto::PublishError::Full | proto::PublishError::Blocked) if ticket.is_some() => {
                Poll::Pending
            }
            Err(proto::PublishError::Full | proto::PublishError::Blocked) => {
                Poll::Ready(Err(message.timed_out()))
            }
            Err(error) => Poll::Ready(Err(message.not_sent(error))),
        }
    }
}

/// Waits for room no more.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.channel.inner.shared().look(|state| state.leave_room(ticket));
        }
    }
}

/// A message that is to be published. Awaiting it publishes and waits for the confirm.
///
/// Dropping the future before it was polled publishes nothing; after that, the message may be on its way, and only the
/// confirm is not awaited.
#[derive(Debug)]
#[must_use = "nothing is published until it is awaited"]
pub struct Publish<'a> {
    channel: &'a Channel,
    message: Message<'a>,
}

impl<'a> Publish<'a> {
    pub(super) const fn new(channel: &'a Channel, message: Message<'a>) -> Self {
        Self { channel, message }
    }

    /// The exchange, in place of the publisher's.
    pub const fn exchange(mut self, exchange: &'a str) -> Self {
        self.message.exchange = exchange;
        self
    }

    /// The properties, all of them: without `delivery_mode` 2 the message is not persistent.
    pub const fn properties(mut self, properties: &'a Properties) -> Self {
        self.message.properties = properties;
        self
    }

    /// A message that no queue takes comes back, as [`PublishError::Returned`].
    pub const fn mandatory(mut self) -> Self {
        self.message.mandatory = true;
        self
    }

    /// A message that no consumer can take at once comes back.
    ///
    /// RabbitMQ has this no more, nor has the embedded broker: they close the connection with 540. There, a queue whose
    /// [`message_ttl`](super::DeclareQueue::message_ttl) is zero does much the same.
    pub const fn immediate(mut self) -> Self {
        self.message.immediate = true;
        self
    }

    /// Sends the message, once there is room, without waiting for its confirm: that is what the [`Confirm`] is for.
    ///
    /// It waits for room at most [`publish_timeout`](crate::Config::publish_timeout) from the first poll, and then ends
    /// with [`PublishError::TimedOut`].
    pub fn send(self) -> Sending<'a> {
        Sending { attempt: Attempt::new(self.channel, self.message) }
    }

    /// Sends the message if there is room now.
    ///
    /// # Errors
    ///
    /// [`PublishError::Full`] when there is not, [`PublishError::NotSent`] when it can never be sent. Either gives
    /// the body back.
    pub fn try_send(mut self) -> Result<Confirm, PublishError> {
        let given = self.channel.inner.shared().command(|state, now| {
            let given = self.message.give(state, self.channel, now);
            if let Ok(Some(token)) = given {
                state.expect_confirm(token);
            }
            given
        });
        match given {
            Ok(token) => Ok(Confirm::new(self.channel, token)),
            Err(error) => Err(self.message.not_sent(error)),
        }
    }
}

impl<'a> IntoFuture for Publish<'a> {
    type Output = Result<(), PublishError>;
    type IntoFuture = Publishing<'a>;

    fn into_future(self) -> Publishing<'a> {
        Publishing { sending: self.send(), confirm: None }
    }
}

/// A message that is being sent: a future of its [`Confirm`].
#[derive(Debug)]
#[must_use = "nothing is published until it is awaited"]
pub struct Sending<'a> {
    attempt: Attempt<'a>,
}

impl Future for Sending<'_> {
    type Output = Result<Confirm, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let sent = ready!(self.attempt.poll(cx, true));
        Poll::Ready(sent.map(|token| Confirm::new(self.attempt.channel, token)))
    }
}

/// A message that is being sent and confirmed.
#[derive(Debug)]
#[must_use = "nothing is published until it is awaited"]
pub struct Publishing<'a> {
    sending: Sending<'a>,
    confirm: Option<Confirm>,
}

impl Future for Publishing<'_> {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let confirm = match &mut this.confirm {
            Some(confirm) => confirm,
            None => {
                let confirm = ready!(Pin::new(&mut this.sending).poll(cx))?;
                this.confirm.insert(confirm)
            }
        };
        Pin::new(confirm).poll(cx)
    }
}

/// A message that is being sent without a confirm.
#[derive(Debug)]
#[must_use = "nothing is published until it is awaited"]
pub struct SendingUnconfirmed<'a> {
    attempt: Attempt<'a>,
}

impl<'a> SendingUnconfirmed<'a> {
    pub(super) const fn new(channel: &'a Channel, message: Message<'a>) -> Self {
        Self { attempt: Attempt::new(channel, message) }
    }
}

impl Future for SendingUnconfirmed<'_> {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.attempt.poll(cx, false).map_ok(drop)
    }
}
