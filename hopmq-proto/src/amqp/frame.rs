use bytes::{BufMut, BytesMut};

use super::{Method, WireError};

/// The first bytes a client sends: "AMQP", 0, and the version.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";
/// Bytes before the payload of a frame: type, channel, size.
pub const FRAME_HEADER_LEN: usize = 7;
/// Bytes around the payload of a frame: the header and the end octet.
pub const FRAME_OVERHEAD: usize = FRAME_HEADER_LEN + 1;
/// The octet that ends each frame.
pub const FRAME_END: u8 = 0xCE;
/// The frame-max that every peer accepts, and the limit before tuning: RabbitMQ's since 4.1 (the specification's is 4096).
pub const FRAME_MIN_SIZE: usize = 8192;

/// The largest frame that is ever written: frame-max has 32 bits.
pub(super) const FRAME_MAX_SIZE: usize = u32::MAX as usize;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// A method.
    Method,
    /// The properties of a message, and the size of its body.
    Header,
    /// A piece of a body.
    Body,
    /// A sign of life.
    Heartbeat,
}

impl FrameKind {
    const fn octet(self) -> u8 {
        match self {
            Self::Method => 1,
            Self::Header => 2,
            Self::Body => 3,
            Self::Heartbeat => 8,
        }
    }

    const fn from_octet(octet: u8) -> Result<Self, WireError> {
        Ok(match octet {
            1 => Self::Method,
            2 => Self::Header,
            3 => Self::Body,
            8 => Self::Heartbeat,
            other => return Err(WireError::UnknownFrameType(other)),
        })
    }
}

/// A frame at the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// What it carries.
    pub kind: FrameKind,
    /// The channel it belongs to; 0 is the connection.
    pub channel: u16,
    /// The size of its payload in bytes.
    pub payload_len: usize,
}

impl FrameHead {
    /// Looks at the frame at the front of `input`: `None` until all of it is there.
    ///
    /// The payload is then `input[FRAME_HEADER_LEN..][..payload_len]`. A frame that cannot be valid is reported as
    /// soon as its first seven bytes show it, so no more than `frame_max` bytes are ever awaited.
    ///
    /// # Errors
    ///
    /// For an unknown type, a size above `frame_max` (overhead included), or a wrong end octet.
    pub fn peek(input: &[u8], frame_max: usize) -> Result<Option<Self>, WireError> {
        let Some(&first) = input.first_chunk::<FRAME_HEADER_LEN>() else {
            return input.first().map_or(Ok(None), |octet| FrameKind::from_octet(*octet).map(|_| None));
        };
        let head = Self::from_bytes(first)?;
        let payload_len = head.payload_len;
        if payload_len > frame_max.saturating_sub(FRAME_OVERHEAD) {
            return Err(WireError::FrameTooLarge {
                size: payload_len.saturating_add(FRAME_OVERHEAD),
                max: frame_max,
            });
        }
        match input.get(FRAME_HEADER_LEN + payload_len) {
            None => Ok(None),
            Some(&FRAME_END) => Ok(Some(head)),
            Some(&other) => Err(WireError::BadFrameEnd(other)),
        }
    }

    /// Reads the first seven bytes of a frame of any size, for who counts what follows them and keeps no frame.
    ///
    /// # Errors
    ///
    /// For an unknown type.
    pub const fn from_bytes(first: [u8; FRAME_HEADER_LEN]) -> Result<Self, WireError> {
        let [octet, c1, c0, s3, s2, s1, s0] = first;
        match FrameKind::from_octet(octet) {
            Ok(kind) => {
                let payload_len = u32::from_be_bytes([s3, s2, s1, s0]) as usize;
                Ok(Self { kind, channel: u16::from_be_bytes([c1, c0]), payload_len })
            }
            Err(fault) => Err(fault),
        }
    }

    /// The size of the whole frame in bytes.
    #[must_use]
    pub const fn frame_len(&self) -> usize {
        self.payload_len + FRAME_OVERHEAD
    }

    /// The first seven bytes of the frame.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // FRAME_MAX_SIZE, a u32, bounds every frame that is written
    pub const fn to_bytes(&self) -> [u8; FRAME_HEADER_LEN] {
        let [c1, c0] = self.channel.to_be_bytes();
        let [s3, s2, s1, s0] = (self.payload_len as u32).to_be_bytes();
        [self.kind.octet(), c1, c0, s3, s2, s1, s0]
    }
}

/// The heartbeat frame: type 8 (not 4, as the specification prints it), channel 0, no payload.
pub const HEARTBEAT_FRAME: [u8; FRAME_OVERHEAD] = [8, 0, 0, 0, 0, 0, 0, FRAME_END];

/// Appends a frame of at most `frame_max` bytes, whose payload `payload` writes, to `out`.
///
/// # Errors
///
/// What `payload` returns, or [`WireError::FrameTooLarge`]. Then `out` is as it was.
pub fn write_frame(
    out: &mut BytesMut,
    kind: FrameKind,
    channel: u16,
    frame_max: usize,
    payload: impl FnOnce(&mut BytesMut) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let start = out.len();
    out.put_bytes(0, FRAME_HEADER_LEN);
    let result = payload(out).and_then(|()| {
        let payload_len = out.len() - start - FRAME_HEADER_LEN;
        let head = FrameHead { kind, channel, payload_len };
        let max = frame_max.min(FRAME_MAX_SIZE);
        if head.frame_len() > max {
            return Err(WireError::FrameTooLarge { size: head.frame_len(), max });
        }
        if let Some(space) = out.get_mut(start..start + FRAME_HEADER_LEN) {
            space.copy_from_slice(&head.to_bytes());
        }
        out.put_u8(FRAME_END);
        Ok(())
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Appends a method frame to `out`. See [`write_frame`].
///
/// # Errors
///
/// When an argument cannot be encoded or the frame would be too large. Then `out` is as it was.
pub fn write_method(
    out: &mut BytesMut,
    channel: u16,
    frame_max: usize,
    method: &Method,
) -> Result<(), WireError> {
    write_frame(out, FrameKind::Method, channel, frame_max, |out| method.encode(out))
}
