use alloc::vec::Vec;

use crate::amqp::{ShortStr, connection};

use super::engine::Broker;
use super::id::ConnectionId;

impl Broker {
    /// Holds publishers back from now on, as RabbitMQ does while it is short of memory or disk: as soon as a content
    /// header or body comes from a connection, nothing more is read from it, and it is told so with `connection.blocked`
    /// if it has that capability. `reason` is what it is told; RabbitMQ says `low on memory` or `low on disk`. What does
    /// not publish goes on (<https://www.rabbitmq.com/docs/alarms>).
    ///
    /// One that is blocked is not missed for its heartbeats, and its publishes, acknowledgements and closes wait in its
    /// input. A [shutdown](Self::shutdown) closes it, and does not end the alarm.
    pub fn block(&mut self, reason: &str) {
        self.alarm = Some(ShortStr::truncated(reason));
    }

    /// Takes publishes again. The owner hands each connection that was blocked its input once more: such connections are
    /// [touched](Self::poll_touched).
    pub fn unblock(&mut self) {
        self.alarm = None;
        for id in self.links.ids().collect::<Vec<_>>() {
            let Some(link) = self.links.get_mut(id) else { continue };
            let Some(session) = link.session().filter(|session| session.blocked) else { continue };
            session.blocked = false;
            if session.wants_blocked {
                link.send(0, &connection::Unblocked {}.into());
            }
            if let Some(heartbeat) = &mut link.heartbeat {
                heartbeat.heard = true;
            }
            self.touched.mark(id, link);
        }
    }

    /// A content header or body has come amid an alarm: nothing behind it is read until that is over.
    pub(super) fn hold_back(&mut self, id: ConnectionId) {
        let (Some(reason), Some(link)) = (&self.alarm, self.links.get_mut(id)) else { return };
        let Some(session) = link.session().filter(|session| !session.blocked) else { return };
        session.blocked = true;
        if session.wants_blocked {
            link.send(0, &connection::Blocked { reason: reason.clone() }.into());
        }
    }
}
