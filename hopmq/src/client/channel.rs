use std::sync::Arc;

use bytes::Bytes;
use hopmq_proto::amqp::{FieldTable, Method, Properties, ShortStr, basic, exchange, queue};
use hopmq_proto::client::{ChannelId, CloseReason, CommandError, Reply};

use super::Error;
use super::call::Call;
use super::connection::ConnectionInner;
use super::consumer::Consume;
use super::delivery::GotDelivery;
use super::exchange::{DeclareExchange, ExchangeKind};
use super::no_wait::NoWait;
use super::publish::{Message, SendingUnconfirmed};
use super::publisher::NewPublisher;
use super::queue::DeclareQueue;
use super::shared::Shared;

/// A channel: where queues and exchanges are declared, and messages published and consumed.
///
/// Cloning it gives another handle to the same channel. When the last handle to it and to its consumers, publishers,
/// deliveries, calls and confirms is dropped, it is closed, and what was delivered on it and not settled goes back into its queue.
///
/// An error that the broker reports for one operation closes the whole channel; every later operation on it fails
/// with that first cause.
#[derive(Clone)]
pub struct Channel {
    pub(super) inner: Arc<ChannelInner>,
}

/// Closes the channel when it is dropped.
pub(crate) struct ChannelInner {
    pub(crate) connection: Arc<ConnectionInner>,
    pub(crate) id: ChannelId,
}

impl ChannelInner {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.connection.shared
    }
}

impl Drop for ChannelInner {
    fn drop(&mut self) {
        self.shared().command(|state, now| state.engine.give_back(Reply::Channel(self.id), now));
    }
}

/// A name or key that must fit 255 bytes.
pub(crate) fn short(argument: &'static str, text: &str) -> Result<ShortStr, Error> {
    ShortStr::try_from(text).map_err(|error| Error::Argument { argument, error })
}

/// How many deliveries may be unsettled at once, for each new consumer of a channel, or for all of the channel.
pub(crate) fn prefetch(count: u16, global: bool) -> basic::Qos {
    basic::Qos { prefetch_size: 0, prefetch_count: count, global }
}

/// Which messages a binding takes, between an exchange and where they go.
pub(super) struct Binding {
    pub(super) destination: ShortStr,
    pub(super) source: ShortStr,
    pub(super) routing_key: ShortStr,
}

impl Binding {
    pub(super) fn new(destination: &str, source: &str, routing_key: &str) -> Result<Self, Error> {
        Ok(Self {
            destination: short("destination", destination)?,
            source: short("exchange", source)?,
            routing_key: short("routing key", routing_key)?,
        })
    }
}

impl Channel {
    pub(crate) fn new(connection: Arc<ConnectionInner>, id: ChannelId) -> Self {
        Self { inner: Arc::new(ChannelInner { connection, id }) }
    }

    /// Sends `method`, or refuses what could not be put into it.
    fn call<T>(
        &self,
        method: Result<Method, Error>,
        take: impl FnOnce(Reply) -> T + Send + 'static,
    ) -> Call<T> {
        match method {
            Ok(method) => Call::send(&self.inner, method, |_, reply| take(reply)),
            Err(error) => Call::refused(error),
        }
    }

    /// Sends a method that asks for no answer.
    pub(super) fn send_no_wait(&self, method: Method) -> Result<(), Error> {
        let id = self.inner.id;
        Ok(self.inner.shared().command(|state, now| state.engine.send_no_wait(id, method, now))?)
    }

    /// The number of the channel on the wire.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.inner.id.number()
    }

    /// Declares a queue: creates it if it is not there. Say how long it lives: `durable()`, `exclusive()`,
    /// `transient()`, `quorum()` or `stream()`; or `passive()` to only look whether it is there.
    ///
    /// With an empty name the broker chooses one. Wherever else a queue is named, the empty name is that of the queue
    /// that was last declared on this channel; 404 when none was.
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), hopmq::Error> {
    /// let queue = channel.declare_queue("orders").durable().await?;
    /// println!("{} has {} messages", queue.name(), queue.message_count());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "say how long the queue lives"]
    pub fn declare_queue(&self, name: &str) -> DeclareQueue {
        DeclareQueue::new(self.clone(), name)
    }

    /// Declares an exchange: creates it if it is not there. Say how long it lives: `durable()` or `transient()`; or
    /// `passive()` to only look whether it is there.
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), hopmq::Error> {
    /// use hopmq::ExchangeKind;
    ///
    /// channel.declare_exchange("logs", &ExchangeKind::Fanout).durable().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "say how long the exchange lives"]
    pub fn declare_exchange(&self, name: &str, kind: &ExchangeKind) -> DeclareExchange {
        DeclareExchange::new(self.clone(), name, kind)
    }

    /// Binds a queue to an exchange: messages with a fitting routing key go to the queue.
    ///
    /// When both `queue` and `routing_key` are empty, the routing key is the queue's name, too.
    pub fn bind_queue(&self, queue: &str, exchange: &str, routing_key: &str) -> Call<()> {
        self.bind_queue_with(queue, exchange, routing_key, FieldTable::new())
    }

    /// Binds a queue to an exchange, with arguments; for a headers exchange.
    pub fn bind_queue_with(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Call<()> {
        let binding = Binding::new(queue, exchange, routing_key);
        let method = binding.map(|Binding { destination: queue, source: exchange, routing_key }| {
            queue::Bind { queue, exchange, routing_key, no_wait: false, arguments }.into()
        });
        self.call(method, drop)
    }

    /// Removes a binding of a queue. `arguments` are those it was made with.
    pub fn unbind_queue(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Call<()> {
        let binding = Binding::new(queue, exchange, routing_key);
        let method = binding.map(|Binding { destination: queue, source: exchange, routing_key }| {
            queue::Unbind { queue, exchange, routing_key, arguments }.into()
        });
        self.call(method, drop)
    }

    /// Binds an exchange to another: messages with a fitting routing key go from `source` to `destination`.
    pub fn bind_exchange(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Call<()> {
        let binding = Binding::new(destination, source, routing_key);
        let method = binding.map(|Binding { destination, source, routing_key }| {
            exchange::Bind { destination, source, routing_key, no_wait: false, arguments }.into()
        });
        self.call(method, drop)
    }

    /// Removes a binding between exchanges. `arguments` are those it was made with.
    pub fn unbind_exchange(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Call<()> {
        let binding = Binding::new(destination, source, routing_key);
        let method = binding.map(|Binding { destination, source, routing_key }| {
            exchange::Unbind { destination, source, routing_key, no_wait: false, arguments }.into()
        });
        self.call(method, drop)
    }

    /// Drops the messages that are ready in a queue, and says how many there were.
    pub fn purge_queue(&self, queue: &str) -> Call<u32> {
        let method = short("queue", queue).map(|queue| queue::Purge { queue, no_wait: false }.into());
        self.call(method, |reply| message_count(&reply))
    }

    /// Deletes a queue, and says how many messages went with it. A queue that is not there is no error.
    pub fn delete_queue(&self, queue: &str) -> Call<u32> {
        self.delete(queue, false, false)
    }

    /// Deletes a queue if it has no consumers; otherwise the channel is closed with 406.
    pub fn delete_queue_if_unused(&self, queue: &str) -> Call<u32> {
        self.delete(queue, true, false)
    }

    /// Deletes a queue if it has no messages; otherwise the channel is closed with 406.
    pub fn delete_queue_if_empty(&self, queue: &str) -> Call<u32> {
        self.delete(queue, false, true)
    }

    fn delete(&self, queue: &str, if_unused: bool, if_empty: bool) -> Call<u32> {
        let method = short("queue", queue)
            .map(|queue| queue::Delete { queue, if_unused, if_empty, no_wait: false }.into());
        self.call(method, |reply| message_count(&reply))
    }

    /// Deletes an exchange. One that is not there is no error.
    pub fn delete_exchange(&self, exchange: &str) -> Call<()> {
        let method = short("exchange", exchange)
            .map(|exchange| exchange::Delete { exchange, if_unused: false, no_wait: false }.into());
        self.call(method, drop)
    }

    /// Deletes an exchange if nothing is bound to it; otherwise the channel is closed with 406.
    pub fn delete_exchange_if_unused(&self, exchange: &str) -> Call<()> {
        let method = short("exchange", exchange)
            .map(|exchange| exchange::Delete { exchange, if_unused: true, no_wait: false }.into());
        self.call(method, drop)
    }

    /// The same changes without an answer to wait for. Declarations have it too:
    /// [`DeclareQueue::no_wait`], [`DeclareExchange::no_wait`].
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), hopmq::Error> {
    /// use hopmq::FieldTable;
    ///
    /// channel.declare_queue("orders").durable().no_wait()?;
    /// for key in ["order.new", "order.paid", "order.sent"] {
    ///     channel.no_wait().bind_queue("orders", "amq.topic", key, FieldTable::new())?;
    /// }
    /// channel.declare_queue("orders").passive().await?; // now they all are there
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn no_wait(&self) -> NoWait<'_> {
        NoWait::new(self)
    }

    /// Limits how many deliveries may be unsettled at once, for each consumer that is started on this channel from now
    /// on. 0 is no limit. See <https://www.rabbitmq.com/docs/consumer-prefetch>.
    pub fn set_prefetch(&self, count: u16) -> Call<()> {
        self.call(Ok(prefetch(count, false).into()), drop)
    }

    /// Limits how many deliveries may be unsettled at once on this channel, all its consumers together. 0 is no limit.
    /// A later [`set_prefetch`](Channel::set_prefetch) or [`Consume::prefetch`] lifts it.
    ///
    /// RabbitMQ discourages it, and has it limit each consumer in its place from 4.3 on, unless it is configured
    /// otherwise; quorum queues do not serve such a channel. See
    /// <https://www.rabbitmq.com/docs/consumer-prefetch>.
    pub fn set_channel_prefetch(&self, count: u16) -> Call<()> {
        self.call(Ok(prefetch(count, true).into()), drop)
    }

    /// Starts a consumer on a queue. Awaiting it gives a stream of deliveries.
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut deliveries = channel.consume("orders").prefetch(100).await?;
    /// while let Some(delivery) = deliveries.next().await {
    ///     println!("{:?}", delivery.body());
    ///     delivery.ack()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "nothing is consumed until it is awaited"]
    pub fn consume(&self, queue: &str) -> Consume {
        Consume::new(self.clone(), queue)
    }

    /// Ends the consumer with this tag, and waits until the broker has confirmed it: from now on no message is delivered
    /// to it. What has come for it can still be taken; then it ends with
    /// [`ConsumerEnd::Cancelled`](super::ConsumerEnd::Cancelled).
    ///
    /// This is how a consumer ends that another task has, and how [handlers](super::Consumer::handle) and
    /// [servers](super::RpcServer::serve) stop without leaving anything half done. A tag that no consumer of this channel
    /// has is fine.
    ///
    /// # Errors
    ///
    /// From the future: when the channel has ended.
    pub fn cancel_consumer(&self, tag: &str) -> Call<()> {
        let cancel = |consumer_tag| basic::Cancel { consumer_tag, no_wait: false }.into();
        self.call(short("consumer tag", tag).map(cancel), drop)
    }

    /// Takes one message out of a queue, if there is one. It must be settled.
    ///
    /// For more than a few messages [`consume`](Channel::consume) is much faster. Dropping the future puts the message
    /// back.
    pub fn get(&self, queue: &str) -> Call<Option<GotDelivery>> {
        self.get_with(queue, false)
    }

    /// Takes one message out of a queue, if there is one, for good: there is nothing to settle. Dropping the future
    /// loses the message.
    pub fn get_no_ack(&self, queue: &str) -> Call<Option<GotDelivery>> {
        self.get_with(queue, true)
    }

    fn get_with(&self, queue: &str, no_ack: bool) -> Call<Option<GotDelivery>> {
        let method = short("queue", queue).map(|queue| basic::Get { queue, no_ack }.into());
        let channel = self.inner.clone();
        self.call(method, move |reply| match reply {
            Reply::Message { delivery, message_count } => {
                Some(GotDelivery::new(channel, *delivery, message_count))
            }
            _ => None,
        })
    }

    /// Asks the broker to deliver again, to any consumer, everything that was delivered on this channel and is not
    /// settled. What was delivered before can then no longer be settled.
    pub fn recover(&self) -> Call<()> {
        self.call(Ok(basic::Recover { requeue: true }.into()), drop)
    }

    /// Turns confirms on for this channel, and gives a handle that publishes with them.
    #[must_use = "nothing happens until it is awaited"]
    pub fn publisher(&self) -> NewPublisher {
        NewPublisher::new(self.clone())
    }

    /// Publishes without a confirm: awaiting it waits for room in the outbox, and nothing more. If the connection is
    /// lost, so may the message be; [`publisher`](Channel::publisher) tells.
    ///
    /// # Errors
    ///
    /// From the future: when the channel has ended, a name is too long, or there is no room within
    /// [`publish_timeout`](crate::Config::publish_timeout); the body comes back in the error.
    pub fn publish<'a>(
        &'a self,
        exchange: &'a str,
        routing_key: &'a str,
        properties: &'a Properties,
        body: impl Into<Bytes>,
    ) -> SendingUnconfirmed<'a> {
        SendingUnconfirmed::new(self, Message::new(exchange, routing_key, properties, body.into()))
    }

    /// Whether it is open, as far as this client has heard. One that has ended never opens again: open another.
    ///
    /// ```no_run
    /// # async fn example(connection: hopmq::Connection, mut channel: hopmq::Channel) -> Result<(), hopmq::Error> {
    /// if !channel.is_open() {
    ///     eprintln!("the channel has ended: {:?}", channel.close_reason());
    ///     channel = connection.open_channel().await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.check().is_ok()
    }

    /// Why the channel has ended, once it has: known until its number is given to the second channel after it.
    #[must_use]
    pub fn close_reason(&self) -> Option<Arc<CloseReason>> {
        match self.check() {
            Err(CommandError::Closed(reason)) => Some(reason),
            _ => None,
        }
    }

    fn check(&self) -> Result<(), CommandError> {
        self.inner.shared().look(|state| state.engine.check_channel(self.inner.id))
    }

    /// Closes the channel. What was delivered on it and is not settled goes back into its queue.
    ///
    /// # Errors
    ///
    /// From the future: when it is closed already, with the reason.
    pub fn close(&self) -> Call<()> {
        let sent = self.inner.shared().command(|state, now| {
            let token = state.engine.close_channel(self.inner.id, now)?;
            state.expect_reply(token);
            Ok::<_, Error>(token)
        });
        Call::sent(&self.inner.connection, None, sent, |_, _| ())
    }
}

fn message_count(reply: &Reply) -> u32 {
    match reply {
        Reply::Method(method) => match &**method {
            Method::QueuePurgeOk(ok) => ok.message_count,
            Method::QueueDeleteOk(ok) => ok.message_count,
            _ => 0,
        },
        _ => 0,
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Channel").field(&self.number()).finish()
    }
}
