use alloc::sync::Arc;

use bytes::{Buf, BytesMut};

use super::channels::Channels;
use super::control::Control;
use super::core::Core;
use super::{CommandError, PublishError};
use crate::Instant;
use crate::amqp::{FRAME_HEADER_LEN, FrameHead, FrameKind, Method, Properties, Publish, connection};
use crate::client::{ChannelId, CloseReason, Event, PeerMisbehaved, ServerInfo, Token};

/// Where work is done: the channels, and whether publishes may flow.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) channels: Channels,
    pub(super) control: Control,
    /// The server takes no publishes for now.
    blocked: bool,
    /// A publish was refused because of `blocked` or of a full outbox.
    refused: bool,
}

/// Whether a channel goes on after a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    /// Both sides are done with it: its number is free.
    Ended(Arc<CloseReason>),
}

impl Work {
    pub(super) fn new(info: &ServerInfo) -> Self {
        Self {
            channels: Channels::new(info.channel_max),
            control: Control::default(),
            blocked: false,
            refused: false,
        }
    }

    pub(super) fn publish(
        &mut self,
        core: &mut Core,
        channel: ChannelId,
        publish: &Publish<'_>,
        properties: &Properties,
        body: &bytes::Bytes,
        now: Instant,
    ) -> Result<Option<Token>, PublishError> {
        let channel = self.channels.by_id(channel)?;
        channel.check_open()?;
        if self.blocked || core.outbox.len() >= core.config.max_outbox {
            self.refused = true;
            return Err(if self.blocked { PublishError::Blocked } else { PublishError::Full });
        }
        channel.publish(core, publish, properties, body, now)
    }

    /// Resolves everything that waits, for the connection has ended.
    pub(super) fn end(&mut self, core: &mut Core, reason: &Arc<CloseReason>) {
        self.channels.end(core, reason);
        self.control.end(core, reason);
    }

    /// Whether a publish was refused that would now be accepted: the owner has written enough in the meantime.
    pub(super) fn has_room_again(&self, core: &Core) -> bool {
        self.refused && !self.blocked && core.outbox.len() <= core.config.max_outbox / 2
    }

    pub(super) fn make_writable(&mut self, core: &mut Core) {
        if self.has_room_again(core) {
            self.refused = false;
            core.emit(Event::Writable);
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
        if let Flow::Ended(reason) = result.map_err(CloseReason::PeerMisbehaved)? {
            self.channels.free(number, reason);
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
                self.make_writable(core);
                Ok(())
            }
            method => self.control.on_method(core, method).map_err(CloseReason::PeerMisbehaved),
        }
    }
}
