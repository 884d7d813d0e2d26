use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use hopmq_proto::client::{self as proto, DeliveryId, Message, Settle, SettleError};

use super::channel::ChannelInner;
use super::incoming::Arrived;

/// A message that was delivered, to be settled once: settling consumes it.
///
/// It reads like a [`Message`]. When it is dropped unsettled, the broker keeps counting it against the prefetch, and
/// puts it back into its queue when the channel ends.
///
/// It knows its channel, and cannot be settled twice:
///
/// ```compile_fail,E0382
/// # fn example(delivery: hopmq::Delivery) {
/// delivery.ack();
/// delivery.nack(true); // error: use of moved value
/// # }
/// ```
pub struct Delivery {
    channel: Arc<ChannelInner>,
    id: Option<DeliveryId>,
    redelivered: bool,
    after_gap: bool,
    message: Message,
}

impl Delivery {
    pub(super) fn new(channel: Arc<ChannelInner>, arrived: Arrived) -> Self {
        let Arrived { delivery, after_gap } = arrived;
        let proto::Delivery { id, redelivered, message, .. } = delivery;
        Self { channel, id, redelivered, after_gap, message }
    }

    /// Whether it may have been delivered before.
    #[must_use]
    pub const fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// Whether the connection was lost since the consumer's delivery before this one, or since it was started, and this is
    /// the first since it came back. What was not settled by then comes again, as [redelivered](Self::redelivered); a
    /// consumer without acknowledgement has lost what was under way.
    #[must_use]
    pub const fn is_after_gap(&self) -> bool {
        self.after_gap
    }

    /// The number of the delivery on its channel; `None` when the consumer is without acknowledgement.
    #[must_use]
    pub fn tag(&self) -> Option<u64> {
        self.id.as_ref().map(DeliveryId::tag)
    }

    /// The message: exchange, routing key, properties, body.
    #[must_use]
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// It is done: the broker forgets the message. Sent in the background, without waiting.
    ///
    /// A delivery of a consumer without acknowledgement has nothing to settle, and settling it does nothing.
    ///
    /// # Errors
    ///
    /// When the message is back in its queue: the channel has ended or was [recovered](super::Channel::recover), or the
    /// connection was lost since ([`SettleError::Stale`]). Or when a later delivery was settled with
    /// [`ack_all`](Delivery::ack_all).
    pub fn ack(self) -> Result<(), SettleError> {
        self.settle(Settle::Ack { multiple: false })
    }

    /// This and everything before it on its channel is done.
    ///
    /// # Errors
    ///
    /// As for [`ack`](Delivery::ack).
    pub fn ack_all(self) -> Result<(), SettleError> {
        self.settle(Settle::Ack { multiple: true })
    }

    /// It is not done: back into the queue if `requeue`, else dropped or dead-lettered.
    ///
    /// # Errors
    ///
    /// As for [`ack`](Delivery::ack).
    pub fn nack(self, requeue: bool) -> Result<(), SettleError> {
        self.settle(Settle::Nack { multiple: false, requeue })
    }

    /// Neither this nor anything before it on its channel is done.
    ///
    /// # Errors
    ///
    /// As for [`ack`](Delivery::ack).
    pub fn nack_all(self, requeue: bool) -> Result<(), SettleError> {
        self.settle(Settle::Nack { multiple: true, requeue })
    }

    /// It is not done; AMQP's own form of [`nack`](Delivery::nack), for brokers that know no other.
    ///
    /// # Errors
    ///
    /// As for [`ack`](Delivery::ack).
    pub fn reject(self, requeue: bool) -> Result<(), SettleError> {
        self.settle(Settle::Reject { requeue })
    }

    fn settle(self, settle: Settle) -> Result<(), SettleError> {
        match self.id {
            Some(id) => self.channel.shared().command(|state, now| {
                state.engine.settle(id, settle, now)?;
                state.counts.on_settled(settle);
                Ok(())
            }),
            None => Ok(()),
        }
    }

    /// The body, without copying it. Take what settles the delivery first.
    #[must_use]
    pub fn body_bytes(&self) -> Bytes {
        self.message.clone().into_body()
    }
}

impl Deref for Delivery {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("tag", &self.tag())
            .field("redelivered", &self.redelivered)
            .field("message", &self.message)
            .finish()
    }
}

/// The answer to a get: a delivery, and how many messages are left.
#[derive(Debug)]
pub struct GotDelivery {
    delivery: Delivery,
    message_count: u32,
}

impl GotDelivery {
    pub(super) fn new(channel: Arc<ChannelInner>, delivery: proto::Delivery, message_count: u32) -> Self {
        let arrived = Arrived { delivery, after_gap: false };
        Self { delivery: Delivery::new(channel, arrived), message_count }
    }

    /// How many messages are left in the queue.
    #[must_use]
    pub const fn message_count(&self) -> u32 {
        self.message_count
    }

    /// The delivery, to be settled, or kept.
    #[must_use]
    pub fn into_delivery(self) -> Delivery {
        self.delivery
    }

    /// It is done: [`Delivery::ack`].
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), Box<dyn std::error::Error>> {
    /// while let Some(order) = channel.get("orders").await? {
    ///     println!("{:?}, and {} more", order.body(), order.message_count());
    ///     order.ack()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Delivery::ack`].
    pub fn ack(self) -> Result<(), SettleError> {
        self.delivery.ack()
    }

    /// It is not done: [`Delivery::nack`].
    ///
    /// # Errors
    ///
    /// As for [`Delivery::ack`].
    pub fn nack(self, requeue: bool) -> Result<(), SettleError> {
        self.delivery.nack(requeue)
    }

    /// It is not done: [`Delivery::reject`].
    ///
    /// # Errors
    ///
    /// As for [`Delivery::ack`].
    pub fn reject(self, requeue: bool) -> Result<(), SettleError> {
        self.delivery.reject(requeue)
    }
}

impl Deref for GotDelivery {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}
