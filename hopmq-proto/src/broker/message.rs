use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};

use crate::Outbox;
use crate::amqp::{
    FRAME_END, FrameHead, FrameKind, Properties, ShortStr, WireError, write_body, write_frame,
};

/// A body of this size or more is kept as the slice of input that it came in; a smaller one is copied, so that it
/// does not pin the block it came in.
pub(super) const KEEP_BODY_AT: usize = 4096;

/// A message, stored once however many queues it is in.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) exchange: ShortStr,
    /// Routing key, then the properties as they came, then the body if it is small: one allocation.
    head: Box<[u8]>,
    key_len: u8,
    properties_end: usize,
    /// The body if it is large.
    large: Bytes,
}

/// A body on its way in.
#[derive(Debug)]
pub(super) enum Body<'a> {
    /// To be copied.
    Borrowed(&'a [u8]),
    /// To be kept.
    Owned(Bytes),
}

impl Body<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Body::Borrowed(bytes) => bytes.len(),
            Body::Owned(bytes) => bytes.len(),
        }
    }
}

impl Message {
    pub(super) fn new(exchange: ShortStr, routing_key: &[u8], properties: &[u8], body: Body<'_>) -> Self {
        let small = match &body {
            Body::Borrowed(bytes) => bytes,
            Body::Owned(bytes) if bytes.len() < KEEP_BODY_AT => &bytes[..],
            Body::Owned(_) => &[],
        };
        let mut head = Vec::with_capacity(routing_key.len() + properties.len() + small.len());
        head.extend_from_slice(routing_key);
        head.extend_from_slice(properties);
        let properties_end = head.len();
        head.extend_from_slice(small);
        let large = match body {
            Body::Owned(bytes) if bytes.len() >= KEEP_BODY_AT => bytes,
            _ => Bytes::new(),
        };
        // A routing key comes out of a short string, so its length fits.
        let key_len = u8::try_from(routing_key.len()).unwrap_or(u8::MAX);
        Self { exchange, head: head.into_boxed_slice(), key_len, properties_end, large }
    }

    pub(super) fn routing_key(&self) -> &[u8] {
        self.head.get(..self.key_len.into()).unwrap_or_default()
    }

    fn properties(&self) -> &[u8] {
        self.head.get(self.key_len.into()..self.properties_end).unwrap_or_default()
    }

    /// Whether it outlives the broker, in a durable queue.
    pub(super) fn is_persistent(&self) -> bool {
        Properties::decode(self.properties()).is_ok_and(|properties| properties.delivery_mode == Some(2))
    }

    fn small_body(&self) -> &[u8] {
        self.head.get(self.properties_end..).unwrap_or_default()
    }

    /// Appends `method` and this message's content to `outbox`, with nothing in between.
    ///
    /// The header is sent even when it is larger than the receiver's frame-max, as RabbitMQ does: it cannot be split,
    /// and the receiver allows for it or closes.
    pub(super) fn write(
        &self,
        outbox: &mut Outbox,
        channel: u16,
        frame_max: usize,
        method: impl FnOnce(&mut BytesMut) -> Result<(), WireError>,
    ) {
        let small = self.small_body();
        let tail = outbox.tail();
        tail.reserve(self.head.len() + 600);
        let start = tail.len();
        let body_len = small.len() + self.large.len();
        let result = write_frame(tail, FrameKind::Method, channel, usize::MAX, method).and_then(|()| {
            write_frame(tail, FrameKind::Header, channel, usize::MAX, |out| {
                out.put_slice(&[0, 60, 0, 0]);
                out.put_u64(body_len as u64);
                out.put_slice(self.properties());
                Ok(())
            })
        });
        if result.is_err() {
            // Cannot happen: every string in the method came out of a short string.
            tail.truncate(start);
        } else if small.is_empty() {
            write_body(outbox, channel, frame_max, &self.large);
        } else {
            let piece = frame_max.saturating_sub(crate::amqp::FRAME_OVERHEAD).max(1);
            for part in small.chunks(piece) {
                let head = FrameHead { kind: FrameKind::Body, channel, payload_len: part.len() };
                tail.put_slice(&head.to_bytes());
                tail.put_slice(part);
                tail.put_u8(FRAME_END);
            }
        }
        outbox.end_frame();
    }
}
