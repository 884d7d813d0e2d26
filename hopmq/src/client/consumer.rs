use std::collections::VecDeque;
use std::fmt;
use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use hopmq_proto::amqp::{FieldTable, FieldValue, ShortStr, basic};
use hopmq_proto::client::{Reply, Token};

use super::arguments::{age, number};
use super::call::Call;
use super::channel::{Channel, ChannelInner, prefetch, short};
use super::delivery::Delivery;
use super::incoming::{Arrived, ConsumerEnd};
use super::{Error, arguments};

/// A consumer that is to be started; awaiting it starts it.
#[derive(Debug, Clone)]
#[must_use = "nothing is consumed until it is awaited"]
pub struct Consume {
    channel: Channel,
    consume: Result<basic::Consume, Error>,
    prefetch: Option<u16>,
}

impl Consume {
    pub(super) fn new(channel: Channel, queue: &str) -> Self {
        let consume =
            short("queue", queue).map(|queue| basic::Consume { queue, ..basic::Consume::default() });
        Self { channel, consume, prefetch: None }
    }

    fn set(mut self, set: impl FnOnce(&mut basic::Consume)) -> Self {
        if let Ok(consume) = &mut self.consume {
            set(consume);
        }
        self
    }

    /// Limits how many deliveries may be unsettled at once; 0 is no limit. It also holds for consumers that are
    /// started on this channel later and do not say otherwise.
    ///
    /// Deliveries wait in memory until they are taken. When more than `max_event_bytes` of them do (16 times that while
    /// a call, a confirm or room for a publish is awaited), the connection is not read until they are taken, and
    /// everything else on it waits too: where messages are large, choose the prefetch accordingly, or publish on
    /// another connection.
    pub fn prefetch(mut self, count: u16) -> Self {
        self.prefetch = Some(count);
        self
    }

    /// Names the consumer; otherwise the broker does.
    pub fn tag(mut self, tag: &str) -> Self {
        match (short("consumer tag", tag), &mut self.consume) {
            (Ok(tag), Ok(consume)) => consume.consumer_tag = tag,
            (Err(error), consume) => *consume = Err(error),
            _ => {}
        }
        self
    }

    /// Messages count as done once they are sent: nothing is to be settled, and what is under way when the connection
    /// is lost is lost too.
    pub fn no_ack(self) -> Self {
        self.set(|consume| consume.no_ack = true)
    }

    /// Nobody else may consume from the queue.
    pub fn exclusive(self) -> Self {
        self.set(|consume| consume.exclusive = true)
    }

    /// Not what this connection has published. RabbitMQ ignores it.
    pub fn no_local(self) -> Self {
        self.set(|consume| consume.no_local = true)
    }

    /// `x-priority`: a consumer of higher priority is served first, for as long as its prefetch lets it. 0 when nothing
    /// is said. See <https://www.rabbitmq.com/docs/consumer-priority>.
    pub fn priority(self, priority: i32) -> Self {
        self.argument("x-priority", priority)
    }

    /// `x-stream-offset`: where in a stream it begins; at the next message when nothing is said. See
    /// <https://www.rabbitmq.com/docs/streams#consuming>.
    ///
    /// Each delivery has its own offset in the header of this name. After a loss of the connection it begins there again: from the
    /// first message once more, or behind what came while it was away. Who must neither skip nor repeat remembers the offset of what it has done,
    /// turns recovery off, and begins at the next one. A consumer of a stream needs a prefetch, and must
    /// acknowledge.
    pub fn stream_offset(self, offset: StreamOffset) -> Self {
        self.put("x-stream-offset", offset.into_value())
    }

    /// `x-stream-filter`: only chunks of a stream that have a message with one of these values in its header
    /// `x-stream-filter-value`. Other messages of such a chunk come too, so look at the header again. RabbitMQ 3.13 or
    /// later; older ones ignore it. See <https://www.rabbitmq.com/docs/streams#filtering>.
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), hopmq::Error> {
    /// let europe = channel.consume("orders").prefetch(100).stream_filter(["de", "fr"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream_filter<'a>(self, values: impl IntoIterator<Item = &'a str>) -> Self {
        let values: Vec<FieldValue> = values.into_iter().map(FieldValue::from).collect();
        self.argument("x-stream-filter", values)
    }

    /// `x-stream-match-unfiltered`: besides what [`stream_filter`](Consume::stream_filter) lets through, chunks that have
    /// a message without such a header.
    pub fn stream_match_unfiltered(self) -> Self {
        self.argument("x-stream-match-unfiltered", true)
    }

    /// Sets any argument.
    pub fn argument(self, name: &str, value: impl Into<FieldValue>) -> Self {
        self.put(name, Ok(value.into()))
    }

    fn put(mut self, name: &str, value: Result<FieldValue, Error>) -> Self {
        arguments::put(&mut self.consume, |consume| &mut consume.arguments, name, value);
        self
    }

    /// Sets all arguments, in place of those set before.
    pub fn arguments(self, arguments: FieldTable) -> Self {
        self.set(|consume| consume.arguments = arguments)
    }
}

/// Where in a stream a consumer begins. See <https://www.rabbitmq.com/docs/streams#consuming>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamOffset {
    /// At the oldest message that is kept.
    First,
    /// At the newest chunk of messages.
    Last,
    /// At the next message that is published.
    Next,
    /// At the message with this offset; before the oldest is [`First`](StreamOffset::First), after the newest is
    /// [`Next`](StreamOffset::Next).
    Offset(u64),
    /// At the chunk of messages with this time, in seconds since 1970-01-01 00:00:00 UTC.
    Timestamp(u64),
    /// At the chunk of messages this long ago, rounded up to seconds.
    Ago(Duration),
}

impl StreamOffset {
    fn into_value(self) -> Result<FieldValue, Error> {
        Ok(match self {
            Self::First => "first".into(),
            Self::Last => "last".into(),
            Self::Next => "next".into(),
            Self::Offset(offset) => return number("x-stream-offset", offset),
            Self::Timestamp(seconds) => FieldValue::Timestamp(seconds),
            Self::Ago(time) => age(time).into(),
        })
    }
}

impl IntoFuture for Consume {
    type Output = Result<Consumer, Error>;
    type IntoFuture = Call<Consumer>;

    fn into_future(self) -> Call<Consumer> {
        let consume = match self.consume {
            Ok(consume) => consume,
            Err(error) => return Call::refused(error),
        };
        // Sent together, so that the prefetch of no other consumer comes between.
        let qos = self.prefetch.map(|count| prefetch(count, false).into());
        let channel = self.channel.inner.clone();
        Call::send_behind(&self.channel.inner, qos, consume, move |token, reply| {
            Consumer::new(channel, token, reply)
        })
    }
}

/// A running consumer: a stream of deliveries, which ends when the consumer does.
///
/// When the connection is lost and comes back, the consumer is started again, with its prefetch and its arguments, and the
/// stream goes on: [`Delivery::is_after_gap`] tells where. What was delivered before and is to be settled goes
/// back into the queue and comes again; so what was not taken by then is dropped here, and what was taken can no longer be
/// settled. Only a consumer that cannot be started again ends, with [`ConsumerEnd::NotRestored`].
///
/// Dropping it cancels the consumer, and puts what was delivered and not yet taken back into the queue. What was
/// taken can still be settled.
pub struct Consumer {
    channel: Arc<ChannelInner>,
    token: Token,
    tag: ShortStr,
    /// Taken out of the shared state, a batch at a time.
    taken: VecDeque<Arrived>,
    /// How often the connection had been lost when they were taken.
    losses: u64,
    /// It has been cancelled from this side.
    done: bool,
}

/// What has come for a consumer and was not taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffered {
    /// How many messages.
    pub messages: usize,
    /// How many bytes they hold, with their names and properties.
    pub bytes: usize,
}

impl Consumer {
    /// The consumer that a reply has granted.
    pub(super) fn new(channel: Arc<ChannelInner>, token: Token, reply: Reply) -> Self {
        let tag = match reply {
            Reply::Consumer { consumer_tag, .. } => consumer_tag,
            _ => ShortStr::empty(),
        };
        Self { channel, token, tag, taken: VecDeque::new(), losses: 0, done: false }
    }

    /// What the connection knows it by.
    pub(super) const fn token(&self) -> Token {
        self.token
    }

    /// The consumer's name.
    #[must_use]
    pub const fn tag(&self) -> &ShortStr {
        &self.tag
    }

    /// The next delivery; `None` when the consumer has ended, for the reason that [`end`](Consumer::end) gives.
    ///
    /// Cancel safe: a delivery is either returned or still to come.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_delivery(cx)).await
    }

    /// What has come from the broker and was not taken yet.
    ///
    /// This is where a slow consumer shows. It is bounded: by the [prefetch](Consume::prefetch), where there is one, and
    /// for all consumers of a connection by `max_event_bytes`, beyond which the connection is not read. One batch that
    /// this consumer has begun to take is not counted there, but here.
    #[must_use]
    pub fn buffered(&self) -> Buffered {
        let (messages, bytes) = self.channel.shared().look(|state| state.consumer_buffered(self.token));
        let taken: usize = self.taken.iter().map(|arrived| arrived.delivery.message.size()).sum();
        Buffered { messages: messages + self.taken.len(), bytes: bytes + taken }
    }

    /// Why the consumer has ended, once it has.
    #[must_use]
    pub fn end(&self) -> Option<ConsumerEnd> {
        self.channel.shared().look(|state| state.consumer_end(self.token))
    }

    /// Ends the consumer, and waits until the broker has confirmed it. What was delivered and not yet taken goes back
    /// into the queue. A consumer that the broker has ended needs no more than that.
    ///
    /// # Errors
    ///
    /// From the future: when the channel has ended.
    pub fn cancel(mut self) -> Call<()> {
        if let Some(ConsumerEnd::Cancelled | ConsumerEnd::NotRestored(_)) = self.end() {
            return Call::known(Ok(())); // the tag may be another consumer's by now
        }
        let cancel = basic::Cancel { consumer_tag: self.tag.clone(), no_wait: false };
        let call = Call::send(&self.channel, cancel, |_, _| ());
        if call.is_sent() {
            self.done = true;
            self.give_back();
        }
        call
    }

    pub(super) fn poll_delivery(&mut self, cx: &Context<'_>) -> Poll<Option<Delivery>> {
        if !self.taken.is_empty() && self.losses != self.channel.shared().losses() {
            self.taken.retain(Arrived::outlives_loss); // what comes next knows of the gap
        }
        if self.taken.is_empty() {
            let (token, taken) = (self.token, &mut self.taken);
            self.losses = ready!(self.channel.shared().take_deliveries(cx, token, taken));
        }
        let arrived = self.taken.pop_front();
        Poll::Ready(arrived.map(|arrived| Delivery::new(self.channel.clone(), arrived)))
    }

    /// Puts back what has not been taken.
    fn give_back(&mut self) {
        let (token, taken) = (self.token, std::mem::take(&mut self.taken));
        self.channel.shared().command(|state, now| {
            for Arrived { delivery, .. } in taken {
                state.engine.requeue(delivery, now);
            }
            state.drop_consumer(token, now);
        });
    }
}

impl Stream for Consumer {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll_delivery(cx)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let consumer = Reply::Consumer { channel: self.channel.id, consumer_tag: self.tag.clone() };
        self.channel.shared().command(|state, now| {
            // Where the broker has ended it, the tag may be another consumer's by now.
            if state.consumer_end(self.token).is_none() {
                state.engine.give_back(consumer, now);
            }
        });
        self.give_back();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("tag", &self.tag).finish_non_exhaustive()
    }
}
