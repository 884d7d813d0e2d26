use bytes::{Buf, BytesMut};
use hopmq_proto::amqp::{
    FRAME_END, FRAME_HEADER_LEN, FRAME_OVERHEAD, FrameHead, FrameKind, Method, WireError, queue, write_frame,
    write_method,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::arbitrary::{arb, damaged, damages};

const KINDS: [FrameKind; 4] = [FrameKind::Method, FrameKind::Header, FrameKind::Body, FrameKind::Heartbeat];

type Frame = (FrameKind, u16, Vec<u8>);

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    vec((select(KINDS.to_vec()), any::<u16>(), vec(any::<u8>(), 0..40)), 0..8)
}

fn write(frames: &[Frame]) -> BytesMut {
    let mut out = BytesMut::new();
    for (kind, channel, payload) in frames {
        let payload = |out: &mut BytesMut| {
            out.extend_from_slice(payload);
            Ok(())
        };
        write_frame(&mut out, *kind, *channel, 4096, payload).unwrap();
    }
    out
}

/// Takes every whole frame out of `input`, as an engine does.
fn take(input: &mut BytesMut, frame_max: usize) -> Result<Vec<Frame>, WireError> {
    let mut frames = Vec::new();
    while let Some(head) = FrameHead::peek(input, frame_max)? {
        let frame = input.split_to(head.frame_len());
        frames.push((head.kind, head.channel, frame[FRAME_HEADER_LEN..][..head.payload_len].to_vec()));
    }
    Ok(frames)
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_frames(sent in frames(), sizes in vec(0..30usize, 1..20)) {
        let mut bytes = write(&sent);
        let (mut input, mut received) = (BytesMut::new(), Vec::new());
        for size in sizes.into_iter().chain([usize::MAX]) {
            input.extend_from_slice(&bytes.split_to(size.min(bytes.len())));
            received.extend(take(&mut input, 4096).unwrap());
        }
        prop_assert_eq!(received, sent);
        prop_assert!(input.is_empty());
    }

    #[test]
    fn a_frame_is_not_seen_before_its_last_octet(sent in frames()) {
        let mut bytes = write(&sent);
        while bytes.has_remaining() {
            let head = FrameHead::peek(&bytes, 4096).unwrap().unwrap();
            for end in 0..head.frame_len() {
                prop_assert_eq!(FrameHead::peek(&bytes[..end], 4096), Ok(None));
            }
            prop_assert_eq!(&head.to_bytes(), &bytes[..FRAME_HEADER_LEN]);
            prop_assert_eq!(FrameHead::from_bytes(head.to_bytes()), Ok(head));
            bytes.advance(head.frame_len());
        }
    }

    #[test]
    fn a_damaged_stream_is_refused_or_written_again(
        sent in frames(),
        damages in damages(),
        frame_max in prop_oneof![Just(8), Just(20), Just(usize::MAX)],
    ) {
        let bytes = damaged(&write(&sent), &damages);
        let mut input = BytesMut::from(&*bytes);
        let mut read = Vec::new();
        while let Ok(Some(head)) = FrameHead::peek(&input, frame_max) {
            let frame = input.split_to(head.frame_len());
            prop_assert!(frame.len() <= frame_max);
            read.push((head.kind, head.channel, frame[FRAME_HEADER_LEN..][..head.payload_len].to_vec()));
        }
        prop_assert!(bytes.starts_with(&write(&read)));
    }

    #[test]
    fn a_method_frame_holds_the_method(method in arb::<Method>(), channel: u16) {
        let mut out = BytesMut::new();
        write_method(&mut out, channel, usize::MAX, &method).unwrap();
        let frames = take(&mut out, usize::MAX).unwrap();
        let [(FrameKind::Method, on, payload)] = &*frames else { panic!("{frames:?}") };
        prop_assert_eq!(*on, channel);
        prop_assert_eq!(Method::decode(payload), Ok(method));
    }

    #[test]
    fn trap_08_a_method_that_does_not_fit_is_refused_before_it_is_sent(method in arb::<Method>()) {
        let mut whole = BytesMut::new();
        write_method(&mut whole, 1, usize::MAX, &method).unwrap();
        let mut out = BytesMut::from("before");
        prop_assert_eq!(write_method(&mut out, 1, whole.len(), &method), Ok(()));
        prop_assert_eq!(&out[6..], &whole);

        let mut out = BytesMut::from("before");
        let fault = WireError::FrameTooLarge { size: whole.len(), max: whole.len() - 1 };
        prop_assert_eq!(write_method(&mut out, 1, whole.len() - 1, &method), Err(fault));
        prop_assert_eq!(out, "before");
    }
}

#[test]
fn trap_05_frame_max_counts_the_eight_octets_around_the_payload() {
    assert_eq!(FRAME_OVERHEAD, 8);
    for payload_len in [0, 1, 100, 4088] {
        let bytes = write(&[(FrameKind::Body, 1, vec![7; payload_len])]);
        let size = payload_len + FRAME_OVERHEAD;
        assert_eq!(bytes.len(), size);
        let head = FrameHead { kind: FrameKind::Body, channel: 1, payload_len };
        assert_eq!(FrameHead::peek(&bytes, size), Ok(Some(head)));
        if payload_len > 0 {
            let fault = Err(WireError::FrameTooLarge { size, max: size - 1 });
            assert_eq!(FrameHead::peek(&bytes, size - 1), fault);
            // Seven octets are enough to know, so the payload is never awaited.
            assert_eq!(FrameHead::peek(&bytes[..FRAME_HEADER_LEN], size - 1), fault);
        }
    }
}

#[test]
fn trap_06_the_largest_size_is_neither_awaited_nor_allocated() {
    let head = [3, 0, 1, 0xff, 0xff, 0xff, 0xff];
    let fault = WireError::FrameTooLarge { size: u32::MAX as usize + 8, max: 131_072 };
    assert_eq!(FrameHead::peek(&head, 131_072), Err(fault));
    assert_eq!(FrameHead::peek(&head, usize::MAX), Ok(None));
}

#[test]
fn trap_12_a_heartbeat_has_type_8_and_not_4() {
    assert_eq!(FrameHead::peek(&[4, 0, 0, 0, 0, 0, 0, FRAME_END], 4096), Err(WireError::UnknownFrameType(4)));
    for octet in 0..=255 {
        let known = matches!(octet, 1 | 2 | 3 | 8);
        assert_eq!(FrameHead::peek(&[octet], 4096) == Err(WireError::UnknownFrameType(octet)), !known);
    }
}

#[test]
fn a_frame_that_does_not_end_is_refused() {
    for octet in (0..=255).filter(|octet| *octet != FRAME_END) {
        let bytes = [1, 0, 0, 0, 0, 0, 1, FRAME_END, octet];
        assert_eq!(FrameHead::peek(&bytes, 4096), Err(WireError::BadFrameEnd(octet)));
    }
}

#[test]
fn a_payload_that_cannot_be_written_leaves_nothing() {
    let mut out = BytesMut::from("before");
    let result = write_frame(&mut out, FrameKind::Header, 1, 4096, |out| {
        out.extend_from_slice(b"half");
        Err(WireError::TableTooDeep)
    });
    assert_eq!(result, Err(WireError::TableTooDeep));
    assert_eq!(out, "before");
    write_method(&mut out, 1, 4096, &queue::BindOk {}.into()).unwrap();
    assert_eq!(&out[..], b"before\x01\x00\x01\x00\x00\x00\x04\x00\x32\x00\x15\xce");
}
