use hopmq_proto::amqp::{FieldTable, Method, exchange, queue};

use super::Error;
use super::channel::{Binding, Channel, short};

/// Changes to the topology that ask the broker for no answer: each is sent before its method returns. Made by
/// [`Channel::no_wait`].
///
/// When the broker refuses one, it closes the channel, and whatever is done on the channel next says why. A later call
/// on the channel that is answered proves that the broker has carried them out, for it does so in order.
///
/// # Errors
///
/// Each of them: when a name is too long, or the channel has ended, or
/// [`CommandError::Full`](crate::CommandError::Full) when `max_outbox` bytes wait to be written.
#[derive(Debug, Clone, Copy)]
pub struct NoWait<'a> {
    channel: &'a Channel,
}

impl<'a> NoWait<'a> {
    pub(super) const fn new(channel: &'a Channel) -> Self {
        Self { channel }
    }

    fn send(self, method: impl Into<Method>) -> Result<(), Error> {
        self.channel.send_no_wait(method.into())
    }

    /// As [`Channel::bind_queue_with`].
    #[allow(clippy::missing_errors_doc)] // see the type
    pub fn bind_queue(
        self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<(), Error> {
        let Binding { destination: queue, source: exchange, routing_key } =
            Binding::new(queue, exchange, routing_key)?;
        self.send(queue::Bind { queue, exchange, routing_key, no_wait: true, arguments })
    }

    /// As [`Channel::bind_exchange`].
    #[allow(clippy::missing_errors_doc)]
    pub fn bind_exchange(
        self,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<(), Error> {
        let Binding { destination, source, routing_key } = Binding::new(destination, source, routing_key)?;
        self.send(exchange::Bind { destination, source, routing_key, no_wait: true, arguments })
    }

    /// As [`Channel::unbind_exchange`]. There is none for queues: AMQP has no such form of it.
    #[allow(clippy::missing_errors_doc)]
    pub fn unbind_exchange(
        self,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<(), Error> {
        let Binding { destination, source, routing_key } = Binding::new(destination, source, routing_key)?;
        self.send(exchange::Unbind { destination, source, routing_key, no_wait: true, arguments })
    }

    /// As [`Channel::purge_queue`].
    #[allow(clippy::missing_errors_doc)]
    pub fn purge_queue(self, queue: &str) -> Result<(), Error> {
        self.send(queue::Purge { queue: short("queue", queue)?, no_wait: true })
    }

    /// As [`Channel::delete_queue`].
    #[allow(clippy::missing_errors_doc)]
    pub fn delete_queue(self, queue: &str) -> Result<(), Error> {
        self.delete(queue, false, false)
    }

    /// As [`Channel::delete_queue_if_unused`].
    #[allow(clippy::missing_errors_doc)]
    pub fn delete_queue_if_unused(self, queue: &str) -> Result<(), Error> {
        self.delete(queue, true, false)
    }

    /// As [`Channel::delete_queue_if_empty`].
    #[allow(clippy::missing_errors_doc)]
    pub fn delete_queue_if_empty(self, queue: &str) -> Result<(), Error> {
        self.delete(queue, false, true)
    }

    fn delete(self, queue: &str, if_unused: bool, if_empty: bool) -> Result<(), Error> {
        self.send(queue::Delete { queue: short("queue", queue)?, if_unused, if_empty, no_wait: true })
    }

    /// As [`Channel::delete_exchange`].
    #[allow(clippy::missing_errors_doc)]
    pub fn delete_exchange(self, exchange: &str) -> Result<(), Error> {
        self.send(exchange::Delete {
            exchange: short("exchange", exchange)?,
            if_unused: false,
            no_wait: true,
        })
    }

    /// As [`Channel::delete_exchange_if_unused`].
    #[allow(clippy::missing_errors_doc)]
    pub fn delete_exchange_if_unused(self, exchange: &str) -> Result<(), Error> {
        self.send(exchange::Delete { exchange: short("exchange", exchange)?, if_unused: true, no_wait: true })
    }
}
