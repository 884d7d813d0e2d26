//! Messages: a method, a content header and the body, written as one and read without copying.
//!
//! These are the methods of the hot path, with borrowed strings; `spec.rs` declares the same methods with owned ones.

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::{FRAME_END, FRAME_MAX_SIZE, FRAME_OVERHEAD, FrameHead, FrameKind, write_frame};
use super::{Reader, WireError};
use crate::Outbox;

/// The class id of `basic`, the only class with content.
const BASIC: u16 = 60;
/// A body of this size or more is linked into the outbox; a smaller one is copied, which is cheaper.
const LINK_BODY_AT: usize = 4096;

/// `basic.publish` with borrowed strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Publish<'a> {
    /// The exchange; empty is the default exchange.
    pub exchange: &'a [u8],
    /// The routing key.
    pub routing_key: &'a [u8],
    /// Send the message back when no queue takes it.
    pub mandatory: bool,
    /// RabbitMQ refuses it.
    pub immediate: bool,
}

impl<'a> Publish<'a> {
    /// The class id and the method id.
    pub const ID: (u16, u16) = (BASIC, 40);

    /// Reads the arguments, behind the ids.
    ///
    /// # Errors
    ///
    /// When they are cut short, or something follows them.
    pub fn read(arguments: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(arguments);
        reader.short()?;
        let (exchange, routing_key) = (reader.short_bytes()?, reader.short_bytes()?);
        let (mandatory, immediate) = (reader.bit()?, reader.bit()?);
        reader.finish()?;
        Ok(Self { exchange, routing_key, mandatory, immediate })
    }
}

/// Appends the payload of a `basic.publish` method frame to `out`.
///
/// # Errors
///
/// [`WireError::ShortStrTooLong`] for an exchange or routing key of more than 255 bytes.
pub fn write_publish(out: &mut BytesMut, publish: &Publish<'_>) -> Result<(), WireError> {
    let (exchange, routing_key) = (short_len(publish.exchange)?, short_len(publish.routing_key)?);
    out.reserve(9 + publish.exchange.len() + publish.routing_key.len());
    out.put_slice(&[0, 60, 0, 40, 0, 0, exchange]);
    out.put_slice(publish.exchange);
    out.put_u8(routing_key);
    out.put_slice(publish.routing_key);
    out.put_u8(u8::from(publish.mandatory) | u8::from(publish.immediate) << 1);
    Ok(())
}

/// `basic.deliver` with borrowed strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deliver<'a> {
    /// The consumer's name.
    pub consumer_tag: &'a [u8],
    /// The number to acknowledge it with.
    pub delivery_tag: u64,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// The exchange it was published to.
    pub exchange: &'a [u8],
    /// The routing key it was published with.
    pub routing_key: &'a [u8],
}

impl<'a> Deliver<'a> {
    /// The class id and the method id.
    pub const ID: (u16, u16) = (BASIC, 60);

    /// Reads the arguments, behind the ids.
    ///
    /// # Errors
    ///
    /// When they are cut short, or something follows them.
    pub fn read(arguments: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(arguments);
        let deliver = Self {
            consumer_tag: reader.short_bytes()?,
            delivery_tag: reader.longlong()?,
            redelivered: reader.bit()?,
            exchange: reader.short_bytes()?,
            routing_key: reader.short_bytes()?,
        };
        reader.finish()?;
        Ok(deliver)
    }
}

/// Appends the payload of a `basic.deliver` method frame to `out`.
///
/// # Errors
///
/// [`WireError::ShortStrTooLong`] for a string of more than 255 bytes.
pub fn write_deliver(out: &mut BytesMut, deliver: &Deliver<'_>) -> Result<(), WireError> {
    let tag = short_len(deliver.consumer_tag)?;
    let (exchange, routing_key) = (short_len(deliver.exchange)?, short_len(deliver.routing_key)?);
    out.reserve(16 + deliver.consumer_tag.len() + deliver.exchange.len() + deliver.routing_key.len());
    out.put_slice(&[0, 60, 0, 60, tag]);
    out.put_slice(deliver.consumer_tag);
    out.put_u64(deliver.delivery_tag);
    out.put_slice(&[u8::from(deliver.redelivered), exchange]);
    out.put_slice(deliver.exchange);
    out.put_u8(routing_key);
    out.put_slice(deliver.routing_key);
    Ok(())
}

fn short_len(bytes: &[u8]) -> Result<u8, WireError> {
    u8::try_from(bytes.len()).map_err(|_| WireError::ShortStrTooLong(bytes.len()))
}

/// Appends a whole `basic.ack` frame to `out`.
pub fn write_ack(out: &mut BytesMut, channel: u16, delivery_tag: u64, multiple: bool) {
    let mut frame = *b"\x01\0\0\0\0\0\x0d\0\x3c\0\x50\0\0\0\0\0\0\0\0\0\xce";
    let [c1, c0] = channel.to_be_bytes();
    (frame[1], frame[2]) = (c1, c0);
    let [t7, t6, t5, t4, t3, t2, t1, t0] = delivery_tag.to_be_bytes();
    (frame[11], frame[12], frame[13], frame[14]) = (t7, t6, t5, t4);
    (frame[15], frame[16], frame[17], frame[18]) = (t3, t2, t1, t0);
    frame[19] = u8::from(multiple);
    out.put_slice(&frame);
}

/// The content header of a message, its properties still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the method before it.
    pub class_id: u16,
    /// The size of the body in bytes.
    pub body_size: u64,
    /// Property flags and values, for [`Properties::decode`](super::Properties::decode).
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Reads the payload of a header frame.
    ///
    /// # Errors
    ///
    /// When it is cut short. The properties are not looked at.
    pub fn read(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        let (class_id, _weight) = (reader.short()?, reader.short()?);
        Ok(Self { class_id, body_size: reader.longlong()?, properties: reader.rest() })
    }
}

/// Appends a whole message to `outbox`: the frames of `method`, of the content header and of the body.
///
/// Nothing can come between them. `properties` writes flags and values. A large body is linked, not copied.
///
/// # Errors
///
/// When the method or the properties cannot be encoded, or do not fit one frame. Then the outbox is as it was.
pub fn write_content(
    outbox: &mut Outbox,
    channel: u16,
    frame_max: usize,
    method: impl FnOnce(&mut BytesMut) -> Result<(), WireError>,
    properties: impl FnOnce(&mut BytesMut) -> Result<(), WireError>,
    body: &Bytes,
) -> Result<(), WireError> {
    let tail = outbox.tail();
    let start = tail.len();
    let result = write_frame(tail, FrameKind::Method, channel, frame_max, method).and_then(|()| {
        write_frame(tail, FrameKind::Header, channel, frame_max, |out| {
            out.put_slice(&[0, 60, 0, 0]);
            out.put_u64(body.len() as u64);
            properties(out)
        })
    });
    match result {
        Ok(()) => write_body(outbox, channel, frame_max, body),
        Err(_) => tail.truncate(start),
    }
    outbox.end_frame();
    result
}

pub(crate) fn write_body(outbox: &mut Outbox, channel: u16, frame_max: usize, body: &Bytes) {
    let piece = frame_max.min(FRAME_MAX_SIZE).saturating_sub(FRAME_OVERHEAD).max(1);
    let mut start = 0;
    while start < body.len() {
        let end = body.len().min(start + piece);
        let head = FrameHead { kind: FrameKind::Body, channel, payload_len: end - start }.to_bytes();
        outbox.tail().put_slice(&head);
        if end - start >= LINK_BODY_AT {
            outbox.link(body.slice(start..end));
            outbox.link(Bytes::from_static(&[FRAME_END]));
        } else {
            let tail = outbox.tail();
            tail.put_slice(body.get(start..end).unwrap_or_default());
            tail.put_u8(FRAME_END);
        }
        outbox.end_frame();
        start = end;
    }
}
