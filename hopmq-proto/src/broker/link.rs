use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;

use bytes::BytesMut;

use crate::amqp::{FieldTable, FieldValue, Method, write_method};
use crate::{Deadlines, Instant, Outbox, Want};

use super::event::{Closed, Event, Peer};
use super::heartbeat::Heartbeat;
use super::session::Session;

/// The broker's end of one connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) phase: Phase,
    pub(super) outbox: Outbox,
    pub(super) events: VecDeque<Event>,
    pub(super) deadlines: Deadlines<Timer>,
    pub(super) heartbeat: Option<Heartbeat>,
    /// The largest frame, both ways.
    pub(super) frame_max: usize,
    /// Bytes that the last call left in the input.
    pub(super) leftover: usize,
    /// Something was queued since the last look at it.
    pub(super) spoke: bool,
    /// It is in the list of connections that the owner must look at.
    pub(super) touched: bool,
    /// The bound of the outbox.
    pub(super) max_outbox: usize,
}

/// What has happened so far on a connection, and what that has left behind.
#[derive(Debug)]
pub(super) enum Phase {
    /// Nothing has come.
    Header,
    /// We sent `connection.start`.
    Starting,
    /// We sent `connection.tune`.
    Tuning(Login),
    /// The limits are agreed on.
    Opening(Login),
    /// A virtual host is open.
    Open(Box<Session>),
    /// We sent `connection.close` and wait for the answer.
    Closing {
        /// What to report then.
        reason: Closed,
        /// The input is out of step, so nothing in it can be understood.
        deaf: bool,
    },
    /// Nothing more is to come, but the outbox may have to be written.
    Closed,
}

/// Who has logged in.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) client_properties: FieldTable,
    /// The limit that was agreed on.
    pub(super) channel_max: u16,
}

impl Login {
    pub(super) fn can(&self, capability: &str) -> bool {
        has_capability(&self.client_properties, capability)
    }
}

/// Whether the properties of a client announce a capability.
pub(super) fn has_capability(client_properties: &FieldTable, capability: &str) -> bool {
    match client_properties.get("capabilities") {
        Some(FieldValue::Table(all)) => all.get(capability) == Some(&FieldValue::Bool(true)),
        _ => false,
    }
}

/// What a connection can be late for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The virtual host must be open.
    Handshake,
    /// A close must be answered, or the last bytes written.
    Close,
    /// A heartbeat may have to be sent.
    Send,
    /// Something should have come.
    Receive,
}

impl Link {
    pub(super) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Open(session) => Some(session),
            _ => None,
        }
    }

    /// Queues a method. A frame that cannot be encoded is left out; all strings come from frames that were decoded.
    pub(super) fn send(&mut self, channel: u16, method: &Method) {
        let result = write_method(self.outbox.tail(), channel, usize::MAX, method);
        debug_assert!(result.is_ok(), "{method:?}");
        self.outbox.end_frame();
        self.spoke = true;
    }

    /// Queues a method as the last one, in place of what waits and has not begun.
    pub(super) fn send_last(&mut self, method: &Method) {
        let mut frame = BytesMut::new();
        let result = write_method(&mut frame, 0, usize::MAX, method);
        debug_assert!(result.is_ok(), "{method:?}");
        self.outbox.finish_with(frame.freeze());
    }

    /// Reports the end, once.
    pub(super) fn finish(&mut self, reason: Closed) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.phase = Phase::Closed;
        self.deadlines.clear_all();
        self.heartbeat = None;
        self.events.push_back(Event::Closed { reason });
    }

    /// Reports the end, and leaves what is queued to be written until `until`.
    pub(super) fn finish_by(&mut self, reason: Closed, until: Instant) {
        self.finish(reason);
        self.deadlines.set(Timer::Close, until);
    }

    pub(super) fn want(&self) -> Want {
        match &self.phase {
            Phase::Closed => Want::Shutdown,
            _ if self.is_paused() || self.is_blocked() => Want::Write,
            _ => Want::ReadWrite,
        }
    }

    /// Nothing is read, because the peer reads too little of what it asked for.
    pub(super) fn is_paused(&self) -> bool {
        self.outbox.len() > self.max_outbox.saturating_mul(4)
    }

    /// Nothing is read, because it publishes amid an alarm.
    pub(super) fn is_blocked(&self) -> bool {
        matches!(&self.phase, Phase::Open(session) if session.blocked)
    }

    /// Another delivery may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.len() < self.max_outbox
    }

    /// Deliveries were held back, and there is room for some again.
    pub(super) fn can_resume(&self) -> bool {
        match &self.phase {
            Phase::Open(session) => !session.line.is_empty() && self.outbox.len() <= self.max_outbox / 2,
            _ => false,
        }
    }
}
