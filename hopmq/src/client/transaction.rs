use std::fmt;

use bytes::Bytes;
use hopmq_proto::amqp::{Properties, tx};
use hopmq_proto::client::CommandError;

use super::call::Call;
use super::channel::Channel;
use super::publish::{Message, SendingUnconfirmed};

/// A channel in transactions: what is published on it, and which deliveries of it are acknowledged, takes effect with
/// the next [`commit`](Transaction::commit), or never.
///
/// After each commit and rollback the next transaction begins by itself. Dropping it rolls back. A channel that has
/// been made transactional stays so, and can have no confirms: give transactions a channel of their own.
///
/// RabbitMQ commits atomically within one queue only, and [publisher confirms](super::Publisher) are very much faster;
/// see <https://www.rabbitmq.com/docs/semantics#tx>.
///
/// ```no_run
/// # async fn example(channel: hopmq::Channel) -> Result<(), Box<dyn std::error::Error>> {
/// use hopmq::Properties;
///
/// let mut deliveries = channel.consume("orders").prefetch(10).await?;
/// let transaction = channel.transaction().await?;
/// while let Some(delivery) = deliveries.next().await {
///     let invoice = delivery.body_bytes();
///     transaction.publish("", "invoices", &Properties::new().persistent(), invoice).await?;
///     delivery.ack()?;
///     transaction.commit().await?; // both or neither
/// }
/// # Ok(())
/// # }
/// ```
pub struct Transaction {
    channel: Channel,
}

impl Transaction {
    /// Publishes a message when the transaction is committed. Awaiting it waits for room, and nothing more.
    ///
    /// A message that no queue takes is dropped.
    ///
    /// # Errors
    ///
    /// From the future: when the channel has ended, a name is too long, or there is no room in time; the body comes
    /// back in the error.
    pub fn publish<'a>(
        &'a self,
        exchange: &'a str,
        routing_key: &'a str,
        properties: &'a Properties,
        body: impl Into<Bytes>,
    ) -> SendingUnconfirmed<'a> {
        SendingUnconfirmed::new(&self.channel, Message::new(exchange, routing_key, properties, body.into()))
    }

    /// Makes everything since the last commit or rollback take effect.
    ///
    /// It was sent when this returns; dropping the future stops waiting. Until the broker has answered, the protocol
    /// demands that nothing follows on the channel: publishes wait, and everything else is held back, in its order.
    ///
    /// # Errors
    ///
    /// From the future: when the broker cannot commit, and closes the channel; or when the channel has ended, where
    /// an answer that did not come says nothing about whether it took effect.
    pub fn commit(&self) -> Call<()> {
        Call::send(&self.channel.inner, tx::Commit {}, |_, _| ())
    }

    /// Forgets everything since the last commit or rollback. Deliveries that were acknowledged in it stay with the
    /// channel, and go back into their queue when it ends.
    ///
    /// It was sent when this returns; dropping the future stops waiting.
    ///
    /// # Errors
    ///
    /// From the future: when the channel has ended.
    pub fn rollback(&self) -> Call<()> {
        Call::send(&self.channel.inner, tx::Rollback {}, |_, _| ())
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }
}

impl Channel {
    /// Makes the channel transactional: see [`Transaction`].
    ///
    /// # Errors
    ///
    /// From the future: 406 when the channel has confirms.
    pub fn transaction(&self) -> Call<Transaction> {
        let channel = self.clone();
        Call::send(&self.inner, tx::Select {}, move |_, _| Transaction { channel })
    }
}

/// Rolls back. Nobody awaits the answer. Where as many calls wait as may, the channel is closed: its end rolls back too.
impl Drop for Transaction {
    fn drop(&mut self) {
        let id = self.channel.inner.id;
        self.channel.inner.shared().command(|state, now| {
            let rolled_back = match state.engine.call(id, tx::Rollback {}, now) {
                Err(CommandError::TooManyCalls) => state.engine.close_channel(id, now),
                sent => sent,
            };
            if let Ok(token) = rolled_back {
                state.engine.abandon(id, token);
            }
        });
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transaction").field(&self.channel.number()).finish()
    }
}
