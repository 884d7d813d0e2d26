use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::task::Poll;

use futures_core::Stream as _;
use futures_util::stream::FuturesUnordered;
use hopmq_proto::client::Message;

use super::consumer::Consumer;
use super::delivery::Delivery;
use super::incoming::ConsumerEnd;

/// After so many deliveries in one go, other tasks have their turn.
const TURN: usize = 64;

/// What becomes of a message whose handler has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Back into its queue, as often as it takes. A message that always fails comes round and round, unless the queue
    /// has a [delivery limit](super::DeclareQueue::delivery_limit).
    Requeue,
    /// Out of its queue: dead-lettered where the queue says where to, and dropped otherwise.
    Reject,
    /// Back into its queue the first time, and out of it when it was delivered before.
    RequeueOnce,
}

/// A message as a handler gets it. It reads like a [`Message`]; what the handler returns settles it.
#[derive(Debug, Clone)]
pub struct Received {
    tag: Option<u64>,
    redelivered: bool,
    after_gap: bool,
    message: Message,
}

impl Received {
    fn new(delivery: &Delivery) -> Self {
        let (tag, redelivered, after_gap) = (delivery.tag(), delivery.redelivered(), delivery.is_after_gap());
        Self { tag, redelivered, after_gap, message: delivery.message().clone() } // no bytes are copied
    }

    /// Whether it may have been delivered before.
    #[must_use]
    pub const fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// Whether the connection was lost before it: see [`Delivery::is_after_gap`].
    #[must_use]
    pub const fn is_after_gap(&self) -> bool {
        self.after_gap
    }

    /// The number of the delivery on its channel; `None` when the consumer is without acknowledgement.
    #[must_use]
    pub const fn tag(&self) -> Option<u64> {
        self.tag
    }

    /// The message, for good.
    #[must_use]
    pub fn into_message(self) -> Message {
        self.message
    }
}

impl Deref for Received {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Consumer {
    /// Hands each message to `handler`, up to `limit` of them at once (0 is taken as 1), until the consumer ends; then
    /// waits for the handlers that run, and says why it ended.
    ///
    /// A message is acknowledged when its handler returns `Ok`, and settled as `on_error` says when it returns `Err`; the
    /// error itself is the handler's to report. The handlers run inside this future, one at a time between their
    /// awaits: nothing is spawned. Choose a [prefetch](super::Consume::prefetch) of `limit` or more.
    ///
    /// ```no_run
    /// # async fn ship(order: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
    /// # async fn example(channel: hopmq::Channel) -> Result<(), hopmq::Error> {
    /// use hopmq::OnError;
    ///
    /// let mut orders = channel.consume("orders").prefetch(20).await?;
    /// let end = orders.handle(10, OnError::RequeueOnce, |order| async move { ship(order.body()).await }).await;
    /// println!("no more orders: {end}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// To stop it, [cancel](super::Channel::cancel_consumer) the consumer by its tag: what has come is handled, and nothing
    /// is left half done.
    ///
    /// When the connection is lost while handlers run, they go on; their messages are back in the queue, and come again.
    ///
    /// Messages of a stream can only be acknowledged: RabbitMQ closes the connection on anything else, so that their
    /// handlers should not fail.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the handlers that run. Their messages stay unsettled, and go back into the queue when the channel
    /// ends; what no handler has begun stays with the consumer.
    ///
    /// # Panics
    ///
    /// When a handler panics, so does this, and drops the other handlers.
    pub async fn handle<F, E>(
        &mut self,
        limit: usize,
        on_error: OnError,
        mut handler: impl FnMut(Received) -> F,
    ) -> ConsumerEnd
    where
        F: Future<Output = Result<(), E>>,
    {
        let mut running = FuturesUnordered::new();
        let mut turn = TURN;
        loop {
            let taken = poll_fn(|cx| {
                while let Poll::Ready(Some(())) = Pin::new(&mut running).poll_next(cx) {}
                if running.len() >= limit.max(1) {
                    return Poll::Pending;
                }
                if turn == 0 {
                    turn = TURN;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                turn -= 1;
                self.poll_delivery(cx)
            });
            let Some(delivery) = taken.await else { break };
            let handled = handler(Received::new(&delivery));
            running.push(async move { settle(delivery, handled.await.is_ok(), on_error) });
        }
        while poll_fn(|cx| Pin::new(&mut running).poll_next(cx)).await.is_some() {}
        self.end().unwrap_or(ConsumerEnd::Cancelled) // it has one, for it has ended
    }
}

fn settle(delivery: Delivery, done: bool, on_error: OnError) {
    let first = !delivery.redelivered();
    let settled = match on_error {
        _ if done => delivery.ack(),
        OnError::Requeue => delivery.nack(true),
        OnError::Reject => delivery.nack(false),
        OnError::RequeueOnce => delivery.nack(first),
    };
    drop(settled); // an error means that it is back in its queue: the channel has ended, or the connection was lost
}
