use alloc::vec::Vec;

use super::engine::Broker;
use super::exchange::{Binding, Destination, Incoming};
use super::id::{ExchangeId, QueueId};
use super::session::Slot;
use super::unacked::Delivery;

/// What is left of what a broker had on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disk {
    /// Everything.
    Kept,
    /// Nothing.
    Lost,
}

impl Broker {
    /// What a broker is after it was killed and started again: it has only what was on its disk, if that.
    ///
    /// Its connections are gone without a word, and their ids find nothing any more. Of the rest durable exchanges and
    /// queues and the bindings between them are left, and in those queues the persistent messages, in their order:
    /// confirmed or not, for here a message is stored before anybody hears of it. All of them are ready, and marked as
    /// redelivered, as they are by RabbitMQ: which of them were delivered before nobody knows any more. What was acknowledged is
    /// gone, however shortly before; RabbitMQ may bring back what was in the last tenths of a second. With
    /// [`Disk::Lost`] only the predeclared exchanges are left. No name that this broker has made up is made up again, and
    /// no id. It [blocks](Self::block) nobody and [refuses](Self::refuse_publishes) nothing any more.
    pub fn crash(&mut self, disk: Disk) {
        self.alarm = None;
        self.refuses = false;
        let mut unsettled = Vec::new();
        for id in self.links.ids().collect::<Vec<_>>() {
            let Some(mut link) = self.links.remove(id) else { continue };
            let slots = link.session().map(|session| core::mem::take(&mut session.channels));
            for slot in slots.into_iter().flat_map(|slots| slots.into_values()) {
                if let Slot::Open(mut channel) = slot {
                    channel.unacked.take_up_to(0, &mut unsettled);
                }
            }
        }
        for id in self.consumers.ids().collect::<Vec<_>>() {
            self.consumers.remove(id);
        }
        self.put_back_all(unsettled);
        for id in self.queues.ids().collect::<Vec<_>>() {
            let is_durable = self.queues.get(id).is_some_and(|queue| queue.declared.durable);
            if is_durable && disk == Disk::Kept {
                if let Some(queue) = self.queues.get_mut(id) {
                    queue.restart();
                }
            } else {
                self.forget_queue(id);
            }
        }
        for id in self.exchanges.ids().collect::<Vec<_>>() {
            let is_left = self.exchanges.get(id).is_some_and(|exchange| {
                exchange.is_predeclared() || (exchange.declared.durable && disk == Disk::Kept)
            });
            if !is_left {
                self.forget_exchange(id);
            }
        }
    }

    /// Puts back what nobody holds any more, and delivers nothing.
    fn put_back_all(&mut self, unsettled: Vec<Delivery>) {
        for Delivery { queue, position, message, .. } in unsettled {
            if let Some(queue) = self.queues.get_mut(queue) {
                queue.put_back(position, message);
            }
        }
    }

    /// Takes a queue out with its bindings. No exchange goes with its last binding here: nobody has unbound it.
    fn forget_queue(&mut self, id: QueueId) {
        let Some(queue) = self.queues.remove(id) else { return };
        if let Some(vhost) = self.vhosts.get_mut(queue.vhost) {
            vhost.queues.remove(&queue.name);
        }
        for incoming in queue.incoming {
            self.forget_binding(Destination::Queue(id), incoming);
        }
    }

    fn forget_exchange(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.remove(id) else { return };
        if let Some(vhost) = self.vhosts.get_mut(exchange.vhost) {
            vhost.exchanges.remove(&exchange.name);
            vhost.bindings = vhost.bindings.saturating_sub(exchange.bindings.len());
        }
        for Binding { destination, key, arguments } in exchange.bindings {
            if let Some(all) = self.incoming(destination) {
                all.remove(&Incoming { source: id, key, arguments });
            }
        }
        for incoming in exchange.incoming {
            self.forget_binding(Destination::Exchange(id), incoming);
        }
    }

    fn forget_binding(&mut self, destination: Destination, incoming: Incoming) {
        let Incoming { source, key, arguments } = incoming;
        let Some(exchange) = self.exchanges.get_mut(source) else { return };
        if exchange.unbind(&Binding { destination, key, arguments })
            && let Some(vhost) = self.vhosts.get_mut(exchange.vhost)
        {
            vhost.bindings = vhost.bindings.saturating_sub(1);
        }
    }
}
