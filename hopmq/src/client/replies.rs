use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hopmq_proto::Instant;
use hopmq_proto::client::{CloseReason, Message, Token};

use super::answers::Slot;
use super::incoming::{ConsumerEnd, DELIVERY_COST};
use super::rpc::RpcError;
use super::shared::State;
use super::waits::Ticket;

/// What comes for one RPC client: each reply goes to the request with its correlation id, and one that nobody waits for
/// is dropped.
pub(super) struct Replies {
    /// A reply, or how the connection was lost before it came.
    slots: BTreeMap<u64, Slot<Result<Message, Arc<CloseReason>>>>,
    /// How many slots there may be.
    max: usize,
}

impl Replies {
    /// Hands a reply out: how many bytes it holds, and who is to be woken. `None` when it is nobody's.
    pub(super) fn fill(&mut self, reply: Message) -> Option<(usize, Option<Waker>)> {
        let id = correlation(&reply)?;
        let slot = self.slots.get_mut(&id).filter(|slot| !slot.is_ready())?;
        let reply = Ok(reply);
        Some((cost(&reply), slot.fill(reply)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The replies to what was asked so far cannot come any more. Tells how many were waited for.
    pub(super) fn fail_all(&mut self, reason: &Arc<CloseReason>, woken: &mut Vec<Waker>) -> usize {
        let mut failed = 0;
        for slot in self.slots.values_mut().filter(|slot| !slot.is_ready()) {
            woken.extend(slot.fill(Err(reason.clone())));
            failed += 1;
        }
        failed
    }

    /// No more replies will come.
    pub(super) fn wake_all(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.slots.values_mut().filter_map(Slot::take_waker));
    }
}

/// How many bytes a reply holds.
fn cost(reply: &Result<Message, Arc<CloseReason>>) -> usize {
    reply.as_ref().map_or(0, |reply| reply.size() + DELIVERY_COST)
}

/// The number of the request that this is a reply to. One that is malformed is nobody's.
fn correlation(reply: &Message) -> Option<u64> {
    reply.properties().ok()?.correlation_id?.as_str().ok()?.parse().ok()
}

impl State {
    /// From now on a consumer's deliveries are replies.
    pub(super) fn route_replies(&mut self, consumer: Token, max: usize) {
        if let Some(incoming) = self.consumers.get_mut(&consumer) {
            incoming.replies = Some(Replies { slots: BTreeMap::new(), max });
        }
    }

    /// A request is about to be sent, unless too many are under way. Each id comes once only.
    pub(super) fn expect_response(&mut self, consumer: Token, id: u64) -> bool {
        let Some(replies) = self.replies(consumer) else { return true }; // polling will say that it has ended
        if replies.slots.len() >= replies.max {
            return false;
        }
        replies.slots.insert(id, Slot::Empty);
        self.responses_owed += 1;
        true
    }

    /// The reply to a request, or why none will come.
    pub(super) fn poll_response(
        &mut self,
        cx: &Context<'_>,
        consumer: Token,
        id: u64,
    ) -> Poll<Result<Message, RpcError>> {
        let Some(incoming) = self.consumers.get_mut(&consumer) else {
            return Poll::Ready(Err(RpcError::Ended(ConsumerEnd::Cancelled)));
        };
        let Some(slot) = incoming.replies.as_mut().and_then(|replies| replies.slots.get_mut(&id)) else {
            return Poll::Pending; // taken already
        };
        match (slot.poll(cx, &mut self.stale), &incoming.end) {
            (Poll::Ready(reply), _) => {
                let bytes = cost(&reply);
                incoming.bytes -= bytes;
                self.buffered -= bytes;
                if let Some(replies) = &mut incoming.replies {
                    replies.slots.remove(&id);
                }
                Poll::Ready(reply.map_err(RpcError::Lost))
            }
            (Poll::Pending, Some(end)) => Poll::Ready(Err(RpcError::Ended(end.clone()))),
            (Poll::Pending, None) => Poll::Pending,
        }
    }

    /// Nobody waits for the reply to a request any more.
    pub(super) fn forget_response(&mut self, consumer: Token, id: u64) {
        match self.replies(consumer).and_then(|replies| replies.slots.remove(&id)) {
            Some(Slot::Ready(reply)) => {
                let bytes = cost(&reply);
                self.buffered -= bytes;
                if let Some(incoming) = self.consumers.get_mut(&consumer) {
                    incoming.bytes -= bytes;
                }
            }
            Some(mut slot) => {
                self.responses_owed -= 1;
                self.stale.extend(slot.take_waker());
            }
            None => {}
        }
    }

    fn replies(&mut self, consumer: Token) -> Option<&mut Replies> {
        self.consumers.get_mut(&consumer)?.replies.as_mut()
    }

    /// Asks to be woken when `due` is over, and says whether it is. The ticket is to be [left](State::leave_deadline).
    pub(super) fn poll_deadline(
        &mut self,
        cx: &Context<'_>,
        ticket: &mut Option<Ticket>,
        due: Instant,
        now: Instant,
    ) -> Poll<()> {
        if due <= now {
            return Poll::Ready(());
        }
        let place = *ticket.get_or_insert_with(|| self.deadlines.join(due));
        self.stale.extend(self.deadlines.wait(cx, place));
        Poll::Pending
    }

    /// Waits for that time no more.
    pub(super) fn leave_deadline(&mut self, ticket: Ticket) {
        self.stale.extend(self.deadlines.leave(ticket));
    }
}
