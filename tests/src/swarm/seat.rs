//! The only consumer of a queue, as what it may expect is told of it.

use std::time::Duration;

use super::client::Client;
use super::plan::ConsumerPlan;
use crate::chaos::history::QueueKind;
use crate::chaos::place::Place;

/// The client's connection when the consumer was started last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    made: u64,
    losses: u64,
}

/// One life after another of a consumer that shares its queue with nobody. Dropped, it is lost: the broker may have it still.
pub(super) struct Seat<'a> {
    client: &'a Client,
    queue: usize,
    /// How often the client had lost its connection before this life.
    losses: u64,
    is_over: bool,
}

impl<'a> Seat<'a> {
    /// The consumer is about to be started, if it is one that is alone and has something to put back.
    pub(super) fn begin(
        client: &'a Client,
        plan: &ConsumerPlan,
        life: usize,
        before: &mut Option<Before>,
    ) -> Option<Self> {
        let queue = &client.shared.plan.queues[plan.queue];
        if !queue.is_alone || plan.no_ack {
            return None;
        }
        let (made, losses) = (client.made(), client.losses());
        let before = before.replace(Before { made, losses });
        client.ledger().is_alone(life, plan.queue);
        let seat = Self { client, queue: plan.queue, losses, is_over: false };
        match queue.kind {
            QueueKind::Durable | QueueKind::Quorum => {}
            // It is another one at each declaration.
            QueueKind::ServerNamed => seat.place(|place| *place = Place::default()),
            // It has died with the connection before.
            QueueKind::Exclusive if before.is_none_or(|before| before.made != made) => {
                seat.place(|place| *place = Place::default());
            }
            // Also where that came back; but who was started again then may be there.
            QueueKind::Exclusive if before.is_none_or(|before| before.losses != losses) => {
                seat.place(Place::emptied);
            }
            QueueKind::Exclusive => {}
        }
        seat.place(|place| place.begin(life, plan.prefetch));
        seat.look();
        Some(seat)
    }

    fn place(&self, work: impl FnOnce(&mut Place)) {
        self.client.ledger().place(self.queue, work);
    }

    /// Whether there is somebody else is told by the broker. What is done now comes to nothing if its one connection is
    /// not this consumer's.
    fn look(&self) {
        if self.client.shared.broker.connections() == 1 {
            self.place(Place::nobody_else);
        }
    }

    /// It is there, as the broker has said.
    pub(super) fn begun(&mut self) {
        if self.client.losses() != self.losses {
            self.place(Place::lost);
        }
    }

    /// It goes on behind a gap.
    pub(super) fn resume(&mut self, life: usize) {
        self.losses = self.client.losses();
        self.client.ledger().is_alone(life, self.queue);
        self.place(|place| place.resume(life));
    }

    pub(super) fn settled(&self, number: usize, multiple: bool, requeue: bool) {
        if requeue {
            self.look();
        }
        self.place(|place| place.settled(number, multiple, requeue));
    }

    /// It is over in a way that the broker has answered.
    pub(super) async fn over(mut self, how: fn(&mut Place)) {
        // What is closed when its connection is lost is closed well. Whoever is to hear of a loss now has heard of it by then.
        self.client.host.sleep(Duration::from_nanos(1)).await;
        // Without a loss in between it was the broker that answered, and this consumer that was meant.
        if self.client.losses() == self.losses {
            self.place(how);
            self.is_over = true;
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.place(Place::lost);
        }
    }
}
