use alloc::vec::Vec;
use core::time::Duration;

use crate::Instant;
use crate::amqp::{Method, ReplyCode, channel, connection};

use super::engine::Broker;
use super::event::Closed;
use super::fault::Fault;
use super::id::ConnectionId;
use super::link::{Phase, Timer};
use super::session::{At, Channel, Session, Slot};

/// How long a client whose frames make no sense has to read why.
const GRACE: Duration = Duration::from_secs(1);

impl Broker {
    /// Closes what a fault closes: the channel or the connection.
    pub(super) fn on_fault(&mut self, at: At, fault: &Fault, now: Instant) {
        if at.channel == 0 || fault.code.is_connection_error() {
            self.close_connection(at.connection, fault, now);
        } else {
            self.close_channel(at, fault);
        }
    }

    /// The input is out of step: says so, and listens no more.
    pub(super) fn on_lost_sync(&mut self, id: ConnectionId, fault: &Fault, now: Instant) {
        self.close_connection(id, fault, now);
        let Some(link) = self.links.get_mut(id) else { return };
        if let Phase::Closing { deaf, .. } = &mut link.phase {
            *deaf = true;
            link.deadlines.set(Timer::Close, now + GRACE);
        }
    }

    fn close_channel(&mut self, at: At, fault: &Fault) {
        self.flush_confirms(at.connection);
        let Some(link) = self.links.get_mut(at.connection) else { return };
        let Some(session) = link.session() else { return };
        let slot = session.channels.insert(at.channel, Slot::Closing);
        let (class_id, method_id) = fault.method;
        let close =
            channel::Close { reply_code: fault.code.0, reply_text: fault.reply_text(), class_id, method_id };
        link.send(at.channel, &close.into());
        if let Some(Slot::Open(channel)) = slot {
            self.end_channels([*channel].into());
        }
    }

    /// The client closes a channel.
    pub(super) fn on_channel_close(&mut self, at: At) {
        self.flush_confirms(at.connection);
        let Some(link) = self.links.get_mut(at.connection) else { return };
        let slot = link.session().and_then(|session| session.channels.remove(&at.channel));
        if let Some(Slot::Open(channel)) = slot {
            self.end_channels([*channel].into());
        }
        if let Some(link) = self.links.get_mut(at.connection) {
            link.send(at.channel, &Method::ChannelCloseOk(channel::CloseOk {}));
        }
    }

    /// Ends the consumers of all these channels, then gives back what they had not settled.
    fn end_channels(&mut self, channels: Vec<Channel>) {
        for channel in &channels {
            for consumer in channel.consumers.values() {
                self.remove_consumer(*consumer);
            }
        }
        let mut unsettled = Vec::new();
        for mut channel in channels {
            channel.unacked.take_up_to(0, &mut unsettled);
        }
        self.give_back(unsettled);
    }

    fn end_session(&mut self, session: Session) {
        let Session { channels, owns, .. } = session;
        let open = channels.into_values().filter_map(|slot| match slot {
            Slot::Open(channel) => Some(*channel),
            Slot::Closing => None,
        });
        self.end_channels(open.collect());
        for queue in owns {
            if let Some(queue) = self.remove_queue(queue) {
                self.cancel_consumers(&queue);
            }
        }
    }

    /// Takes the session out of the connection, and ends it.
    fn leave_session(&mut self, id: ConnectionId, next: Phase) {
        self.flush_confirms(id);
        let Some(link) = self.links.get_mut(id) else { return };
        if let Phase::Open(session) = core::mem::replace(&mut link.phase, next) {
            self.end_session(*session);
        }
    }

    /// Closes the connection for a fault. Before it is open, most faults close it without a word.
    fn close_connection(&mut self, id: ConnectionId, fault: &Fault, now: Instant) {
        let Some(link) = self.links.get_mut(id) else { return };
        match &link.phase {
            Phase::Closing { .. } | Phase::Closed => return,
            Phase::Open(_) => {}
            Phase::Opening(_) => return self.turn_away(id, fault, true, now),
            _ => return self.turn_away(id, fault, false, now),
        }
        let text = fault.reply_text();
        let reason = Closed::ByBroker { code: fault.code, text: text.to_string_lossy().into_owned() };
        self.leave_session(id, Phase::Closing { reason, deaf: false });
        let Some(link) = self.links.get_mut(id) else { return };
        let (class_id, method_id) = fault.method;
        link.send(
            0,
            &connection::Close { reply_code: fault.code.0, reply_text: text, class_id, method_id }.into(),
        );
        link.deadlines.set(Timer::Close, now + self.config.close_timeout);
        self.touched.mark(id, link);
    }

    /// Ends a handshake. The client is told why or not, and need not answer.
    pub(super) fn turn_away(&mut self, id: ConnectionId, fault: &Fault, tell: bool, now: Instant) {
        let Some(link) = self.links.get_mut(id) else { return };
        let reply_text = fault.reply_text();
        let text = reply_text.to_string_lossy().into_owned();
        if tell {
            let (class_id, method_id) = fault.method;
            let close = connection::Close { reply_code: fault.code.0, reply_text, class_id, method_id };
            link.send(0, &close.into());
        }
        link.finish_by(Closed::Refused { code: fault.code, text }, now + self.config.close_timeout);
        self.touched.mark(id, link);
    }

    /// The client closes the connection. It reads nothing any more but the answer.
    pub(super) fn on_client_close(&mut self, id: ConnectionId, close: &connection::Close, now: Instant) {
        let code = ReplyCode(close.reply_code);
        let reason = Closed::ByClient { code, text: close.reply_text.to_string_lossy().into_owned() };
        self.leave_session(id, Phase::Starting);
        if let Some(link) = self.links.get_mut(id) {
            link.send_last(&Method::ConnectionCloseOk(connection::CloseOk {}));
            link.finish_by(reason, now + self.config.close_timeout);
        }
    }

    /// Closes a connection that did nothing wrong.
    pub(super) fn force_close(&mut self, id: ConnectionId, text: &str, now: Instant) {
        self.close_connection(id, &Fault::new(ReplyCode::CONNECTION_FORCED, text), now);
    }

    /// The transport has ended.
    pub(super) fn on_eof(&mut self, id: ConnectionId, _now: Instant) {
        let Some(link) = self.links.get_mut(id) else { return };
        let reason = match &link.phase {
            Phase::Closing { reason, .. } => reason.clone(),
            _ => Closed::Eof,
        };
        self.cut_off(id, reason);
    }

    /// Ends the connection without another word.
    fn cut_off(&mut self, id: ConnectionId, reason: Closed) {
        let Some(link) = self.links.get_mut(id) else { return };
        if matches!(link.phase, Phase::Open(_)) {
            self.leave_session(id, Phase::Starting);
        }
        if let Some(link) = self.links.get_mut(id) {
            link.finish(reason);
        }
    }

    /// Acts on every deadline that is due, and resumes deliveries that were held back.
    pub(super) fn on_timeout(&mut self, id: ConnectionId, now: Instant) {
        while let Some(link) = self.links.get_mut(id)
            && let Some(timer) = link.deadlines.pop_due(now)
        {
            match timer {
                Timer::Handshake => self.cut_off(id, Closed::HandshakeTimeout),
                Timer::Close => match &link.phase {
                    Phase::Closing { reason, .. } => {
                        let reason = reason.clone();
                        link.finish(reason);
                    }
                    _ => link.outbox.clear(),
                },
                Timer::Send => link.on_send_timer(now),
                Timer::Receive => {
                    if link.on_receive_timer(now) {
                        self.cut_off(id, Closed::HeartbeatTimeout);
                    }
                }
            }
        }
        self.resume(id);
    }
}
