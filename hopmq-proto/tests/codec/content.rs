use bytes::{Bytes, BytesMut};
use hopmq_proto::Outbox;
use hopmq_proto::amqp::{
    ContentHeader, Deliver, FRAME_HEADER_LEN, FieldTable, FrameHead, FrameKind, Method, Properties, Publish,
    WireError, basic, write_ack, write_content, write_deliver, write_method, write_publish,
};
use proptest::prelude::*;

use crate::arbitrary::{Arb, arb, damaged, damages};

const FRAME_MAX: usize = 4096;
const PUBLISH: Publish<'_> =
    Publish { exchange: b"exchange", routing_key: b"key", mandatory: true, immediate: false };

fn content(
    outbox: &mut Outbox,
    frame_max: usize,
    properties: &Properties,
    body: &Bytes,
) -> Result<(), WireError> {
    write_content(
        outbox,
        7,
        frame_max,
        |out| write_publish(out, &PUBLISH),
        |out| properties.encode(out),
        body,
    )
}

fn bytes(outbox: &Outbox) -> Vec<u8> {
    outbox.chunks().flatten().copied().collect()
}

fn frames(mut bytes: &[u8], frame_max: usize) -> Vec<(FrameHead, &[u8])> {
    let mut frames = Vec::new();
    while let Some(head) = FrameHead::peek(bytes, frame_max).unwrap() {
        let (frame, rest) = bytes.split_at(head.frame_len());
        frames.push((head, &frame[FRAME_HEADER_LEN..][..head.payload_len]));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame");
    frames
}

/// Checks that `outbox` holds one message with this body, and returns the sizes of the pieces.
fn pieces(outbox: &Outbox, frame_max: usize, properties: &Properties, body: &[u8]) -> Vec<usize> {
    let bytes = bytes(outbox);
    let frames = frames(&bytes, frame_max);
    assert!(frames.iter().all(|(head, _)| head.channel == 7));
    let [(method, arguments), (header, content), pieces @ ..] = &*frames else { panic!("{frames:?}") };

    assert_eq!((method.kind, header.kind), (FrameKind::Method, FrameKind::Header));
    assert_eq!(Publish::read(&arguments[4..]), Ok(PUBLISH));
    let content = ContentHeader::read(content).unwrap();
    assert_eq!((content.class_id, content.body_size), (60, body.len() as u64));
    assert_eq!(Properties::decode(content.properties).as_ref(), Ok(properties));

    assert!(pieces.iter().all(|(head, piece)| head.kind == FrameKind::Body && !piece.is_empty()));
    assert_eq!(pieces.iter().flat_map(|(_, piece)| *piece).copied().collect::<Vec<_>>(), body);
    pieces.iter().map(|(head, _)| head.payload_len).collect()
}

fn pattern(len: usize) -> Bytes {
    (0..=250u8).cycle().take(len).collect::<Vec<_>>().into()
}

#[test]
fn trap_05_a_body_is_cut_into_pieces_of_frame_max_less_8() {
    for frame_max in [4096, 8192, 131_072] {
        let piece = frame_max - 8;
        let cases = [
            (1, vec![1]),
            (piece - 1, vec![piece - 1]),
            (piece, vec![piece]),
            (piece + 1, vec![piece, 1]),
            (2 * piece, vec![piece, piece]),
            (3 * piece + 5, vec![piece, piece, piece, 5]),
        ];
        for (len, expected) in cases {
            let (mut outbox, body) = (Outbox::new(), pattern(len));
            content(&mut outbox, frame_max, &Properties::new(), &body).unwrap();
            assert_eq!(pieces(&outbox, frame_max, &Properties::new(), &body), expected);
        }
    }
}

#[test]
fn trap_18_an_empty_body_has_no_frame() {
    let mut outbox = Outbox::new();
    content(&mut outbox, FRAME_MAX, &Properties::new(), &Bytes::new()).unwrap();
    assert!(pieces(&outbox, FRAME_MAX, &Properties::new(), &[]).is_empty());
}

#[test]
fn trap_08_a_message_whose_header_does_not_fit_is_refused_whole() {
    let mut outbox = Outbox::new();
    content(&mut outbox, FRAME_MAX, &Properties::new(), &pattern(5000)).unwrap();
    outbox.tail().extend_from_slice(b"a frame");
    outbox.end_frame();
    let before = bytes(&outbox);

    let large = Properties::new().with_headers(FieldTable::new().with("large", "x".repeat(FRAME_MAX)));
    let fault = content(&mut outbox, FRAME_MAX, &large, &pattern(10)).unwrap_err();
    assert!(matches!(fault, WireError::FrameTooLarge { max: FRAME_MAX, .. }), "{fault}");
    assert_eq!(bytes(&outbox), before);
    content(&mut outbox, FRAME_MAX + 200, &large, &pattern(10)).unwrap();
}

#[test]
fn a_large_body_is_not_copied() {
    let (mut outbox, body) = (Outbox::new(), pattern(100_000));
    content(&mut outbox, 131_072, &Properties::new(), &body).unwrap();
    assert!(outbox.chunks().any(|chunk| chunk.as_ptr() == body.as_ptr() && chunk.len() == body.len()));
    assert_eq!(pieces(&outbox, 131_072, &Properties::new(), &body), [100_000]);
}

#[test]
fn small_messages_are_one_chunk() {
    let mut outbox = Outbox::new();
    for _ in 0..100 {
        content(&mut outbox, FRAME_MAX, &Properties::new(), &pattern(20)).unwrap();
    }
    assert_eq!(outbox.chunks().count(), 1);
}

fn method_bytes(method: &Method) -> BytesMut {
    let mut out = BytesMut::new();
    method.encode(&mut out).unwrap();
    out
}

proptest! {
    #[test]
    fn a_message_is_reassembled(
        properties in arb::<Properties>(),
        body_len in 0..40_000usize,
        frame_max in prop_oneof![Just(8192usize), 8192..20_000usize],
        first_len in 0..3000usize,
    ) {
        prop_assume!({
            let mut out = BytesMut::new();
            properties.encode(&mut out).unwrap();
            out.len() < 8000
        });
        let (mut outbox, body) = (Outbox::new(), pattern(body_len));
        content(&mut outbox, frame_max, &Properties::new(), &pattern(first_len)).unwrap();
        let before = outbox.len();
        content(&mut outbox, frame_max, &properties, &body).unwrap();
        outbox.consume(before);
        pieces(&outbox, frame_max, &properties, &body);
    }

    #[test]
    fn the_borrowed_publish_is_the_declared_one(owned in publish()) {
        let borrowed = Publish {
            exchange: owned.exchange.as_bytes(),
            routing_key: owned.routing_key.as_bytes(),
            mandatory: owned.mandatory,
            immediate: owned.immediate,
        };
        let mut out = BytesMut::new();
        write_publish(&mut out, &borrowed).unwrap();
        prop_assert_eq!(&out, &method_bytes(&owned.clone().into()));
        prop_assert_eq!(Publish::read(&out[4..]), Ok(borrowed));
        prop_assert_eq!(Method::from(owned).id(), Publish::ID);
        for end in 4..out.len() {
            prop_assert_eq!(Publish::read(&out[4..end]), Err(WireError::Truncated));
        }
    }

    #[test]
    fn the_borrowed_deliver_is_the_declared_one(owned in deliver()) {
        let borrowed = Deliver {
            consumer_tag: owned.consumer_tag.as_bytes(),
            delivery_tag: owned.delivery_tag,
            redelivered: owned.redelivered,
            exchange: owned.exchange.as_bytes(),
            routing_key: owned.routing_key.as_bytes(),
        };
        let mut out = BytesMut::new();
        write_deliver(&mut out, &borrowed).unwrap();
        prop_assert_eq!(&out, &method_bytes(&owned.clone().into()));
        prop_assert_eq!(Deliver::read(&out[4..]), Ok(borrowed));
        prop_assert_eq!(Method::from(owned).id(), Deliver::ID);
        for end in 4..out.len() {
            prop_assert_eq!(Deliver::read(&out[4..end]), Err(WireError::Truncated));
        }
    }

    #[test]
    fn damaged_borrowed_methods_are_what_the_declared_ones_are(
        publish in publish(),
        deliver in deliver(),
        damages in damages(),
    ) {
        let bytes = damaged(&method_bytes(&publish.into())[4..], &damages);
        let declared = Method::decode(&[&[0, 60, 0, 40], &*bytes].concat());
        prop_assert_eq!(Publish::read(&bytes).err(), declared.err());
        let bytes = damaged(&method_bytes(&deliver.into())[4..], &damages);
        let declared = Method::decode(&[&[0, 60, 0, 60], &*bytes].concat());
        prop_assert_eq!(Deliver::read(&bytes).err(), declared.err());
    }

    #[test]
    fn the_fast_ack_is_the_declared_one(channel: u16, delivery_tag: u64, multiple: bool) {
        let (mut fast, mut declared) = (BytesMut::new(), BytesMut::new());
        write_ack(&mut fast, channel, delivery_tag, multiple);
        write_method(&mut declared, channel, FRAME_MAX, &basic::Ack { delivery_tag, multiple }.into()).unwrap();
        prop_assert_eq!(fast, declared);
    }

    #[test]
    fn a_content_header_that_is_cut_is_truncated(body_size: u64, properties in arb::<Properties>()) {
        let mut payload = BytesMut::from(&b"\x00\x3c\x00\x00"[..]);
        payload.extend_from_slice(&body_size.to_be_bytes());
        properties.encode(&mut payload).unwrap();
        let header = ContentHeader { class_id: 60, body_size, properties: &payload[12..] };
        prop_assert_eq!(ContentHeader::read(&payload), Ok(header));
        for end in 0..12 {
            prop_assert_eq!(ContentHeader::read(&payload[..end]), Err(WireError::Truncated));
        }
    }
}

fn publish() -> impl Strategy<Value = basic::Publish> {
    (arb(), arb(), bool::arb(), bool::arb()).prop_map(|(exchange, routing_key, mandatory, immediate)| {
        basic::Publish { exchange, routing_key, mandatory, immediate }
    })
}

fn deliver() -> impl Strategy<Value = basic::Deliver> {
    (arb(), arb(), bool::arb(), arb(), arb()).prop_map(
        |(consumer_tag, delivery_tag, redelivered, exchange, routing_key)| basic::Deliver {
            consumer_tag,
            delivery_tag,
            redelivered,
            exchange,
            routing_key,
        },
    )
}

#[test]
fn trap_24_a_borrowed_name_of_256_bytes_is_refused_and_writes_nothing() {
    let (fits, long) = ([b'x'; 255], [b'x'; 256]);
    let fault = Err(WireError::ShortStrTooLong(256));
    let mut out = BytesMut::new();
    let none = Publish::default();
    assert_eq!(write_publish(&mut out, &Publish { exchange: &long, ..none }), fault);
    assert_eq!(write_publish(&mut out, &Publish { routing_key: &long, ..none }), fault);
    let none = Deliver::default();
    assert_eq!(write_deliver(&mut out, &Deliver { consumer_tag: &long, ..none }), fault);
    assert_eq!(write_deliver(&mut out, &Deliver { exchange: &long, ..none }), fault);
    assert_eq!(write_deliver(&mut out, &Deliver { routing_key: &long, ..none }), fault);
    assert!(out.is_empty());
    write_publish(&mut out, &Publish { exchange: &fits, routing_key: &fits, ..Publish::default() }).unwrap();
    assert_eq!(Publish::read(&out[4..]).unwrap().routing_key, fits);
}
