use alloc::sync::Arc;

use bytes::{Buf, BytesMut};

use super::channels::Channels;
use super::control::Control;
use super::core::Core;
use super::publishing::Outgoing;
use super::{CommandError, PublishError};
use crate::Instant;
use crate::amqp::{FRAME_HEADER_LEN, FrameHead, FrameKind, Method, Publish, ReplyCode, connection};
use crate::client::{ChannelId, CloseReason, Event, PeerMisbehaved, Reply, ServerInfo, Token};

/// Where work is done: the channels, and whether publishes may flow.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) channels: Channels,
    pub(super) control: Control,
    /// The server takes no publishes for now.
    blocked: bool,
    /// A publish was refused because of `blocked` or of a full outbox.
    refused: bool,
    /// Channels have publishes to send that were held.
    backlog: bool,
}

/// Whether a channel goes on after a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    /// It is back after a loss, and may have publishes to send.
    Resumed,
    /// Both sides are done with it: its number is free.
    Ended(Arc<CloseReason>),
}

impl Work {
    /// The handshake is done.
    pub(super) fn on_opened(&mut self, core: &Core, info: &ServerInfo) {
        self.channels.on_opened(info.channel_max, core.keeps);
        self.blocked = false;
    }

    pub(super) fn publish(
        &mut self,
        core: &mut Core,
        channel: ChannelId,
        outgoing: Outgoing<'_>,
        now: Instant,
    ) -> Result<Option<Token>, PublishError> {
        let channel = self.channels.by_id(channel)?;
        channel.check_open()?;
        let is_full = core.outbox.len() >= core.config.max_outbox || core.kept.bytes() >= core.max_kept;
        if self.blocked || is_full {
            self.refused = true;
            return Err(if self.blocked { PublishError::Blocked } else { PublishError::Full });
        }
        if outgoing.publish.exchange.is_empty()
            && let Some(name) = core.topology.resolve_name(outgoing.publish.routing_key).cloned()
        {
            let publish = Publish { routing_key: name.as_bytes(), ..*outgoing.publish };
            return channel.publish(core, Outgoing { publish: &publish, ..outgoing }, now);
        }
        channel.publish(core, outgoing, now)
    }

    /// Resolves everything that waits, for the connection has ended.
    pub(super) fn end(&mut self, core: &mut Core, reason: &Arc<CloseReason>, now: Instant) {
        self.channels.end(core, reason, now);
        self.control.end(core, reason);
    }

    /// Whether a publish was refused that would now be accepted: the owner has written enough in the meantime.
    pub(super) fn has_room_again(&self, core: &Core) -> bool {
        (self.refused || self.backlog)
            && !self.blocked
            && core.outbox.len() <= core.config.max_outbox / 2
            && (self.backlog || core.kept.bytes() <= core.max_kept / 2)
    }

    pub(super) fn make_writable(&mut self, core: &mut Core, now: Instant) {
        if !self.has_room_again(core) {
            return;
        }
        if self.backlog {
            self.send_backlog(core, now);
        }
        if self.refused && self.has_room_again(core) {
            self.refused = false;
            core.emit(Event::Writable);
        }
    }

    fn send_backlog(&mut self, core: &mut Core, now: Instant) {
        self.backlog = false;
        for channel in self.channels.used() {
            self.backlog |= !channel.send_held(core, now);
        }
    }

    // Another life.

    /// The connection was lost.
    pub(super) fn on_lost(&mut self, core: &mut Core, reason: &Arc<CloseReason>, repeat: bool, now: Instant) {
        (self.blocked, self.backlog) = (false, false);
        self.control.end(core, reason);
        self.channels.on_lost(core, reason, repeat, now);
    }

    /// Brings the channels back that were lost.
    pub(super) fn resume(&mut self, core: &mut Core, now: Instant) {
        self.channels.resume(core, now);
    }

    /// Closes a channel; one that the server knows nothing of at once.
    pub(super) fn close_channel(
        &mut self,
        core: &mut Core,
        id: ChannelId,
        token: Option<Token>,
        now: Instant,
    ) -> Result<(), CommandError> {
        let channel = self.channels.by_id(id)?;
        channel.check_open()?;
        if !channel.is_lost() {
            channel.close(core, ReplyCode::SUCCESS, CloseReason::Requested, token, now);
            return Ok(());
        }
        let reason = Arc::new(CloseReason::Requested);
        channel.end(core, &reason, now);
        if let Some(token) = token {
            core.emit(Event::Reply { token, result: Ok(Reply::Closed) });
        }
        self.channels.free(id.number(), reason);
        Ok(())
    }

    pub(super) fn on_call_due(&mut self, core: &mut Core, number: u16, now: Instant) {
        if let Some(channel) = self.channels.by_number(number) {
            channel.on_call_due(core, now);
        }
    }

    pub(super) fn by_id(&mut self, id: ChannelId) -> Result<&mut super::channel::Channel, CommandError> {
        self.channels.by_id(id)
    }

    /// Takes the whole frame at the front of `input` off it.
    pub(super) fn on_frame(
        &mut self,
        core: &mut Core,
        head: FrameHead,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let result = match (head.kind, head.channel) {
            (FrameKind::Heartbeat, 0) => Ok(()),
            (FrameKind::Heartbeat, channel) => {
                Err(PeerMisbehaved::UnexpectedFrame { frame: "heartbeat", channel })
            }
            (FrameKind::Method, 0) => return self.on_connection_method(core, head, input, now),
            (_, 0) => Err(PeerMisbehaved::UnexpectedFrame { frame: "content", channel: 0 }),
            (_, number) => return self.on_channel_frame(core, number, head, input, now),
        };
        input.advance(head.frame_len());
        result.map_err(CloseReason::PeerMisbehaved)
    }

    fn on_channel_frame(
        &mut self,
        core: &mut Core,
        number: u16,
        head: FrameHead,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let Some(channel) = self.channels.by_number(number) else {
            input.advance(head.frame_len());
            return Err(CloseReason::PeerMisbehaved(PeerMisbehaved::UnknownChannel(number)));
        };
        if head.kind == FrameKind::Body && channel.takes_whole_body(head.payload_len) {
            input.advance(FRAME_HEADER_LEN);
            let body = input.split_to(head.payload_len).freeze();
            input.advance(1);
            return channel.on_whole_body(core, body, now).map_err(CloseReason::PeerMisbehaved);
        }
        let payload = input.get(FRAME_HEADER_LEN..FRAME_HEADER_LEN + head.payload_len).unwrap_or_default();
        let result = match head.kind {
            FrameKind::Method => channel.on_method(core, payload, now),
            FrameKind::Header => channel.on_header(core, payload, now).map(|()| Flow::Continue),
            _ => channel.on_body(core, payload, now).map(|()| Flow::Continue),
        };
        input.advance(head.frame_len());
        match result.map_err(CloseReason::PeerMisbehaved)? {
            Flow::Continue => {}
            Flow::Resumed => self.backlog = true,
            Flow::Ended(reason) => self.channels.free(number, reason),
        }
        Ok(())
    }

    fn on_connection_method(
        &mut self,
        core: &mut Core,
        head: FrameHead,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let payload = input.get(FRAME_HEADER_LEN..FRAME_HEADER_LEN + head.payload_len).unwrap_or_default();
        let method = Method::decode(payload);
        input.advance(head.frame_len());
        match method.map_err(|error| CloseReason::PeerMisbehaved(error.into()))? {
            Method::ConnectionClose(close) => {
                core.answer_last(0, connection::CloseOk {}, now);
                Err(CloseReason::Server(close.into()))
            }
            Method::ConnectionBlocked(blocked) => {
                self.blocked = true;
                core.emit(Event::Blocked { reason: blocked.reason });
                Ok(())
            }
            Method::ConnectionUnblocked(_) => {
                self.blocked = false;
                core.emit(Event::Unblocked);
                let before = core.outbox.len();
                self.make_writable(core, now);
                core.on_released(before); // what was held is no answer
                Ok(())
            }
            method => self.control.on_method(core, method).map_err(CloseReason::PeerMisbehaved),
        }
    }
}
