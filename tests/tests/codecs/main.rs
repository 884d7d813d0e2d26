//! Our codec beside those of lapin (amq-protocol) and of pamqp, on generated frames: we encode, they decode and encode,
//! we decode. What they change or refuse is predicted exactly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod amq_protocol;
#[allow(dead_code)] // only the values are used here, not the damages
#[path = "../../../hopmq-proto/tests/codec/arbitrary.rs"]
mod arbitrary;
mod pamqp;
mod texts;

use bytes::BytesMut;
use hopmq_proto::amqp::{FrameHead, FrameKind, Method, Properties, write_frame, write_method};

const FRAME_MAX: usize = 1 << 20;
const CHANNEL: u16 = 7;
const BODY_SIZE: u64 = 1_000_000;

fn method_frame(method: &Method) -> Vec<u8> {
    let mut out = BytesMut::new();
    write_method(&mut out, CHANNEL, FRAME_MAX, method).unwrap();
    out.to_vec()
}

fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    write_frame(&mut out, kind, CHANNEL, FRAME_MAX, |out| {
        out.extend_from_slice(payload);
        Ok(())
    })
    .unwrap();
    out.to_vec()
}

fn header_frame(properties: &Properties) -> Vec<u8> {
    let mut payload = BytesMut::from(&[0, 60, 0, 0][..]);
    payload.extend_from_slice(&BODY_SIZE.to_be_bytes());
    properties.encode(&mut payload).unwrap();
    frame(FrameKind::Header, &payload)
}

/// The payload of a single whole frame.
fn payload(frame: &[u8], kind: FrameKind) -> &[u8] {
    let head = FrameHead::peek(frame, FRAME_MAX).unwrap().unwrap();
    assert_eq!((head.kind, head.channel, head.frame_len()), (kind, CHANNEL, frame.len()));
    &frame[7..frame.len() - 1]
}

fn read_method(frame: &[u8]) -> Method {
    Method::decode(payload(frame, FrameKind::Method)).unwrap()
}

fn read_header(frame: &[u8]) -> Properties {
    let payload = payload(frame, FrameKind::Header);
    assert_eq!(payload[..4], [0, 60, 0, 0]);
    assert_eq!(payload[4..12], BODY_SIZE.to_be_bytes());
    Properties::decode(&payload[12..]).unwrap()
}
