use alloc::format;
use alloc::string::String;

use bytes::{Buf, Bytes, BytesMut};

use crate::Instant;
use crate::amqp::{
    ContentHeader, FRAME_HEADER_LEN, FRAME_MIN_SIZE, FRAME_OVERHEAD, FrameHead, FrameKind, Method, Publish,
    ReplyCode, WireError, channel,
};

use super::content::{Content, Gathering, Pending, Whole};
use super::engine::Broker;
use super::fault::Fault;
use super::id::ConnectionId;
use super::link::{Link, Phase};
use super::message::{Body, KEEP_BODY_AT};
use super::session::{At, Slot};

/// How much larger than agreed a frame may be; many clients forget to count the overhead, and RabbitMQ lets them.
const FUDGE: usize = FRAME_OVERHEAD;

impl Link {
    /// The largest frame that may come now.
    fn input_max(&self) -> usize {
        match self.phase {
            Phase::Header | Phase::Starting | Phase::Tuning(_) => FRAME_MIN_SIZE,
            _ => self.frame_max.saturating_add(FUDGE),
        }
    }
}

impl Broker {
    /// Takes every whole frame out of `input`.
    pub(super) fn on_input(&mut self, id: ConnectionId, input: &mut BytesMut, now: Instant) {
        if let Some(link) = self.links.get_mut(id)
            && input.len() > link.leftover
            && let Some(heartbeat) = &mut link.heartbeat
        {
            heartbeat.heard = true;
        }
        while self.on_next(id, input, now) {}
        self.flush_confirms(id);
        if let Some(link) = self.links.get_mut(id) {
            link.leftover = input.len();
        }
    }

    /// Takes one frame, and returns whether there was one.
    fn on_next(&mut self, id: ConnectionId, input: &mut BytesMut, now: Instant) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        match &link.phase {
            Phase::Header => return self.on_protocol_header(id, input, now),
            Phase::Closed | Phase::Closing { deaf: true, .. } => {
                input.clear();
                return false;
            }
            Phase::Open(session) if session.blocked => return false,
            _ => {}
        }
        let at = At { connection: id, channel: 0 };
        match FrameHead::peek(input, link.input_max()) {
            Ok(None) => return false,
            Ok(Some(head)) if head.channel == 0 => {
                let payload = input.get(FRAME_HEADER_LEN..).and_then(|rest| rest.get(..head.payload_len));
                let result = self.on_control_frame(id, head, payload.unwrap_or_default(), now);
                input.advance(head.frame_len());
                if let Err(fault) = result {
                    self.on_fault(at, &fault, now);
                }
            }
            Ok(Some(head)) => {
                let at = At { channel: head.channel, ..at };
                if let Err(fault) = self.on_channel_frame(at, head, input, now) {
                    self.on_fault(at, &fault, now);
                }
                if self.alarm.is_some() && matches!(head.kind, FrameKind::Header | FrameKind::Body) {
                    self.hold_back(id);
                }
            }
            Err(error) => {
                let fault = Fault::new(error.reply_code(), describe(error, input));
                self.on_lost_sync(id, &fault, now);
                input.clear();
                return false;
            }
        }
        true
    }

    /// Takes a frame of a channel, and with a publish the rest of its message if that is there.
    fn on_channel_frame(
        &mut self,
        at: At,
        head: FrameHead,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<(), Fault> {
        let Some(link) = self.links.get_mut(at.connection) else { return Ok(()) };
        let frame_max = link.input_max();
        let Phase::Open(session) = &mut link.phase else {
            let closing = matches!(link.phase, Phase::Closing { .. });
            input.advance(head.frame_len());
            return if closing { Ok(()) } else { Err(unexpected(head)) };
        };
        let payload = input.get(FRAME_HEADER_LEN..).and_then(|rest| rest.get(..head.payload_len));
        let payload = payload.unwrap_or_default();
        let is_idle =
            session.channel(at.channel).is_some_and(|channel| matches!(channel.content, Content::None));
        if is_idle && head.kind == FrameKind::Method && payload.starts_with(&[0, 60, 0, 40]) {
            let max_body = self.config.max_message_size;
            // Amid an alarm frame by frame: it is blocked between them.
            let whole = Whole::find(input, head, frame_max, max_body).filter(|_| self.alarm.is_none());
            return match whole {
                Some(whole) => self.on_whole_publish(at, head, whole, input),
                None => {
                    let pending = read_publish(payload).map(|publish| Pending::new(&publish));
                    if let (Ok(pending), Some(channel)) = (&pending, session.channel(at.channel)) {
                        channel.content = Content::Header(pending.clone());
                    }
                    input.advance(head.frame_len());
                    pending.map(drop)
                }
            };
        }
        let result = match head.kind {
            FrameKind::Method => self.on_method_frame(at, payload, now),
            FrameKind::Header => self.on_header_frame(at, payload),
            FrameKind::Heartbeat => Err(unexpected(head)),
            FrameKind::Body => {
                let frame = input.split_to(head.frame_len()).freeze();
                return self.on_body_frame(at, frame.slice(FRAME_HEADER_LEN..head.frame_len() - 1));
            }
        };
        input.advance(head.frame_len());
        result
    }

    /// A publish whose method, header and body are all at the front of the input.
    fn on_whole_publish(
        &mut self,
        at: At,
        head: FrameHead,
        whole: Whole,
        input: &mut BytesMut,
    ) -> Result<(), Fault> {
        let method = FRAME_HEADER_LEN..FRAME_HEADER_LEN + head.payload_len;
        // The header begins with class, weight and size, which have been looked at.
        let properties = whole.header.0 + 12..whole.header.1;
        let body = whole.body.0..whole.body.1;
        if body.len() >= KEEP_BODY_AT {
            let block = input.split_to(whole.len).freeze();
            let part = |range: core::ops::Range<usize>| block.get(range).unwrap_or_default();
            let publish = read_publish(part(method))?;
            return self.publish(at, &publish, part(properties), Body::Owned(block.slice(body)));
        }
        let part = |range: core::ops::Range<usize>| input.get(range).unwrap_or_default();
        let result = read_publish(part(method))
            .and_then(|publish| self.publish(at, &publish, part(properties), Body::Borrowed(part(body))));
        input.advance(whole.len);
        result
    }

    fn on_method_frame(&mut self, at: At, payload: &[u8], now: Instant) -> Result<(), Fault> {
        let id = method_id(payload);
        let Some(link) = self.links.get_mut(at.connection) else { return Ok(()) };
        let Some(session) = link.session() else { return Ok(()) };
        match session.channels.get_mut(&at.channel) {
            Some(Slot::Open(channel)) => match &channel.content {
                Content::None => self.on_channel_method(at, payload, now),
                content => Err(amid(content)),
            },
            Some(Slot::Closing) => {
                if id == channel_id::CLOSE {
                    link.send(at.channel, &Method::ChannelCloseOk(channel::CloseOk {}));
                } else if id == channel_id::CLOSE_OK {
                    session.channels.remove(&at.channel);
                }
                Ok(())
            }
            None => {
                let (open, max) = (session.channels.len(), session.channel_max);
                if open >= usize::from(max) {
                    return Err(Fault::not_allowed(format!(
                        "number of channels opened ({open}) has reached the negotiated channel_max ({max})"
                    )));
                }
                if id != channel_id::OPEN {
                    return Err(Fault::new(ReplyCode::CHANNEL_ERROR, "expected 'channel.open'").on(id));
                }
                session.channels.insert(at.channel, Slot::Open(alloc::boxed::Box::default()));
                link.send(at.channel, &Method::ChannelOpenOk(channel::OpenOk {}));
                Ok(())
            }
        }
    }

    fn on_header_frame(&mut self, at: At, payload: &[u8]) -> Result<(), Fault> {
        let max = self.config.max_message_size;
        let Some(channel) = self.content_channel(at)? else { return Ok(()) };
        let publish = match core::mem::take(&mut channel.content) {
            Content::Header(publish) => publish,
            content => return Err(amid(&content)),
        };
        let header = ContentHeader::read(payload).map_err(|error| syntax(error).on(Publish::ID))?;
        if header.class_id != Publish::ID.0 {
            let text = format!(
                "expected content header for class 60, got one for class {} instead",
                header.class_id
            );
            return Err(Fault::unexpected_frame(text).on(Publish::ID));
        }
        if header.body_size > max {
            let text = format!("message size {} is larger than configured max size {max}", header.body_size);
            return Err(Fault::precondition(text).on(Publish::ID));
        }
        let gathering = Gathering::new(publish, header.properties, header.body_size);
        self.on_gathered(at, gathering)
    }

    fn on_body_frame(&mut self, at: At, body: Bytes) -> Result<(), Fault> {
        let Some(channel) = self.content_channel(at)? else { return Ok(()) };
        match core::mem::take(&mut channel.content) {
            Content::Body(mut gathering) => {
                gathering.add(body)?;
                self.on_gathered(at, gathering)
            }
            content => Err(amid(&content)),
        }
    }

    /// Publishes a message that is whole, and keeps one that is not.
    fn on_gathered(&mut self, at: At, gathering: Gathering) -> Result<(), Fault> {
        if gathering.is_whole() {
            let (publish, properties, body) = gathering.into_parts();
            return self.publish(at, &publish.as_publish(), &properties, body);
        }
        if let Some(channel) = self.channel(at) {
            channel.content = Content::Body(gathering);
        }
        Ok(())
    }

    /// The channel that a header or body belongs to; none when it is closing, a fault when it is not open.
    fn content_channel(&mut self, at: At) -> Result<Option<&mut super::session::Channel>, Fault> {
        let session = self.links.get_mut(at.connection).and_then(Link::session);
        match session.and_then(|session| session.channels.get_mut(&at.channel)) {
            Some(Slot::Open(channel)) => Ok(Some(channel)),
            Some(Slot::Closing) => Ok(None),
            None => Err(amid(&Content::None)),
        }
    }

    pub(super) fn channel(&mut self, at: At) -> Option<&mut super::session::Channel> {
        self.links.get_mut(at.connection)?.session()?.channel(at.channel)
    }
}

/// The ids of the methods that a channel handles in every state.
pub(super) mod channel_id {
    use crate::amqp::{Arguments, channel};

    pub(in super::super) const OPEN: (u16, u16) = channel::Open::ID;
    pub(in super::super) const CLOSE: (u16, u16) = channel::Close::ID;
    pub(in super::super) const CLOSE_OK: (u16, u16) = channel::CloseOk::ID;
}

/// Class and method id at the front of a method frame's payload.
pub(super) fn method_id(payload: &[u8]) -> (u16, u16) {
    match payload.first_chunk::<4>() {
        Some(&[c1, c0, m1, m0]) => (u16::from_be_bytes([c1, c0]), u16::from_be_bytes([m1, m0])),
        None => (0, 0),
    }
}

fn read_publish(payload: &[u8]) -> Result<Publish<'_>, Fault> {
    Publish::read(payload.get(4..).unwrap_or_default()).map_err(|error| syntax(error).on(Publish::ID))
}

pub(super) fn syntax(error: WireError) -> Fault {
    Fault::new(error.reply_code(), format!("{error}"))
}

/// A frame that does not continue the content, or has none to continue.
fn amid(content: &Content) -> Fault {
    match content {
        Content::None => Fault::unexpected_frame("expected method frame, got non method frame instead"),
        Content::Header(_) => Fault::unexpected_frame(
            "expected content header for class 60, got non content header frame instead",
        )
        .on(Publish::ID),
        Content::Body(_) => {
            Fault::unexpected_frame("expected content body, got non content body frame instead")
                .on(Publish::ID)
        }
    }
}

pub(super) fn unexpected(head: FrameHead) -> Fault {
    let [octet, ..] = head.to_bytes();
    Fault::unexpected_frame(format!("type {octet}, channel {}, {} octets", head.channel, head.payload_len))
}

/// A malformed frame in RabbitMQ's words.
fn describe(error: WireError, input: &[u8]) -> String {
    let octet = input.first().copied().unwrap_or_default();
    match error {
        WireError::FrameTooLarge { size, max } => format!(
            "type {octet}, all octets = <<>>: {{frame_too_large,{},{}}}",
            size - FRAME_OVERHEAD,
            max.saturating_sub(FRAME_OVERHEAD + FUDGE)
        ),
        WireError::BadFrameEnd(end) => {
            let size = match input.first_chunk::<FRAME_HEADER_LEN>() {
                Some(&[_, _, _, s3, s2, s1, s0]) => u32::from_be_bytes([s3, s2, s1, s0]) as usize,
                None => 0,
            };
            let payload = input.get(FRAME_HEADER_LEN..).unwrap_or_default();
            let payload = payload.get(..size).unwrap_or(payload);
            let shown = payload.get(..16).unwrap_or(payload);
            let which = if payload.len() <= 16 { "all" } else { "first 16" };
            let octets: alloc::vec::Vec<String> = shown.iter().map(|octet| format!("{octet}")).collect();
            let octets = octets.join(",");
            format!("type {octet}, {which} octets = <<{octets}>>: {{invalid_frame_end_marker,{end}}}")
        }
        WireError::UnknownFrameType(_) => format!("type {octet}, all octets = <<>>: unknown_frame"),
        other => format!("{other}"),
    }
}
