use bytes::{Bytes, BytesMut};

use crate::amqp::{FRAME_HEADER_LEN, FrameHead, FrameKind, Publish, ReplyCode, ShortStr};

use super::fault::Fault;
use super::message::{Body, KEEP_BODY_AT};

/// At most so much is reserved for a body before any of it has come.
const RESERVE_AT_MOST: usize = 1024 * 1024;

/// A message whose frames come one by one, between its method and the end of its body.
#[derive(Debug, Default)]
pub(super) enum Content {
    #[default]
    None,
    /// The method has come, its header has not.
    Header(Pending),
    /// The header has come, and some of the body.
    Body(Gathering),
}

/// `basic.publish`, owned.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    exchange: ShortStr,
    routing_key: ShortStr,
    mandatory: bool,
    immediate: bool,
}

impl Pending {
    pub(super) fn new(publish: &Publish<'_>) -> Self {
        Self {
            exchange: ShortStr::copy(publish.exchange),
            routing_key: ShortStr::copy(publish.routing_key),
            mandatory: publish.mandatory,
            immediate: publish.immediate,
        }
    }

    pub(super) fn as_publish(&self) -> Publish<'_> {
        Publish {
            exchange: self.exchange.as_bytes(),
            routing_key: self.routing_key.as_bytes(),
            mandatory: self.mandatory,
            immediate: self.immediate,
        }
    }
}

/// A body that grows.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) publish: Pending,
    pub(super) properties: Bytes,
    missing: u64,
    body: Gathered,
}

#[derive(Debug)]
enum Gathered {
    Nothing,
    Whole(Bytes),
    Parts(BytesMut),
}

impl Gathering {
    pub(super) fn new(publish: Pending, properties: &[u8], size: u64) -> Self {
        Self {
            publish,
            properties: Bytes::copy_from_slice(properties),
            missing: size,
            body: Gathered::Nothing,
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// Adds a part. `part` takes the bytes out of the input when they are worth keeping.
    pub(super) fn add(&mut self, frame: Bytes) -> Result<(), Fault> {
        let size = frame.len() as u64;
        if size > self.missing {
            return Err(Fault::new(
                ReplyCode::FRAME_ERROR,
                "content body frame exceeds remaining content size",
            )
            .on(Publish::ID));
        }
        let missing = usize::try_from(self.missing).unwrap_or(usize::MAX);
        self.missing -= size;
        match &mut self.body {
            Gathered::Nothing if self.missing == 0 && frame.len() >= KEEP_BODY_AT => {
                self.body = Gathered::Whole(frame);
            }
            Gathered::Nothing => {
                let mut parts = BytesMut::with_capacity(missing.min(RESERVE_AT_MOST));
                parts.extend_from_slice(&frame);
                self.body = Gathered::Parts(parts);
            }
            Gathered::Parts(parts) => parts.extend_from_slice(&frame),
            Gathered::Whole(_) => {}
        }
        Ok(())
    }

    pub(super) fn into_parts(self) -> (Pending, Bytes, Body<'static>) {
        let body = match self.body {
            Gathered::Nothing => Bytes::new(),
            Gathered::Whole(body) => body,
            Gathered::Parts(parts) => parts.freeze(),
        };
        (self.publish, self.properties, Body::Owned(body))
    }
}

/// Where the parts of a whole message lie at the front of the input: the usual case, in which nothing need be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    pub(super) header: (usize, usize),
    pub(super) body: (usize, usize),
    pub(super) len: usize,
}

impl Whole {
    /// Looks for the header and the only body frame of a message behind its method frame.
    ///
    /// `None` when they are not all there, or are not as expected: then they are taken one by one.
    pub(super) fn find(input: &[u8], method: FrameHead, frame_max: usize, max_body: u64) -> Option<Self> {
        let at = method.frame_len();
        let header = FrameHead::peek(input.get(at..)?, frame_max).ok()??;
        if header.kind != FrameKind::Header || header.channel != method.channel {
            return None;
        }
        let range = (at + FRAME_HEADER_LEN, at + FRAME_HEADER_LEN + header.payload_len);
        let content = crate::amqp::ContentHeader::read(input.get(range.0..range.1)?).ok()?;
        if content.class_id != Publish::ID.0 || content.body_size > max_body {
            return None;
        }
        let at = at + header.frame_len();
        if content.body_size == 0 {
            return Some(Self { header: range, body: (at, at), len: at });
        }
        let body = FrameHead::peek(input.get(at..)?, frame_max).ok()??;
        let fits = body.kind == FrameKind::Body
            && body.channel == method.channel
            && body.payload_len as u64 == content.body_size;
        fits.then(|| Self {
            header: range,
            body: (at + FRAME_HEADER_LEN, at + FRAME_HEADER_LEN + body.payload_len),
            len: at + body.frame_len(),
        })
    }
}
