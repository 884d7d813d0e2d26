//! Frames out of bytes, and what of them may be rearranged.

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use hopmq_proto::amqp::{FRAME_END, FRAME_HEADER_LEN, FrameHead, FrameKind, PROTOCOL_HEADER};
use hopmq_sim::Random;

/// Class and method of some methods.
pub(super) const CONNECTION_OPEN_OK: [u16; 2] = [10, 41];
pub(super) const CONNECTION_CLOSE: [u16; 2] = [10, 50];
pub(super) const CONNECTION_CLOSE_OK: [u16; 2] = [10, 51];
pub(super) const CONNECTION_BLOCKED: [u16; 2] = [10, 60];
pub(super) const CONNECTION_UNBLOCKED: [u16; 2] = [10, 61];
pub(super) const CHANNEL_OPEN_OK: [u16; 2] = [20, 11];
pub(super) const CONFIRM_SELECT_OK: [u16; 2] = [85, 11];
pub(super) const BASIC_ACK: [u16; 2] = [60, 80];
pub(super) const BASIC_NACK: [u16; 2] = [60, 120];

/// A whole frame, or what is none.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    pub(super) channel: u16,
    pub(super) payload: Bytes,
}

impl Frame {
    pub(super) fn method(channel: u16, [class, method]: [u16; 2], arguments: &[u8]) -> Self {
        let mut payload = BytesMut::new();
        payload.put_u16(class);
        payload.put_u16(method);
        payload.put_slice(arguments);
        Self { kind: FrameKind::Method, channel, payload: payload.freeze() }
    }

    pub(super) const fn heartbeat() -> Self {
        Self { kind: FrameKind::Heartbeat, channel: 0, payload: Bytes::new() }
    }

    /// Class and method, if it is one.
    pub(super) fn id(&self) -> Option<[u16; 2]> {
        let [a, b, c, d] = *self.payload.first_chunk()?;
        (self.kind == FrameKind::Method).then(|| [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])])
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        let head = FrameHead { kind: self.kind, channel: self.channel, payload_len: self.payload.len() };
        out.put_slice(&head.to_bytes());
        out.put_slice(&self.payload);
        out.put_u8(FRAME_END);
    }

    /// The same body in two pieces, if it has any.
    pub(super) fn split(mut self, random: &mut Random) -> (Option<Self>, Self) {
        if self.kind != FrameKind::Body || self.payload.len() < 2 {
            return (None, self);
        }
        let at = random.between(1, self.payload.len() as u64 - 1) as usize;
        let first = Self { payload: self.payload.split_to(at), ..self };
        (Some(first), self)
    }
}

/// Takes whole frames from the front, and a protocol header as it is.
pub(super) fn take(input: &mut BytesMut, header: &mut BytesMut) -> Vec<Frame> {
    let mut frames = Vec::new();
    if input.starts_with(&PROTOCOL_HEADER) {
        header.extend_from_slice(&input.split_to(PROTOCOL_HEADER.len()));
    }
    while let Ok(Some(head)) = FrameHead::peek(input, usize::MAX) {
        let mut frame = input.split_to(head.frame_len()).freeze();
        let payload = frame.split_off(FRAME_HEADER_LEN).slice(..head.payload_len);
        frames.push(Frame { kind: head.kind, channel: head.channel, payload });
    }
    frames
}

/// Lets frames of different channels overtake each other. Those of one channel stay in their order, and what concerns
/// the connection stays where it is.
pub(super) fn interleave(frames: Vec<Frame>, random: &mut Random) -> Vec<Frame> {
    let mut out = Vec::with_capacity(frames.len());
    let mut channels: BTreeMap<u16, VecDeque<Frame>> = BTreeMap::new();
    for frame in frames {
        if frame.channel == 0 && frame.kind == FrameKind::Method {
            drain(&mut channels, &mut out, random);
            out.push(frame);
        } else {
            channels.entry(frame.channel).or_default().push_back(frame);
        }
    }
    drain(&mut channels, &mut out, random);
    out
}

fn drain(channels: &mut BTreeMap<u16, VecDeque<Frame>>, out: &mut Vec<Frame>, random: &mut Random) {
    while !channels.is_empty() {
        let nth = random.below(channels.len() as u64) as usize;
        let Some((&channel, queue)) = channels.iter_mut().nth(nth) else { return };
        out.extend(queue.pop_front());
        if queue.is_empty() {
            channels.remove(&channel);
        }
    }
}
