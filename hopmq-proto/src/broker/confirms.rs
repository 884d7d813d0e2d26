use alloc::vec::Vec;

use crate::Outbox;
use crate::amqp::{basic, write_ack, write_method};

use super::engine::Broker;
use super::id::ConnectionId;
use super::session::{At, Confirms};

impl Broker {
    /// Refuses what is published from now on: what a queue would have taken is not stored, and is nacked where there are confirms.
    /// What no queue takes is confirmed, and what is already stored is delivered.
    ///
    /// RabbitMQ does this when a queue's process fails or a quorum queue has lost its majority
    /// (<https://www.rabbitmq.com/docs/confirms#server-sent-nacks>). Here its owner does, to test what publishers make of it.
    pub const fn refuse_publishes(&mut self) {
        self.refuses = true;
    }

    /// Takes what is published again.
    pub const fn accept_publishes(&mut self) {
        self.refuses = false;
    }

    /// In confirm mode, notes that this publish is to be confirmed.
    pub(super) fn count_publish(&mut self, at: At) {
        let Some(session) = self.links.get_mut(at.connection).and_then(|link| link.session()) else { return };
        let Some(channel) = session.channel(at.channel) else { return };
        if let Confirms::On { published, confirmed, .. } = &mut channel.confirms {
            *published += 1;
            if *published == *confirmed + 1 {
                session.to_confirm.push(at.channel);
            }
        }
    }

    /// Notes that what was published last on this channel is to be nacked.
    pub(super) fn refuse_publish(&mut self, at: At) {
        let Some(channel) = self.channel(at) else { return };
        if let Confirms::On { published, refused, .. } = &mut channel.confirms {
            refused.push(*published);
        }
    }

    /// Confirms what was published on a connection: one acknowledgement per channel and batch of input, unless some of it was
    /// refused.
    pub(super) fn flush_confirms(&mut self, id: ConnectionId) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(session) = link.session() else { return };
        if session.to_confirm.is_empty() {
            return;
        }
        let mut channels = core::mem::take(&mut session.to_confirm);
        for number in channels.drain(..) {
            let Some(channel) = link.session().and_then(|session| session.channel(number)) else { continue };
            if let Confirms::On { published, confirmed, refused } = &mut channel.confirms {
                let batch = Batch { before: *confirmed, last: *published, refused: core::mem::take(refused) };
                *confirmed = *published;
                batch.write(&mut link.outbox, number);
            }
        }
        link.spoke = true;
        if let Some(session) = link.session() {
            session.to_confirm = channels;
        }
    }
}

/// Publishes of a channel that get their answers together.
struct Batch {
    /// The last that was answered before.
    before: u64,
    last: u64,
    /// Those of them that were refused, in order.
    refused: Vec<u64>,
}

impl Batch {
    /// Tells them in order: `multiple` speaks of everything that has had no answer yet.
    fn write(self, outbox: &mut Outbox, channel: u16) {
        let mut told = self.before;
        for run in self.refused.chunk_by(|tag, next| tag + 1 == *next) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            ack(outbox, channel, told, first - 1);
            nack(outbox, channel, *last, run.len() > 1);
            told = *last;
        }
        ack(outbox, channel, told, self.last);
    }
}

/// Acknowledges everything behind `told`, up to `tag`.
fn ack(outbox: &mut Outbox, channel: u16, told: u64, tag: u64) {
    if tag > told {
        write_ack(outbox.tail(), channel, tag, tag - told > 1);
        outbox.end_frame();
    }
}

fn nack(outbox: &mut Outbox, channel: u16, tag: u64, multiple: bool) {
    let nack = basic::Nack { delivery_tag: tag, multiple, requeue: false };
    let result = write_method(outbox.tail(), channel, usize::MAX, &nack.into());
    debug_assert!(result.is_ok(), "it has no strings");
    outbox.end_frame();
}
