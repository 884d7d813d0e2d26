use alloc::vec::Vec;

use crate::amqp::basic;

use super::consumer::WaitsFor;
use super::dispatch::Reply;
use super::engine::Broker;
use super::fault::Fault;
use super::session::At;
use super::unacked::Delivery;

/// What becomes of settled messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Requeue,
}

impl Outcome {
    const fn of_refusal(requeue: bool) -> Self {
        if requeue { Self::Requeue } else { Self::Done }
    }
}

impl Broker {
    pub(super) fn on_ack(&mut self, at: At, ack: &basic::Ack) -> Result<(), Fault> {
        self.settle(at, ack.delivery_tag, ack.multiple, Outcome::Done)
    }

    pub(super) fn on_reject(&mut self, at: At, reject: &basic::Reject) -> Reply {
        self.settle(at, reject.delivery_tag, false, Outcome::of_refusal(reject.requeue)).map(|()| None)
    }

    pub(super) fn on_nack(&mut self, at: At, nack: &basic::Nack) -> Reply {
        self.settle(at, nack.delivery_tag, nack.multiple, Outcome::of_refusal(nack.requeue)).map(|()| None)
    }

    /// The answer goes before what is delivered again: a client tells by it which deliveries are old.
    pub(super) fn on_recover(&mut self, at: At, requeue: bool, answer: Option<basic::RecoverOk>) -> Reply {
        if !requeue {
            return Err(Fault::not_implemented("requeue=false"));
        }
        if let (Some(answer), Some(link)) = (answer, self.links.get_mut(at.connection)) {
            link.send(at.channel, &answer.into());
        }
        self.settle(at, 0, true, Outcome::Requeue).map(|()| None)
    }

    fn settle(&mut self, at: At, tag: u64, multiple: bool, outcome: Outcome) -> Result<(), Fault> {
        let mut settled = core::mem::take(&mut self.scratch.settled);
        let Some(channel) = self.channel(at) else { return Ok(()) };
        let known = if multiple {
            channel.unacked.take_up_to(tag, &mut settled)
        } else {
            let delivery = channel.unacked.take(tag);
            let known = delivery.is_some();
            settled.extend(delivery);
            known
        };
        if known {
            let consumed = settled.iter().filter(|delivery| delivery.consumer.is_some()).count();
            channel.window.unacked = channel.window.unacked.saturating_sub(consumed);
            self.apply(&mut settled, outcome);
            self.run_channel(at);
        }
        settled.clear();
        self.scratch.settled = settled;
        if known { Ok(()) } else { Err(Fault::unknown_tag(tag)) }
    }

    /// Puts messages back that nobody holds any more.
    pub(super) fn give_back(&mut self, mut deliveries: Vec<Delivery>) {
        self.apply(&mut deliveries, Outcome::Requeue);
    }

    /// Takes deliveries off the books, puts them back if so decided, and lets whoever can go on.
    fn apply(&mut self, deliveries: &mut Vec<Delivery>, outcome: Outcome) {
        let mut woken = core::mem::take(&mut self.scratch.woken);
        for delivery in deliveries.drain(..) {
            let Some(queue) = self.queues.get_mut(delivery.queue) else { continue };
            queue.unacked = queue.unacked.saturating_sub(1);
            if outcome == Outcome::Requeue {
                queue.put_back(delivery.position, delivery.message);
                if woken.last() != Some(&delivery.queue) {
                    woken.push(delivery.queue);
                }
            }
            let Some(id) = delivery.consumer else { continue };
            let Some(consumer) = self.consumers.get_mut(id) else { continue };
            consumer.unacked = consumer.unacked.saturating_sub(1);
            if consumer.waits == WaitsFor::Ack && consumer.has_room() {
                woken.extend(self.wake(id));
            }
        }
        for queue in woken.drain(..) {
            self.run_queue(queue);
        }
        self.scratch.woken = woken;
    }
}
