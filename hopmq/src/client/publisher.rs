use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hopmq_proto::Instant;
use hopmq_proto::amqp::{self, Properties, confirm};
use hopmq_proto::client::{self as proto, CallError, Confirmation, Token};

use super::call::Call;
use super::channel::{Channel, ChannelInner};
use super::shared::State;
use super::{Error, PublishError};

/// A publisher that is to be made; awaiting it turns confirms on.
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct NewPublisher {
    channel: Channel,
    exchange: Arc<str>,
    mandatory: bool,
}

impl NewPublisher {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel, exchange: Arc::from(""), mandatory: false }
    }

    /// The exchange to publish to, in place of the default exchange.
    pub fn exchange(mut self, exchange: &str) -> Self {
        self.exchange = Arc::from(exchange);
        self
    }

    /// A message that no queue takes comes back, as [`PublishError::Returned`]; otherwise the broker drops and
    /// confirms it.
    pub fn mandatory(mut self) -> Self {
        self.mandatory = true;
        self
    }
}

impl IntoFuture for NewPublisher {
    type Output = Result<Publisher, Error>;
    type IntoFuture = Call<Publisher>;

    fn into_future(self) -> Call<Publisher> {
        let channel = self.channel.inner.clone();
        Call::send(&channel, confirm::Select { no_wait: false }, move |_, _| Publisher {
            channel: self.channel,
            exchange: self.exchange,
            mandatory: self.mandatory,
        })
    }
}

/// Publishes with confirms: when a publish resolves `Ok`, the broker has the message.
///
/// Cloning it gives another handle to the same channel, for another task. Messages are sent in the order in which
/// their futures are first polled; but one that has to wait for room is sent when it is polled again.
#[derive(Debug, Clone)]
pub struct Publisher {
    channel: Channel,
    exchange: Arc<str>,
    mandatory: bool,
}

impl Publisher {
    /// Publishes a message. Awaiting it waits for room, sends, and waits for the confirm; to have many on their way
    /// at once, [`send`](Publish::send) them and await the [`Confirm`]s together.
    ///
    /// Messages are persistent unless [`properties`](Publish::properties) say otherwise.
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), Box<dyn std::error::Error>> {
    /// use hopmq::Confirms;
    ///
    /// let publisher = channel.publisher().await?;
    /// publisher.publish("orders", "one").await?; // the broker has it
    ///
    /// let mut confirms = Confirms::new();
    /// for n in 0..1000 {
    ///     confirms.push(publisher.publish("orders", format!("{n}")).send().await?);
    /// }
    /// confirms.wait().await?; // the broker has them all
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`PublishError`] says whether it was not sent, refused, returned, or sent without a confirm.
    pub fn publish<'a>(&'a self, routing_key: &'a str, body: impl Into<Bytes>) -> Publish<'a> {
        let message = Message {
            exchange: &self.exchange,
            routing_key,
            mandatory: self.mandatory,
            properties: &PERSISTENT,
            body: body.into(),
        };
        Publish { channel: &self.channel, message }
    }

    /// The channel that it publishes on.
    #[must_use]
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }
}

/// What a message gets that is given no properties.
static PERSISTENT: LazyLock<Properties> = LazyLock::new(|| Properties::new().persistent());

/// A message, and where it goes.
#[derive(Debug)]
pub(super) struct Message<'a> {
    exchange: &'a str,
    routing_key: &'a str,
    mandatory: bool,
    properties: &'a Properties,
    body: Bytes,
}

impl<'a> Message<'a> {
    pub(super) fn new(
        exchange: &'a str,
        routing_key: &'a str,
        properties: &'a Properties,
        body: Bytes,
    ) -> Self {
        Self { exchange, routing_key, mandatory: false, properties, body }
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
            immediate: false,
        };
        state.engine.publish(channel.inner.id, &publish, self.properties, &self.body, now)
    }

    fn not_sent(&mut self, error: proto::PublishError) -> PublishError {
        let body = std::mem::take(&mut self.body);
        match error {
            proto::PublishError::Command(error) => PublishError::NotSent { error, body },
            _ => PublishError::Full { body },
        }
    }
}

/// A message that waits for room, to be sent.
#[derive(Debug)]
struct Attempt<'a> {
    channel: &'a Channel,
    message: Message<'a>,
    /// Its place among those that wait for room.
    ticket: Option<u64>,
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
                state.wait_writable(cx, ticket);
                return given;
            }
            if let (Ok(Some(token)), true) = (&given, wants_confirm) {
                state.expect_confirm(*token);
            }
            if let Some(ticket) = ticket.take() {
                state.leave_writable(ticket);
            }
            given
        });
        match given {
            Ok(token) => Poll::Ready(Ok(token)),
            Err(proto::PublishError::Full | proto::PublishError::Blocked) => Poll::Pending,
            Err(error) => Poll::Ready(Err(message.not_sent(error))),
        }
    }
}

/// Waits for room no more.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.channel.inner.shared().look(|state| state.leave_writable(ticket));
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

    /// Sends the message, once there is room, without waiting for its confirm: that is what the [`Confirm`] is for.
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
    fn new(channel: &Channel, token: Option<Token>) -> Self {
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
        Err(error) => Err(PublishError::Unconfirmed(error)),
    }
}

impl Drop for Confirm {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            self.channel.shared().look(|state| state.forget_confirm(token));
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
}

impl Confirms {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: Vec::new() }
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
    /// Cancel safe: what was not waited for is still here.
    ///
    /// # Errors
    ///
    /// The first message that is not known to be on the broker, after all have been waited for.
    pub async fn wait(&mut self) -> Result<(), PublishError> {
        let mut result = Ok(());
        while let Some(confirm) = self.waiting.last_mut() {
            let outcome = confirm.await;
            self.waiting.pop();
            if outcome.is_err() {
                result = outcome; // they are taken from the end, so the last error seen is the first message's
            }
        }
        result
    }
}

impl Extend<Confirm> for Confirms {
    fn extend<I: IntoIterator<Item = Confirm>>(&mut self, confirms: I) {
        self.waiting.extend(confirms);
    }
}

impl FromIterator<Confirm> for Confirms {
    fn from_iter<I: IntoIterator<Item = Confirm>>(confirms: I) -> Self {
        Self { waiting: confirms.into_iter().collect() }
    }
}
