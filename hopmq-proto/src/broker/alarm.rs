use alloc::vec::Vec;

use crate::amqp::{FRAME_HEADER_LEN, FrameHead, FrameKind, ShortStr, connection};

use super::engine::Broker;
use super::id::ConnectionId;

impl Broker {
    /// Holds publishers back from now on, as RabbitMQ does while it is short of memory or disk: as soon as a connection publishes, nothing
    /// is read from it any more, and it is told so with `connection.blocked` if it has that capability. `reason` is what it
    /// is told; RabbitMQ says `low on memory` or `low on disk`. What does not publish goes on
    /// (<https://www.rabbitmq.com/docs/alarms>).
    ///
    /// One that is blocked is not missed for its heartbeats, and its publishes, acknowledgements and closes wait in its input.
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

    /// Whether this frame has to wait, and everything behind it: it is a publish, or comes behind one, amid an alarm.
    pub(super) fn is_held_back(&mut self, id: ConnectionId, head: FrameHead, input: &[u8]) -> bool {
        let Some(reason) = &self.alarm else { return false };
        let Some(link) = self.links.get_mut(id) else { return false };
        let is_publish = head.kind == FrameKind::Method
            && input.get(FRAME_HEADER_LEN..).is_some_and(|payload| payload.starts_with(&[0, 60, 0, 40]));
        let Some(session) = link.session().filter(|_| is_publish) else { return false };
        session.blocked = true;
        if session.wants_blocked {
            link.send(0, &connection::Blocked { reason: reason.clone() }.into());
        }
        true
    }
}
