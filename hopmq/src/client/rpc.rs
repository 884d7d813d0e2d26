use std::future::{Future, IntoFuture, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hopmq_proto::Instant;
use hopmq_proto::amqp::{Properties, ShortStr, basic, confirm};
use hopmq_proto::client::{CallError, CloseReason, Message, WhenLost};
use thiserror::Error as ThisError;

use super::call::Call;
use super::channel::Channel;
use super::confirm::Confirm;
use super::consumer::Consumer;
use super::incoming::ConsumerEnd;
use super::publish::{self, Publish};
use super::waits::Ticket;
use super::{Error, PublishError};

/// Where replies come in without a queue: see <https://www.rabbitmq.com/docs/direct-reply-to>.
const REPLY_TO: ShortStr = ShortStr::from_static("amq.rabbitmq.reply-to");
/// How many calls may be under way at once unless it is said.
const MAX_CALLS: usize = 65_536;

/// An [`RpcClient`] that is to be made; awaiting it makes it.
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct NewRpcClient {
    channel: Channel,
    timeout: Option<Duration>,
    max_calls: usize,
}

impl NewRpcClient {
    /// How long a call may take, from when it is first polled to its reply. Otherwise
    /// [`call_timeout`](crate::Config::call_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How many calls may be under way at once, 65 536 unless it is said; 0 is taken as 1. One more fails at once, with
    /// [`RpcError::TooMany`].
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls.max(1);
        self
    }
}

impl IntoFuture for NewRpcClient {
    type Output = Result<RpcClient, Error>;
    type IntoFuture = Call<RpcClient>;

    fn into_future(self) -> Call<RpcClient> {
        let select = confirm::Select { no_wait: false }.into();
        let consume = basic::Consume { queue: REPLY_TO, no_ack: true, ..basic::Consume::default() };
        let inner = self.channel.inner.clone();
        Call::send_behind(&inner.clone(), Some(select), consume, move |token, reply| {
            let timeout = inner.shared().look(|state| {
                state.route_replies(token, self.max_calls);
                self.timeout.unwrap_or(state.call_timeout)
            });
            let consumer = Consumer::new(inner, token, reply);
            let (channel, calls) = (self.channel, AtomicU64::new(0));
            RpcClient { inner: Arc::new(Inner { channel, consumer, timeout, calls }) }
        })
    }
}

/// Sends requests to queues, and hands out their replies: a remote procedure call is one
/// [`call`](RpcClient::call).
///
/// Replies come by direct reply-to, without a queue to declare. There is no task behind it: the connection's driver
/// hands each reply to the call with its correlation id, so calls of many tasks go on side by side, and one that is not
/// polled keeps no other waiting.
///
/// Cloning it gives another handle to the same client, for another task. A channel can have one client only.
///
/// When the connection is lost, the replies to what was asked before can no longer come: every call under way fails at
/// once, with [`RpcError::Lost`]. Calls that are made from then on are sent once the connection is back. When the channel
/// or the connection ends, every call fails, and so does every later one.
///
/// ```no_run
/// # async fn example(channel: hopmq::Channel) -> Result<(), Box<dyn std::error::Error>> {
/// let client = channel.rpc_client().await?;
/// let reply = client.call("fibonacci", "30").await?;
/// println!("{:?}", reply.body());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RpcClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    channel: Channel,
    /// Gives the address back when it is dropped.
    consumer: Consumer,
    timeout: Duration,
    /// How many there were: the last one's correlation id.
    calls: AtomicU64,
}

impl Channel {
    /// Makes an RPC client of this channel, which turns its confirms on.
    ///
    /// Dropping the future gives back what the broker grants, once it has: until then the broker refuses another client
    /// on this channel.
    ///
    /// # Errors
    ///
    /// From the future: 406 when the channel has a client already, or is transactional.
    pub fn rpc_client(&self) -> NewRpcClient {
        NewRpcClient { channel: self.clone(), timeout: None, max_calls: MAX_CALLS }
    }
}

impl RpcClient {
    /// Sends a request to a queue, and waits for the reply to it.
    ///
    /// A request that no queue takes fails at once. It is not persistent, for its reply is not either.
    ///
    /// Cancel safe: dropping the future before it was polled sends nothing; after that the request may be served, and
    /// its reply is dropped, as every reply that comes too late is.
    ///
    /// # Errors
    ///
    /// From the future: [`RpcError`] says whether the request was served or may have been.
    pub fn call<'a>(&'a self, queue: &'a str, body: impl Into<Bytes>) -> RpcCall<'a> {
        let inner = &*self.inner;
        let timeout = inner.timeout;
        RpcCall { inner, exchange: "", queue, properties: Properties::new(), timeout, body: body.into() }
    }

    /// The channel that it calls on.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.inner.channel
    }
}

/// A call that is to be made: awaiting it sends the request and gives the reply.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct RpcCall<'a> {
    inner: &'a Inner,
    exchange: &'a str,
    queue: &'a str,
    properties: Properties,
    timeout: Duration,
    body: Bytes,
}

impl<'a> RpcCall<'a> {
    /// The exchange, in place of the default exchange; the queue's name is then the routing key.
    pub const fn exchange(mut self, exchange: &'a str) -> Self {
        self.exchange = exchange;
        self
    }

    /// The properties of the request; `reply_to` and `correlation_id` are set by the call.
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = properties;
        self
    }

    /// How long this call may take, in place of the client's limit.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn run(mut self) -> Result<Message, RpcError> {
        let Some(mut request) = Pending::new(self.inner, self.timeout) else {
            return Err(RpcError::TooMany { body: self.body });
        };
        self.properties.reply_to = Some(REPLY_TO);
        self.properties.correlation_id = Some(ShortStr::truncated(&request.id.to_string()));
        let message = publish::Message::new(self.exchange, self.queue, &self.properties, self.body);
        let message = message.when_lost(WhenLost::Hold); // nobody waits for the reply any more
        let publish = Publish::new(&self.inner.channel, message).mandatory();
        let mut sending = pin!(publish.send());
        let mut confirm = poll_fn(|cx| {
            if let Poll::Ready(Err(lost @ RpcError::Lost(_))) = request.poll_reply(cx) {
                return Poll::Ready(Err(lost)); // while it waited for room
            }
            match sending.as_mut().poll(cx) {
                Poll::Ready(sent) => Poll::Ready(sent.map(Some).map_err(RpcError::Request)),
                Poll::Pending => request.poll_due(cx).map(Err),
            }
        })
        .await?;
        poll_fn(|cx| request.poll(cx, &mut confirm)).await
    }
}

impl<'a> IntoFuture for RpcCall<'a> {
    type Output = Result<Message, RpcError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A place for one reply.
struct Pending<'a> {
    inner: &'a Inner,
    id: u64,
    due: Instant,
    /// Once the deadline is waited for.
    ticket: Option<Ticket>,
}

impl<'a> Pending<'a> {
    /// `None` when as many calls are under way as may be.
    fn new(inner: &'a Inner, timeout: Duration) -> Option<Self> {
        let id = inner.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let due = inner.channel.inner.shared().look_now(|state, now| {
            state.expect_response(inner.consumer.token(), id).then(|| now + timeout)
        })?;
        Some(Self { inner, id, due, ticket: None })
    }

    /// Waits for the reply, as long as it may come.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        confirm: &mut Option<Confirm>,
    ) -> Poll<Result<Message, RpcError>> {
        if let Poll::Ready(reply) = self.poll_reply(cx) {
            return Poll::Ready(reply);
        }
        if let Some(confirmed) = confirm
            && let Poll::Ready(outcome) = Pin::new(confirmed).poll(cx)
        {
            *confirm = None;
            match outcome {
                // Without a confirm in time there may still be a reply in time.
                Ok(()) | Err(PublishError::Unconfirmed(CallError::TimedOut)) => {}
                Err(error) => return Poll::Ready(Err(RpcError::Request(error))),
            }
        }
        self.poll_due(cx).map(Err)
    }

    fn poll_reply(&self, cx: &Context<'_>) -> Poll<Result<Message, RpcError>> {
        let shared = self.inner.channel.inner.shared();
        shared.take(|state| state.poll_response(cx, self.inner.consumer.token(), self.id))
    }

    fn poll_due(&mut self, cx: &Context<'_>) -> Poll<RpcError> {
        let shared = self.inner.channel.inner.shared();
        let (due, ticket) = (self.due, &mut self.ticket);
        // The driver has to learn of a new deadline, and knows of an old one.
        let polled = match ticket {
            None => shared.command(|state, now| state.poll_deadline(cx, ticket, due, now)),
            Some(_) => shared.look_now(|state, now| state.poll_deadline(cx, ticket, due, now)),
        };
        polled.map(|()| RpcError::TimedOut)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.inner.channel.inner.shared().take(|state| {
            state.forget_response(self.inner.consumer.token(), self.id);
            if let Some(ticket) = self.ticket {
                state.leave_deadline(ticket);
            }
        });
    }
}

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, ThisError)]
#[non_exhaustive]
pub enum RpcError {
    /// As many calls are under way as [may be](NewRpcClient::max_calls). Nothing was sent.
    #[error("too many calls are under way")]
    TooMany {
        /// The request's body.
        body: Bytes,
    },
    /// The request did not reach a queue, or may not have: [`PublishError::Returned`] when there is none, for example.
    #[error("the request failed: {0}")]
    Request(PublishError),
    /// No reply came in time. The request may have been served, or may still be.
    #[error("no reply came in time")]
    TimedOut,
    /// The connection was lost before the reply came. The request may have been served, or may not have been sent. The
    /// client goes on once the connection is back.
    #[error("the reply cannot come any more: {0}")]
    Lost(Arc<CloseReason>),
    /// The channel or connection has ended. The request may have been served.
    #[error("no reply can come any more: {0}")]
    Ended(ConsumerEnd),
}

impl RpcError {
    /// Whether no queue took the request: nobody serves it.
    #[must_use]
    pub const fn is_unroutable(&self) -> bool {
        matches!(self, Self::Request(PublishError::Returned(_)))
    }
}
