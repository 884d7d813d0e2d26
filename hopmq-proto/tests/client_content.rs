//! Messages as they come: sizes, frames, limits, and what is copied.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use bytes::BytesMut;
use hopmq_proto::Engine;
use hopmq_proto::amqp::{FrameKind, Method, Properties, ReplyCode, ShortStr, WireError, basic, channel};
use hopmq_proto::client::{CloseReason, Config, Event, Message, PeerMisbehaved};
use support::{Client, Sent, TUNE, content, deliver, frame, header, method};

/// From here on a body is a buffer of its own.
const LARGE_BODY: usize = 8192;

fn consuming(config: Config) -> Client {
    let mut client = Client::open_with(config, TUNE);
    let id = client.channel();
    let _ = client.consumer(id, "c", false);
    client
}

fn message(bytes: &[u8]) -> Message {
    let mut client = consuming(Config::default());
    client.feed(bytes);
    client.delivery().1.message
}

fn bytes_of(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// `basic.deliver` and the header of a body of `size` bytes.
fn opening(size: u64) -> BytesMut {
    let mut bytes = method(1, deliver("c", 1));
    bytes.unsplit(header(1, size, &Properties::new()));
    bytes
}

fn body(bytes: &[u8]) -> BytesMut {
    frame(FrameKind::Body, 1, bytes)
}

#[test]
fn trap_17_and_18_every_size_in_every_cut() {
    let properties = Properties::new().persistent().with_content_type("text/plain").unwrap();
    for size in [0, 1, LARGE_BODY - 1, LARGE_BODY, LARGE_BODY + 1, 50_000] {
        for piece in [1000, LARGE_BODY - 1, LARGE_BODY, 131_064] {
            let sent = bytes_of(size);
            let message = message(&content(1, deliver("c", 1), &properties, &sent, piece));
            assert_eq!(message.body(), sent, "{size} bytes in pieces of {piece}");
            assert_eq!(message.properties().as_ref(), Ok(&properties));
            assert_eq!((message.exchange_bytes(), message.routing_key_bytes()), (&b""[..], &b"q"[..]));
            assert_eq!(message.into_body(), sent);
        }
    }
}

#[test]
fn trap_18_an_empty_frame_in_a_body_is_ignored() {
    for size in [4, 2 * LARGE_BODY] {
        let sent = bytes_of(size);
        let (one, two) = sent.split_at(size / 2);
        let mut bytes = opening(size as u64);
        for piece in [&b""[..], one, b"", b"", two] {
            bytes.unsplit(body(piece));
        }
        assert_eq!(message(&bytes).body(), sent);
        let mut whole = opening(size as u64);
        whole.unsplit(body(b""));
        whole.unsplit(body(&sent));
        assert_eq!(message(&whole).body(), sent);
    }
}

#[test]
fn trap_19_a_body_longer_than_its_header_said() {
    let large = LARGE_BODY;
    let cases: [&[usize]; 5] = [&[5, 5], &[10], &[3, 3, 3], &[large + 2, large + 2], &[5, large * 3]];
    for pieces in cases {
        let declared = pieces.iter().sum::<usize>() - 1;
        let mut client = consuming(Config::default());
        client.feed(&opening(declared as u64));
        pieces.iter().for_each(|len| client.feed(&body(&bytes_of(*len))));
        assert_eq!(client.misbehaved(501), PeerMisbehaved::BodyTooLong(1), "{pieces:?}");
    }
}

#[test]
fn trap_19_a_whole_body_frame_amid_a_body_is_too_long() {
    let mut client = consuming(Config::default());
    client.feed(&opening(2 * LARGE_BODY as u64));
    client.feed(&body(&bytes_of(LARGE_BODY)));
    client.feed(&body(&bytes_of(2 * LARGE_BODY)));
    assert_eq!(client.misbehaved(501), PeerMisbehaved::BodyTooLong(1));
}

#[test]
fn trap_19_a_header_of_another_class() {
    let mut client = consuming(Config::default());
    client.say(1, deliver("c", 1));
    client.feed(&frame(FrameKind::Header, 1, &[0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]));
    assert_eq!(client.misbehaved(505), PeerMisbehaved::UnexpectedFrame { frame: "header", channel: 1 });
}

#[test]
fn frames_of_a_message_out_of_turn() {
    let cases = [
        (vec![method(1, deliver("c", 1)), body(b"x")], 505),
        (vec![opening(1), header(1, 1, &Properties::new())], 505),
        (vec![opening(0), body(b"x")], 505),
        (vec![method(1, deliver("c", 1)), frame(FrameKind::Header, 1, &[0, 60, 0, 0, 0])], 502),
        (vec![method(1, deliver("c", 1)), method(1, deliver("c", 2))], 505),
        (vec![opening(5), method(1, channel::Close::default())], 505),
    ];
    for (frames, code) in cases {
        let mut client = consuming(Config::default());
        frames.iter().for_each(|bytes| client.feed(bytes));
        assert_eq!(client.misbehaved(code).reply_code(), ReplyCode(code), "{frames:?}");
    }
}

#[test]
fn trap_20_a_body_above_the_limit_closes_its_channel_before_it_is_read() {
    let mut client = consuming(Config { max_body_size: 10_000, ..Config::default() });
    client.say_content(1, deliver("c", 1), &Properties::new(), &bytes_of(10_000));
    let _ = client.delivery();
    for size in [10_001, u64::MAX] {
        let mut client = consuming(Config { max_body_size: 10_000, ..Config::default() });
        client.feed(&opening(size));
        let Event::ChannelClosed { reason, .. } = client.event() else { panic!() };
        assert_eq!(*reason, CloseReason::BodyTooLarge { size, max: 10_000 });
        let [Sent::Method(1, Method::ChannelClose(close))] = &client.sent()[..] else { panic!() };
        assert_eq!(close.reply_code, ReplyCode::CONTENT_TOO_LARGE.0);
        client.feed(&body(&bytes_of(50_000)));
        client.say(1, channel::CloseOk {});
        assert!(client.is_quiet());
        assert_eq!(client.channel().number(), 1, "the connection goes on");
    }
}

#[test]
fn a_large_body_is_handed_over_and_not_copied() {
    let mut client = consuming(Config::default());
    let sent = bytes_of(LARGE_BODY);
    client.input = BytesMut::with_capacity(100_000);
    client.input.extend_from_slice(&content(1, deliver("c", 1), &Properties::new(), &sent, 100_000));
    let block = client.input.as_ptr_range();
    client.engine.handle_input(&mut client.input, client.now);
    let message = client.delivery().1.message;
    assert!(block.contains(&message.body().as_ptr()), "a slice of what was read");
    assert_eq!(message.body(), sent);
}

#[test]
fn a_small_message_does_not_hold_what_was_read() {
    let mut client = consuming(Config::default());
    client.input = BytesMut::with_capacity(100_000);
    let sent = bytes_of(LARGE_BODY - 1);
    client.input.extend_from_slice(&content(1, deliver("c", 1), &Properties::new(), &sent, 100_000));
    let block = client.input.as_ptr_range();
    client.engine.handle_input(&mut client.input, client.now);
    let message = client.delivery().1.message;
    assert!(!block.contains(&message.body().as_ptr()));
    assert!(client.input.try_reclaim(100_000), "the block is free again");
    assert_eq!(message.size(), sent.len() + 1 + 2, "the body, the routing key and no properties");
}

#[test]
fn trap_25_what_is_not_utf_8_does_not_hurt() {
    let deliver = basic::Deliver {
        exchange: ShortStr::new(&b"\xff\xfe"[..]).unwrap(),
        routing_key: ShortStr::new(&b"a\xc3"[..]).unwrap(),
        ..deliver("c", 1)
    };
    let message = message(&content(1, deliver, &Properties::new(), b"x", 9));
    assert_eq!(message.exchange_bytes(), b"\xff\xfe");
    assert_eq!((message.exchange(), message.routing_key()), ("\u{fffd}\u{fffd}".into(), "a\u{fffd}".into()));
}

#[test]
fn properties_that_are_wrong_hurt_only_whoever_asks_for_them() {
    let mut bytes = method(1, deliver("c", 1));
    bytes.unsplit(frame(FrameKind::Header, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x80, 0, 200]));
    bytes.unsplit(body(b"x"));
    let message = message(&bytes);
    assert_eq!((message.body(), message.properties()), (&b"x"[..], Err(WireError::Truncated)));
    assert!(format!("{message:?}").contains("body_len: 1"));
}

#[test]
fn a_body_is_sent_in_frames_of_the_agreed_size() {
    let tune = hopmq_proto::amqp::connection::Tune { frame_max: 4096, ..TUNE };
    let mut client = Client::open_with(Config::default(), tune);
    let id = client.channel();
    for (size, frames) in [(0, 0), (4088, 1), (4089, 2), (9000, 3)] {
        assert!(client.try_publish(id, "q", &bytes_of(size)).is_ok());
        let sent = client.sent();
        assert_eq!(sent.len(), 2 + frames, "trap 5: 8 of the bytes are framing");
        let bodies = sent.into_iter().filter_map(|sent| match sent {
            Sent::Body(1, bytes) => Some(bytes),
            _ => None,
        });
        assert_eq!(bodies.collect::<Vec<_>>().concat(), bytes_of(size));
    }
}
