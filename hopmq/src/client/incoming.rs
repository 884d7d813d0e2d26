use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hopmq_proto::Instant;
use hopmq_proto::client::{ChannelId, CloseReason, Delivery, Refused, Token};

use super::replies::Replies;
use super::shared::{Shared, State};

/// What a delivery costs on top of its bytes, so that empty messages count too.
pub(super) const DELIVERY_COST: usize = 128;

/// What has come for one consumer.
pub(crate) struct Incoming {
    pub(super) channel: ChannelId,
    deliveries: VecDeque<Arrived>,
    pub(super) bytes: usize,
    waker: Option<Waker>,
    pub(super) end: Option<ConsumerEnd>,
    /// The connection was lost, and nothing has come since.
    gap: bool,
    /// When it is an RPC client's: deliveries are handed out by correlation id.
    pub(super) replies: Option<Replies>,
}

/// A delivery that waits to be taken.
pub(crate) struct Arrived {
    pub(super) delivery: Delivery,
    /// The connection was lost between the one before it and this.
    pub(super) after_gap: bool,
}

impl Arrived {
    fn cost(&self) -> usize {
        self.delivery.message.size() + DELIVERY_COST
    }

    /// Whether it means something after a loss: what needs an acknowledgement is delivered again.
    pub(super) const fn outlives_loss(&self) -> bool {
        self.delivery.id.is_none()
    }
}

/// Why a consumer gets no more deliveries.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerEnd {
    /// The server has ended it, most often because its queue is gone; or [`Channel::cancel_consumer`] has. The channel lives
    /// on.
    ///
    /// [`Channel::cancel_consumer`]: super::Channel::cancel_consumer
    #[error("the consumer was cancelled")]
    Cancelled,
    /// It could not be started again after a loss of the connection. The channel lives on.
    #[error("the consumer was not started again after a loss of the connection: {0}")]
    NotRestored(Refused),
    /// Its channel or connection has ended. Where the server did it, the reason has its code and its text: 406
    /// when a delivery was not settled in time, for example.
    #[error(transparent)]
    Closed(Arc<CloseReason>),
}

impl Shared {
    /// Moves what has come for a consumer into `taken`, and wakes the driver when that makes room. Tells how often the
    /// connection was lost before.
    pub(super) fn take_deliveries(
        &self,
        cx: &Context<'_>,
        consumer: Token,
        taken: &mut VecDeque<Arrived>,
    ) -> Poll<u64> {
        self.take(|state| state.poll_deliveries(cx, consumer, taken).map(|()| self.losses()))
    }
}

impl State {
    /// Moves what has come for a consumer into `taken`, which is empty.
    fn poll_deliveries(
        &mut self,
        cx: &Context<'_>,
        consumer: Token,
        taken: &mut VecDeque<Arrived>,
    ) -> Poll<()> {
        let Some(incoming) = self.consumers.get_mut(&consumer) else { return Poll::Ready(()) };
        if incoming.deliveries.is_empty() {
            if incoming.end.is_some() {
                return Poll::Ready(());
            }
            self.stale.extend(incoming.waker.replace(cx.waker().clone()));
            return Poll::Pending;
        }
        std::mem::swap(&mut incoming.deliveries, taken);
        self.buffered -= std::mem::take(&mut incoming.bytes);
        Poll::Ready(())
    }

    /// Why the consumer has ended, if it has.
    pub(crate) fn consumer_end(&self, consumer: Token) -> Option<ConsumerEnd> {
        self.consumers.get(&consumer)?.end.clone()
    }

    /// How many messages, and bytes of them, have come for a consumer.
    pub(crate) fn consumer_buffered(&self, consumer: Token) -> (usize, usize) {
        self.consumers.get(&consumer).map_or((0, 0), |incoming| {
            let messages = incoming.deliveries.len();
            (messages, incoming.bytes - messages * DELIVERY_COST)
        })
    }

    /// The consumer has no owner any more: what has come for it goes back into the queue.
    pub(crate) fn drop_consumer(&mut self, consumer: Token, now: Instant) {
        let Some(incoming) = self.consumers.remove(&consumer) else { return };
        self.buffered -= incoming.bytes;
        self.stale.extend(incoming.waker);
        debug_assert!(incoming.replies.is_none_or(|replies| replies.is_empty()), "a call keeps its client");
        for Arrived { delivery, .. } in incoming.deliveries {
            self.engine.requeue(delivery, now);
        }
        self.update_pause(now);
    }

    pub(super) fn on_delivery(
        &mut self,
        consumer: Token,
        delivery: Delivery,
        woken: &mut Vec<Waker>,
        now: Instant,
    ) {
        let Some(incoming) = self.consumers.get_mut(&consumer) else {
            self.engine.requeue(delivery, now);
            return;
        };
        if let Some(replies) = &mut incoming.replies {
            if let Some((bytes, waker)) = replies.fill(delivery.message) {
                incoming.bytes += bytes;
                self.buffered += bytes;
                self.responses_owed -= 1;
                woken.extend(waker);
            }
            return;
        }
        let arrived = Arrived { delivery, after_gap: std::mem::take(&mut incoming.gap) };
        let bytes = arrived.cost();
        incoming.bytes += bytes;
        incoming.deliveries.push_back(arrived);
        woken.extend(incoming.waker.take());
        self.buffered += bytes;
    }

    /// The connection was lost: drops what can no longer be settled, and answers whoever waits for a reply.
    pub(super) fn forget_unsettled(&mut self, reason: &Arc<CloseReason>, woken: &mut Vec<Waker>) {
        for incoming in self.consumers.values_mut() {
            let before = incoming.bytes;
            if let Some(replies) = &mut incoming.replies {
                self.responses_owed -= replies.fail_all(reason, woken);
            } else {
                incoming.forget_unsettled();
            }
            self.buffered -= before - incoming.bytes;
        }
    }

    /// A consumer runs again. On a channel that was refused something it may have run in between.
    pub(super) fn on_consumer_resumed(&mut self, consumer: Token) {
        let incoming = self.consumers.get_mut(&consumer).filter(|incoming| incoming.replies.is_none());
        if let Some(incoming) = incoming {
            let before = incoming.bytes;
            incoming.forget_unsettled();
            self.buffered -= before - incoming.bytes;
        }
    }
}

impl Incoming {
    pub(super) fn new(channel: ChannelId) -> Self {
        Self {
            channel,
            deliveries: VecDeque::new(),
            bytes: 0,
            waker: None,
            end: None,
            gap: false,
            replies: None,
        }
    }

    pub(super) fn finish(&mut self, end: ConsumerEnd, woken: &mut Vec<Waker>) {
        self.end.get_or_insert(end);
        woken.extend(self.waker.take());
        if let Some(replies) = &mut self.replies {
            replies.wake_all(woken);
        }
    }

    fn forget_unsettled(&mut self) {
        self.deliveries.retain(Arrived::outlives_loss);
        self.bytes = self.deliveries.iter().map(Arrived::cost).sum();
        self.gap = true;
    }
}
