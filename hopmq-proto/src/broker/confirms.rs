use crate::amqp::write_ack;

use super::engine::Broker;
use super::id::ConnectionId;
use super::session::{At, Confirms};

impl Broker {
    /// In confirm mode, notes that this publish is to be confirmed.
    pub(super) fn count_publish(&mut self, at: At) {
        let Some(session) = self.links.get_mut(at.connection).and_then(|link| link.session()) else { return };
        let Some(channel) = session.channel(at.channel) else { return };
        if let Confirms::On { published, confirmed } = &mut channel.confirms {
            *published += 1;
            if *published == *confirmed + 1 {
                session.to_confirm.push(at.channel);
            }
        }
    }

    /// Confirms what was published on a connection: one acknowledgement per channel and batch of input.
    pub(super) fn flush_confirms(&mut self, id: ConnectionId) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(session) = link.session() else { return };
        if session.to_confirm.is_empty() {
            return;
        }
        let mut channels = core::mem::take(&mut session.to_confirm);
        for number in channels.drain(..) {
            let Some(channel) = link.session().and_then(|session| session.channel(number)) else { continue };
            if let Confirms::On { published, confirmed } = &mut channel.confirms {
                let (tag, count) = (*published, *published - *confirmed);
                *confirmed = tag;
                write_ack(link.outbox.tail(), number, tag, count > 1);
                link.outbox.end_frame();
            }
        }
        link.spoke = true;
        if let Some(session) = link.session() {
            session.to_confirm = channels;
        }
    }
}
