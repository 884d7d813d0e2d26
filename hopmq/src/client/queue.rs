use std::future::IntoFuture;

use hopmq_proto::amqp::{FieldTable, FieldValue, Method, queue};
use hopmq_proto::client::Reply;

use super::call::Call;
use super::channel::{Channel, short};
use super::{Error, arguments};

/// A queue that was declared: what the broker said of it then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    name: String,
    message_count: u32,
    consumer_count: u32,
}

impl Queue {
    /// Its name; the broker's choice where it was declared without one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Messages that were ready in it.
    #[must_use]
    pub const fn message_count(&self) -> u32 {
        self.message_count
    }

    /// Consumers that it had.
    #[must_use]
    pub const fn consumer_count(&self) -> u32 {
        self.consumer_count
    }

    fn from_reply(reply: Reply) -> Self {
        match reply {
            Reply::Method(method) => match *method {
                Method::QueueDeclareOk(ok) => Self {
                    name: ok.queue.to_string_lossy().into_owned(),
                    message_count: ok.message_count,
                    consumer_count: ok.consumer_count,
                },
                _ => Self::nothing(),
            },
            _ => Self::nothing(),
        }
    }

    /// The engine answers a declare with `declare-ok` only.
    const fn nothing() -> Self {
        Self { name: String::new(), message_count: 0, consumer_count: 0 }
    }
}

/// How long a queue lives is not said yet.
#[derive(Debug, Clone, Copy)]
pub struct Unspecified(());

/// How long a queue lives is said.
#[derive(Debug, Clone, Copy)]
pub struct Specified(());

/// A declaration of a queue. It can be awaited once [`durable`](DeclareQueue::durable),
/// [`exclusive`](DeclareQueue::exclusive), [`transient`](DeclareQueue::transient), [`quorum`](DeclareQueue::quorum),
/// [`stream`](DeclareQueue::stream) or [`passive`](DeclareQueue::passive) is said.
///
/// There is no default on purpose: RabbitMQ 4.3 closes the connection on a queue that is neither durable nor exclusive.
///
/// ```compile_fail,E0277
/// # async fn example(channel: hopmq::Channel) {
/// channel.declare_queue("orders").await; // error: `DeclareQueue` is not a future
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is declared until it is awaited"]
pub struct DeclareQueue<L = Unspecified> {
    channel: Channel,
    declare: Result<queue::Declare, Error>,
    lifetime: std::marker::PhantomData<L>,
}

impl DeclareQueue {
    pub(super) fn new(channel: Channel, name: &str) -> Self {
        let declare = short("queue", name).map(|queue| queue::Declare { queue, ..queue::Declare::default() });
        Self { channel, declare, lifetime: std::marker::PhantomData }
    }

    fn specify(self, set: impl FnOnce(&mut queue::Declare)) -> DeclareQueue<Specified> {
        let mut declare = self.declare;
        if let Ok(declare) = &mut declare {
            set(declare);
        }
        DeclareQueue { channel: self.channel, declare, lifetime: std::marker::PhantomData }
    }

    /// The queue survives a restart of the broker.
    pub fn durable(self) -> DeclareQueue<Specified> {
        self.specify(|declare| declare.durable = true)
    }

    /// Only this connection may use the queue, and it goes with the connection.
    pub fn exclusive(self) -> DeclareQueue<Specified> {
        self.specify(|declare| declare.exclusive = true)
    }

    /// The queue goes when the broker restarts, and any connection may use it. RabbitMQ 4.3 refuses such queues.
    pub fn transient(self) -> DeclareQueue<Specified> {
        self.specify(|_| ())
    }

    /// The queue is replicated, and survives what a majority of its nodes survives. It is always durable, and belongs to
    /// no connection. See <https://www.rabbitmq.com/docs/quorum-queues>.
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), hopmq::Error> {
    /// let orders = channel.declare_queue("orders").quorum().delivery_limit(5).dead_letter_exchange("failed");
    /// orders.await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn quorum(self) -> DeclareQueue<Specified> {
        self.durable().argument("x-queue-type", "quorum")
    }

    /// The queue is a log: consuming takes nothing out of it, and what is old goes by age or size. It is always durable,
    /// and belongs to no connection. See <https://www.rabbitmq.com/docs/streams>.
    ///
    /// Its consumers need a [prefetch](super::Consume::prefetch), and say
    /// [where they begin](super::Consume::stream_offset).
    pub fn stream(self) -> DeclareQueue<Specified> {
        self.durable().argument("x-queue-type", "stream")
    }

    /// Only look whether the queue is there; otherwise the channel is closed with 404.
    pub fn passive(self) -> DeclareQueue<Specified> {
        self.specify(|declare| declare.passive = true)
    }
}

impl<L> DeclareQueue<L> {
    fn set(mut self, set: impl FnOnce(&mut queue::Declare)) -> Self {
        if let Ok(declare) = &mut self.declare {
            set(declare);
        }
        self
    }

    /// The queue is deleted when its last consumer goes.
    pub fn auto_delete(self) -> Self {
        self.set(|declare| declare.auto_delete = true)
    }

    /// Sets any argument. See <https://www.rabbitmq.com/docs/queues#optional-arguments>.
    pub fn argument(self, name: &str, value: impl Into<FieldValue>) -> Self {
        self.put(name, Ok(value.into()))
    }

    pub(super) fn put(mut self, name: &str, value: Result<FieldValue, Error>) -> Self {
        arguments::put(&mut self.declare, |declare| &mut declare.arguments, name, value);
        self
    }

    /// Sets all arguments, in place of those set before.
    pub fn arguments(self, arguments: FieldTable) -> Self {
        self.set(|declare| declare.arguments = arguments)
    }
}

impl DeclareQueue<Specified> {
    /// Declares it without an answer to wait for; see [`NoWait`](super::NoWait). A name that the broker chooses is
    /// then never told, but the empty name stands for it.
    ///
    /// # Errors
    ///
    /// As for [`NoWait`](super::NoWait), and when an argument cannot be encoded.
    pub fn no_wait(self) -> Result<(), Error> {
        let declare = queue::Declare { no_wait: true, ..self.declare? };
        self.channel.send_no_wait(declare.into())
    }
}

impl IntoFuture for DeclareQueue<Specified> {
    type Output = Result<Queue, Error>;
    type IntoFuture = Call<Queue>;

    fn into_future(self) -> Call<Queue> {
        match self.declare {
            Ok(declare) => Call::send(&self.channel.inner, declare, |_, reply| Queue::from_reply(reply)),
            Err(error) => Call::refused(error),
        }
    }
}
