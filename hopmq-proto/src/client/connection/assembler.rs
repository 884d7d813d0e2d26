use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::amqp::{ContentHeader, ReplyCode, ShortStr, WireError};
use crate::client::{Message, Token};

/// A body of this size or more gets a buffer of its own. A smaller one is copied next to its properties: a message of
/// 20 bytes must not keep the whole read buffer alive.
const LARGE_BODY: u64 = 8192;

/// Puts the messages of one channel together: a method, a header, and body frames until the body is whole.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    state: State,
    /// Exchange and routing key of the message under way.
    names: Vec<u8>,
    exchange_len: u8,
    routing_key_len: u8,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Header(Origin),
    Body(Partial),
}

/// What brought a message.
#[derive(Debug)]
pub(super) enum Origin {
    /// `basic.deliver`
    Deliver { consumer: Option<Token>, no_ack: bool, tag: u64, redelivered: bool },
    /// `basic.get-ok`
    Get { tag: u64, redelivered: bool, message_count: u32 },
    /// `basic.return`
    Return { code: ReplyCode, text: ShortStr },
}

#[derive(Debug)]
struct Partial {
    origin: Origin,
    block: Vec<u8>,
    properties_len: u32,
    large: Option<BytesMut>,
    size: u64,
    remaining: u64,
}

/// Why a frame cannot be part of a message.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It may not come now.
    Unexpected,
    /// The body is larger than the limit.
    TooLarge(u64),
    /// The body is longer than its header said.
    TooLong,
    /// It cannot be decoded.
    Wire(WireError),
}

impl Assembler {
    /// Whether a message is under way, so that no method may come.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Starts a message. The caller has checked that none is under way.
    #[allow(clippy::cast_possible_truncation)] // both are short strings
    pub(super) fn start(&mut self, origin: Origin, exchange: &[u8], routing_key: &[u8]) {
        self.names.clear();
        self.names.extend_from_slice(exchange);
        self.names.extend_from_slice(routing_key);
        self.exchange_len = exchange.len() as u8;
        self.routing_key_len = routing_key.len() as u8;
        self.state = State::Header(origin);
    }

    /// Nobody waits for the deliveries of `consumer` any more, the one under way included.
    pub(super) fn orphan(&mut self, consumer: Token) {
        let origin = match &mut self.state {
            State::Header(origin) | State::Body(Partial { origin, .. }) => origin,
            State::Idle => return,
        };
        if let Origin::Deliver { consumer: waiting, .. } = origin
            && *waiting == Some(consumer)
        {
            *waiting = None;
        }
    }

    /// Takes a header frame; the message is whole when its body is empty.
    pub(super) fn on_header(
        &mut self,
        payload: &[u8],
        max_body: usize,
    ) -> Result<Option<(Origin, Message)>, Refusal> {
        let State::Header(origin) = core::mem::take(&mut self.state) else { return Err(Refusal::Unexpected) };
        let header = ContentHeader::read(payload).map_err(Refusal::Wire)?;
        if header.class_id != 60 {
            return Err(Refusal::Unexpected);
        }
        let size = usize::try_from(header.body_size).ok().filter(|size| *size <= max_body);
        let size = size.ok_or(Refusal::TooLarge(header.body_size))?;
        let large = header.body_size >= LARGE_BODY;
        let inline = if large { 0 } else { size };
        let mut block = Vec::with_capacity(self.names.len() + header.properties.len() + inline);
        block.extend_from_slice(&self.names);
        block.extend_from_slice(header.properties);
        let partial = Partial {
            origin,
            block,
            properties_len: u32::try_from(header.properties.len()).unwrap_or(u32::MAX),
            large: large.then(BytesMut::new),
            size: header.body_size,
            remaining: header.body_size,
        };
        if partial.remaining == 0 {
            return Ok(Some(self.finish(partial, None)));
        }
        self.state = State::Body(partial);
        Ok(None)
    }

    /// Whether a body frame of `len` bytes is all of a large body, to be handed over rather than copied.
    pub(super) fn takes_whole(&self, len: usize) -> bool {
        match &self.state {
            State::Body(Partial { large: Some(_), size, remaining, .. }) => {
                remaining == size && *size == len as u64
            }
            _ => false,
        }
    }

    /// Takes a body frame that [`takes_whole`](Assembler::takes_whole) was true for.
    pub(super) fn on_whole_body(&mut self, body: Bytes) -> Result<Option<(Origin, Message)>, Refusal> {
        match core::mem::take(&mut self.state) {
            State::Body(partial) => Ok(Some(self.finish(partial, Some(body)))),
            _ => Err(Refusal::Unexpected),
        }
    }

    /// Takes a body frame; an empty one is ignored.
    pub(super) fn on_body(&mut self, piece: &[u8]) -> Result<Option<(Origin, Message)>, Refusal> {
        if piece.is_empty() {
            return Ok(None);
        }
        let State::Body(partial) = &mut self.state else { return Err(Refusal::Unexpected) };
        let remaining = partial.remaining.checked_sub(piece.len() as u64).ok_or(Refusal::TooLong)?;
        match &mut partial.large {
            Some(body) => {
                if body.capacity() == 0 {
                    body.reserve(usize::try_from(partial.size).unwrap_or(usize::MAX)); // at most max_body
                }
                body.extend_from_slice(piece);
            }
            None => partial.block.extend_from_slice(piece),
        }
        partial.remaining = remaining;
        if remaining > 0 {
            return Ok(None);
        }
        match core::mem::take(&mut self.state) {
            State::Body(mut partial) => {
                let body = partial.large.take().map(BytesMut::freeze);
                Ok(Some(self.finish(partial, body)))
            }
            _ => Err(Refusal::Unexpected),
        }
    }

    fn finish(&self, partial: Partial, large_body: Option<Bytes>) -> (Origin, Message) {
        let message = Message {
            block: Bytes::from(partial.block),
            exchange_len: self.exchange_len,
            routing_key_len: self.routing_key_len,
            properties_len: partial.properties_len,
            large_body,
        };
        (partial.origin, message)
    }
}
