//! Octets that the specification, its errata or a capture of RabbitMQ print.

use bytes::{Bytes, BytesMut};
use hopmq_proto::Outbox;
use hopmq_proto::amqp::{
    Credentials, FRAME_END, FRAME_MIN_SIZE, FieldTable, FieldValue, FrameHead, FrameKind, HEARTBEAT_FRAME,
    Mechanism, Method, PROTOCOL_HEADER, Properties, Publish, connection, queue, write_content, write_method,
    write_publish,
};

fn frame(channel: u16, method: impl Into<Method>) -> BytesMut {
    let mut out = BytesMut::new();
    write_method(&mut out, channel, FRAME_MIN_SIZE, &method.into()).unwrap();
    out
}

#[test]
fn the_protocol_header() {
    assert_eq!(PROTOCOL_HEADER, [b'A', b'M', b'Q', b'P', 0, 0, 9, 1]);
}

#[test]
fn trap_12_the_heartbeat_frame() {
    assert_eq!(HEARTBEAT_FRAME, [8, 0, 0, 0, 0, 0, 0, 0xce]);
    assert_eq!(FRAME_END, 0xce);
    let head = FrameHead { kind: FrameKind::Heartbeat, channel: 0, payload_len: 0 };
    assert_eq!(FrameHead::peek(&HEARTBEAT_FRAME, 8), Ok(Some(head)));
}

#[test]
fn the_handshake() {
    let start_ok = connection::StartOk {
        client_properties: FieldTable::new()
            .with("capabilities", FieldTable::new().with("basic.nack", true))
            .with("product", "p"),
        mechanism: "PLAIN".try_into().unwrap(),
        response: Credentials::new("guest", "guest").response(Mechanism::Plain).unwrap(),
        locale: "en_US".try_into().unwrap(),
    };
    let bytes = [
        b"\x01\x00\x00\x00\x00\x00\x51\x00\x0a\x00\x0b".as_slice(),
        b"\x00\x00\x00\x2d\x0ccapabilitiesF\x00\x00\x00\x0d\x0abasic.nackt\x01\x07productS\x00\x00\x00\x01p",
        b"\x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US\xce",
    ];
    assert_eq!(frame(0, start_ok), bytes.concat());

    let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
    assert_eq!(
        frame(0, tune_ok),
        &b"\x01\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x1f\x07\xff\x00\x02\x00\x00\x00\x3c\xce"[..]
    );
    let open = connection::Open { virtual_host: "/".try_into().unwrap() };
    assert_eq!(frame(0, open), &b"\x01\x00\x00\x00\x00\x00\x08\x00\x0a\x00\x28\x01/\x00\x00\xce"[..]);
}

#[test]
fn a_queue_is_declared() {
    let declare = queue::Declare {
        queue: "q".try_into().unwrap(),
        durable: true,
        auto_delete: true,
        arguments: FieldTable::new().with("n", FieldValue::I32(-1)),
        ..Default::default()
    };
    assert_eq!(
        frame(0x0102, declare),
        &b"\x01\x01\x02\x00\x00\x00\x14\x00\x32\x00\x0a\x00\x00\x01q\x0a\x00\x00\x00\x07\x01nI\xff\xff\xff\xff\xce"[..]
    );
}

#[test]
fn a_message_is_published() {
    let mut outbox = Outbox::new();
    let publish = Publish { routing_key: b"q", mandatory: true, ..Default::default() };
    let properties = Properties::new().persistent();
    let body = Bytes::from_static(b"hello");
    write_content(
        &mut outbox,
        1,
        FRAME_MIN_SIZE,
        |out| write_publish(out, &publish),
        |out| properties.encode(out),
        &body,
    )
    .unwrap();
    let bytes = [
        b"\x01\x00\x01\x00\x00\x00\x0a\x00\x3c\x00\x28\x00\x00\x00\x01q\x01\xce".as_slice(),
        b"\x02\x00\x01\x00\x00\x00\x0f\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x10\x00\x02\xce",
        b"\x03\x00\x01\x00\x00\x00\x05hello\xce",
    ];
    assert_eq!(outbox.chunks().collect::<Vec<_>>().concat(), bytes.concat());
}
