use std::collections::BTreeMap;

use hopmq_proto::amqp::{FRAME_HEADER_LEN, FrameHead, FrameKind, PROTOCOL_HEADER};

use super::{Packet, Stream, What};

/// A frame as far as tshark and we both see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) channel: u16,
    pub(super) payload_len: u32,
    /// The numbers of class and method.
    pub(super) method: Option<(u16, u16)>,
}

/// The whole frames of each stream.
pub(super) fn frames(packets: &[Packet]) -> BTreeMap<Stream, Vec<Frame>> {
    let mut streams = BTreeMap::<_, Vec<u8>>::new();
    for Packet { stream, what } in packets {
        let bytes = streams.entry(*stream).or_default();
        if let What::Data(data) = what {
            bytes.extend_from_slice(data);
        }
    }
    let frames = streams.into_iter().map(|(stream, bytes)| {
        let greeting: &[u8] = if stream.to_server { &PROTOCOL_HEADER } else { &[] };
        (stream, of_stream(bytes.strip_prefix(greeting).unwrap_or_default()))
    });
    frames.collect()
}

fn of_stream(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(head) = FrameHead::peek(bytes, usize::MAX).unwrap() {
        let payload = &bytes[FRAME_HEADER_LEN..][..head.payload_len];
        let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
        frames.push(Frame {
            kind: bytes[0],
            channel: head.channel,
            payload_len: head.payload_len.try_into().unwrap(),
            method: (head.kind == FrameKind::Method).then(|| (number(0), number(2))),
        });
        bytes = &bytes[head.frame_len()..];
    }
    frames
}
