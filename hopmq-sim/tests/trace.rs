//! What a line of the trace says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::future::poll_fn;
use std::io::IoSlice;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use hopmq_proto::amqp::{
    FieldTable, FrameHead, FrameKind, HEARTBEAT_FRAME, LongStr, Method, PROTOCOL_HEADER, Secret, ShortStr,
    basic, channel, confirm, connection, exchange, queue, tx, write_frame, write_method,
};
use hopmq_sim::io::Transport;
use hopmq_sim::{Builder, Check, Host, Link, Random, Sim, Stream};

const FRAME_MAX: usize = 131_072;
/// Whose bytes they are.
const DIALLER: usize = 0;
const ACCEPTOR: usize = 1;

async fn write_all(stream: &mut Stream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(bytes)])).await.unwrap();
        bytes = &bytes[count..];
    }
}

fn short(text: &str) -> ShortStr {
    ShortStr::try_from(text).unwrap()
}

fn method(channel: u16, method: impl Into<Method>) -> Vec<u8> {
    let mut out = BytesMut::new();
    write_method(&mut out, channel, FRAME_MAX, &method.into()).unwrap();
    out.to_vec()
}

fn frame(kind: FrameKind, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let payload = |out: &mut BytesMut| {
        out.put_slice(payload);
        Ok(())
    };
    write_frame(&mut out, kind, channel, FRAME_MAX, payload).unwrap();
    out.to_vec()
}

/// The frames of a message's content, its body in pieces.
fn content(channel: u16, pieces: &[&[u8]]) -> Vec<u8> {
    let size: usize = pieces.iter().map(|piece| piece.len()).sum();
    let header = [&[0, 60, 0, 0][..], &(size as u64).to_be_bytes(), &[0, 0]].concat();
    let bodies = pieces.iter().flat_map(|piece| frame(FrameKind::Body, channel, piece));
    frame(FrameKind::Header, channel, &header).into_iter().chain(bodies).collect()
}

fn publish_to(exchange: &str, key: &str) -> basic::Publish {
    basic::Publish { exchange: short(exchange), routing_key: short(key), ..basic::Publish::default() }
}

fn publish(channel: u16, key: &str, body: &[u8]) -> Vec<u8> {
    [method(channel, publish_to("", key)), content(channel, &[body])].concat()
}

fn deliver(tag: u64, key: &str) -> basic::Deliver {
    let consumer_tag = short("ctag");
    basic::Deliver { consumer_tag, delivery_tag: tag, routing_key: short(key), ..basic::Deliver::default() }
}

fn ack(tag: u64) -> Vec<u8> {
    method(1, basic::Ack { delivery_tag: tag, multiple: false })
}

/// What is told of each write, if anything: bursts are held apart by notes.
fn told<'a>(builder: Builder, writes: impl IntoIterator<Item = (usize, &'a [u8])>) -> Vec<String> {
    let sim = builder.build();
    let streams = async {
        let (a, b) = (sim.host("a"), sim.host("b"));
        let mut listener = b.listen(7).unwrap();
        let mut streams = [a.dial("b", 7).await.unwrap(), listener.accept().await.unwrap()];
        for (side, bytes) in writes {
            sim.note("write");
            write_all(&mut streams[side], bytes).await;
        }
        streams
    };
    let _streams = sim.run(streams).unwrap();
    let events = sim.last_events();
    let writes = events.split("write\n").skip(1).map(|write| match write.split_once(" #") {
        Some((_, line)) => line.split_once(' ').unwrap().1.lines().next().unwrap().to_owned(),
        None => String::new(),
    });
    writes.collect()
}

fn world() -> Builder {
    Sim::builder(1).kept_events(100_000).link(Link::new().window(1 << 24))
}

/// What is told of what a side says in one write, behind its protocol header.
fn words(side: usize, bytes: &[u8]) -> String {
    told(world(), [(DIALLER, &PROTOCOL_HEADER[..]), (side, bytes)]).pop().unwrap()
}

#[test]
fn a_method_is_told_by_its_name_and_what_matters_of_it() {
    let one = |said: Vec<u8>| words(DIALLER, &said);
    assert_eq!(told(world(), [(DIALLER, &PROTOCOL_HEADER[..])]), ["protocol header AMQP 0-9-1"]);
    let declare = queue::Declare { queue: short("orders"), ..queue::Declare::default() };
    assert_eq!(one(method(1, declare.clone())), "queue.declare 'orders'");
    let declare = queue::Declare { durable: true, auto_delete: true, ..declare };
    assert_eq!(one(method(1, declare)), "queue.declare 'orders' (durable, auto-delete)");
    let bind = queue::Bind { queue: short("q"), exchange: short("logs"), ..queue::Bind::default() };
    assert_eq!(one(method(1, bind)), "queue.bind 'q' to 'logs' with ''");
    let kind = short("topic");
    let declare = exchange::Declare { exchange: short("logs"), kind, ..exchange::Declare::default() };
    assert_eq!(one(method(1, declare)), "exchange.declare 'logs' as topic");
    let consume = basic::Consume { queue: short("q"), no_ack: true, ..basic::Consume::default() };
    assert_eq!(one(method(1, consume)), "basic.consume 'q' (no-ack)");
    let qos = basic::Qos { prefetch_count: 10, ..basic::Qos::default() };
    assert_eq!(one(method(1, qos)), "basic.qos 10");
    assert_eq!(one(method(1, confirm::Select::default())), "confirm.select");
    assert_eq!(one(method(1, tx::CommitOk {})), "tx.commit-ok");
    assert_eq!(one(method(1, basic::RecoverAsync { requeue: true })), "basic.recover-async (requeue)");
    let close = connection::Close {
        reply_code: 320,
        reply_text: short("CONNECTION_FORCED - broker forced connection closure"),
        ..connection::Close::default()
    };
    let text = "connection.close 320 CONNECTION_FORCED - broker forced connection closure";
    assert_eq!(one(method(0, close)), text);
    let close = channel::Close { reply_code: 200, reply_text: short("Goodbye"), ..channel::Close::default() };
    assert_eq!(one(method(1, close)), "channel.close 200 SUCCESS - Goodbye");
}

#[test]
fn a_message_is_told_with_its_route_and_its_size() {
    assert_eq!(words(DIALLER, &publish(1, "orders", b"order 1")), "basic.publish to 'orders', 7 bytes");
    let of_logs = basic::Publish { mandatory: true, ..publish_to("logs", "eu.paris") };
    let said = [method(1, of_logs), content(1, &[])].concat();
    assert_eq!(words(DIALLER, &said), "basic.publish to 'logs' with 'eu.paris' (mandatory), 0 bytes");
    let said = [method(1, deliver(1, "orders")), content(1, &[b"1"])].concat();
    assert_eq!(words(ACCEPTOR, &said), "basic.deliver #1 of 'orders', 1 byte");
    let again = basic::Deliver { redelivered: true, ..deliver(9, "orders") };
    let said = [method(1, again), content(1, &[b"12", b"345"])].concat();
    assert_eq!(words(ACCEPTOR, &said), "basic.deliver #9 of 'orders' (redelivered), 5 bytes");
    let got = basic::GetOk { delivery_tag: 3, routing_key: short("q"), ..basic::GetOk::default() };
    let said = [method(1, got), content(1, &[b"12"])].concat();
    assert_eq!(words(ACCEPTOR, &said), "basic.get-ok #3 of 'q', 2 bytes");
    let (reply_text, routing_key) = (short("NO_ROUTE"), short("q"));
    let back = basic::Return { reply_code: 312, reply_text, routing_key, ..basic::Return::default() };
    let said = [method(1, back), content(1, &[b"12"])].concat();
    assert_eq!(words(ACCEPTOR, &said), "basic.return to 'q', 312 NO_ROUTE, 2 bytes");
}

#[test]
fn an_acknowledgement_is_told_with_its_tag() {
    assert_eq!(words(DIALLER, &ack(7)), "basic.ack #7");
    let multiple = basic::Ack { delivery_tag: 7, multiple: true };
    assert_eq!(words(ACCEPTOR, &method(1, multiple)), "basic.ack #7 (multiple)");
    let nack = basic::Nack { delivery_tag: 7, multiple: true, requeue: true };
    assert_eq!(words(DIALLER, &method(1, nack)), "basic.nack #7 (multiple, requeue)");
    let reject = basic::Reject { delivery_tag: 7, requeue: false };
    assert_eq!(words(DIALLER, &method(1, reject)), "basic.reject #7");
}

#[test]
fn a_burst_is_one_line_which_stays_short() {
    let same = [&b"order 1"[..], b"order 2", b"order 3"].map(|body| publish(1, "orders", body)).concat();
    assert_eq!(words(DIALLER, &same), "3 x basic.publish to 'orders', 21 bytes");
    let in_a_row = (1..=3).flat_map(|tag| [method(1, deliver(tag, "q")), content(1, &[b"12"])].concat());
    let said: Vec<_> = in_a_row.collect();
    assert_eq!(words(ACCEPTOR, &said), "3 x basic.deliver #1 to #3 of 'q', 6 bytes");
    let others: Vec<_> = (1..=15).flat_map(|n| ack(2 * n)).collect();
    assert_eq!(words(DIALLER, &others), "basic.ack #2; basic.ack #4; basic.ack #6; and 12 more");
    let mixed = [publish(1, "a", b"1"), publish(1, "b", b"1"), ack(1), ack(2)].concat();
    let line = "basic.publish to 'a', 1 byte; basic.publish to 'b', 1 byte; 2 x basic.ack #1 to #2";
    assert_eq!(words(DIALLER, &mixed), line);

    // As many writes in a row.
    let sim = world().build();
    sim.run(async {
        let (a, b) = (sim.host("a"), sim.host("b"));
        let _listener = b.listen(7).unwrap();
        let mut stream = a.dial("b", 7).await.unwrap();
        write_all(&mut stream, &PROTOCOL_HEADER).await;
        sim.note("");
        for n in 0..100 {
            write_all(&mut stream, &ack(if n < 50 { n } else { 2 * n })).await;
            write_all(&mut stream, &HEARTBEAT_FRAME).await;
        }
        let events = sim.last_events();
        let line = events.lines().last().unwrap();
        let words = "50 x basic.ack #0 to #49; basic.ack #100; basic.ack #102; and 48 more";
        assert!(line.ends_with(&format!("a → b  #2 {words}")), "{line}");
    })
    .unwrap();
}

#[test]
fn a_channel_is_told_where_there_are_several() {
    let (ack, publish) = (ack(1), publish(2, "q", b"12"));
    let (close, closed) = (method(0, connection::CloseOk {}), method(2, channel::CloseOk {}));
    let said = [&PROTOCOL_HEADER[..], &ack, &publish, &close, &closed, &ack].map(|bytes| (DIALLER, bytes));
    let [header, first, second, own, end, last] = said;
    let lines = told(world(), [header, first, second, (ACCEPTOR, first.1), own, end, last]);
    let (header, publish) = ("protocol header AMQP 0-9-1", "basic.publish to 'q' on channel 2, 2 bytes");
    let (of_one, closed) = ("basic.ack #1 on channel 1", "channel.close-ok on channel 2");
    let after = ["connection.close-ok", closed, "basic.ack #1"];
    assert_eq!(lines[..4], [header, "basic.ack #1", publish, of_one]);
    assert_eq!(lines[4..], after);
}

#[test]
fn contents_of_two_channels_may_come_frame_by_frame() {
    let (one, two) = (content(1, &[b"12", b"3"]), content(2, &[b"4567"]));
    let (one_begins, one_ends) = one.split_at(22 + 10);
    let begin = [&method(2, publish_to("", "b"))[..], &method(1, publish_to("", "a")), one_begins].concat();
    let end = [&two[..], one_ends].concat();
    let lines = told(world(), [(DIALLER, &PROTOCOL_HEADER[..]), (DIALLER, &begin), (DIALLER, &end)]);
    assert_eq!(lines[1], format!("{} bytes", begin.len()));
    let words = "basic.publish to 'b' on channel 2, 4 bytes; basic.publish to 'a' on channel 1, 3 bytes";
    assert_eq!(lines[2], words);
}

#[test]
fn what_is_torn_is_told_when_it_is_whole() {
    let declare = queue::Declare { queue: short("orders"), ..queue::Declare::default() };
    let (body, announced) = (vec![b'x'; 1000], "basic.publish to 'q', 1000 bytes");
    let frames = [
        (PROTOCOL_HEADER.to_vec(), "protocol header AMQP 0-9-1"),
        (method(1, declare), "queue.declare 'orders'"),
        (publish(1, "q", &body), announced),
        (ack(1), "basic.ack #1"),
    ];
    let all = frames.iter().flat_map(|(bytes, _)| bytes.clone()).collect::<Vec<_>>();
    for size in [1, 2, 7, 30, 500] {
        let mut expected = Vec::new();
        let (mut start, mut ends) = (0, frames.iter());
        let mut next = ends.next().map(|(bytes, words)| (bytes.len(), *words));
        for piece in all.chunks(size) {
            start += piece.len();
            let mut words = Vec::new();
            while let Some((end, whole)) = next.filter(|(end, _)| *end <= start) {
                words.push(whole);
                next = ends.next().map(|(bytes, words)| (end + bytes.len(), *words));
            }
            let bytes = format!("{} bytes", piece.len());
            expected.push(if words.is_empty() { bytes } else { words.join("; ") });
        }
        assert_eq!(told(world(), all.chunks(size).map(|piece| (DIALLER, piece))), expected, "{size}");
    }
}

#[test]
fn a_large_body_is_counted() {
    let pieces = vec![&[b'x'; 100_000][..]; 50];
    let said = [method(1, publish_to("", "q")), content(1, &pieces)].concat();
    assert_eq!(words(DIALLER, &said), "basic.publish to 'q', 5000000 bytes");
}

#[test]
fn what_a_heartbeat_follows_is_told() {
    let body = frame(FrameKind::Body, 1, &[7; 100_000]);
    let begun = content(1, &[&[0; 100_000], &[0; 100_000]]);
    let begun = [method(1, publish_to("", "q")), begun[..begun.len() - 2 * body.len()].to_vec()].concat();
    let said = told(
        world(),
        [
            (DIALLER, &PROTOCOL_HEADER[..]),
            (DIALLER, &begun[..]),
            (DIALLER, &[&body[..], &HEARTBEAT_FRAME].concat()[..]),
        ],
    );
    assert_eq!(said[2], format!("{} bytes", body.len() + HEARTBEAT_FRAME.len()));
}

#[test]
fn a_method_that_is_larger_than_others_is_counted() {
    let mut large = BytesMut::new();
    let arguments = FieldTable::new().with("x", "y".repeat(200_000));
    let declare = queue::Declare { arguments, ..queue::Declare::default() };
    write_method(&mut large, 1, 1 << 20, &declare.into()).unwrap();
    let large = [&large[..], &ack(1)].concat();
    assert_eq!(words(DIALLER, &large), "method, 200019 bytes; basic.ack #1");
}

#[test]
fn a_line_is_about_one_moment() {
    let sim = world().build();
    let run = async {
        let (a, b) = (sim.host("a"), sim.host("b"));
        let _listener = b.listen(7).unwrap();
        let mut stream = a.dial("b", 7).await.unwrap();
        write_all(&mut stream, &PROTOCOL_HEADER).await;
        for number in 1..=3 {
            sim.sleep(Duration::from_secs(100)).await;
            write_all(&mut stream, &ack(number)).await;
        }
    };
    sim.run(run).unwrap();
    let events = sim.last_events();
    let acks: Vec<_> = events.lines().filter(|line| line.contains("basic.ack")).collect();
    assert_eq!(acks.len(), 3, "{events}");
}

#[test]
fn what_is_no_amqp_is_told_in_bytes() {
    let amqp = [&PROTOCOL_HEADER[..], &ack(1)].concat();
    assert_eq!(told(world(), [(DIALLER, &b"GET /"[..]), (ACCEPTOR, &ack(1))]), ["5 bytes", "21 bytes"]);
    assert_eq!(told(world(), [(DIALLER, &b"eight by"[..]), (DIALLER, &amqp)]), ["8 bytes", "29 bytes"]);
    assert_eq!(
        told(world(), [(DIALLER, &b"AM"[..]), (DIALLER, b"PS"), (DIALLER, &amqp)]).pop().unwrap(),
        "29 bytes"
    );
    // A server that speaks first.
    assert_eq!(told(world(), [(ACCEPTOR, &b"220 mail"[..]), (ACCEPTOR, &ack(1))]), ["8 bytes", "21 bytes"]);
    // Another version, which is answered with ours.
    let other = told(world(), [(DIALLER, &b"AMQP\0\x01\0\0"[..]), (ACCEPTOR, &PROTOCOL_HEADER)]);
    assert_eq!(other, ["protocol header AMQP 1.0 (protocol id 0)", "protocol header AMQP 0-9-1"]);
}

#[test]
fn garbage_is_bytes_from_then_on_and_the_answer_to_it_is_told() {
    let mut bad_end = ack(1);
    *bad_end.last_mut().unwrap() = 0;
    let huge = FrameHead { kind: FrameKind::Method, channel: 1, payload_len: 1 << 30 };
    let garbage = [
        b"no frame".to_vec(),
        bad_end,
        huge.to_bytes().to_vec(),
        frame(FrameKind::Method, 1, &[0, 60, 0, 99]),
        frame(FrameKind::Method, 1, &[0, 60, 0, 80, 1]),
        [method(1, publish_to("", "q")), frame(FrameKind::Header, 1, &[0, 60])].concat(),
    ];
    for garbage in garbage {
        let close = connection::Close { reply_code: 501, ..connection::Close::default() };
        let (begin, close) = ([&ack(1)[..], &garbage].concat(), method(0, close));
        let said =
            [(DIALLER, &PROTOCOL_HEADER[..]), (DIALLER, &begin), (DIALLER, &ack(2)), (ACCEPTOR, &close)];
        let lines = told(world(), said);
        let words =
            ["basic.ack #1; and bytes that are no frame", "21 bytes", "connection.close 501 FRAME_ERROR"];
        assert_eq!(lines[1..], words);
    }
}

#[test]
fn frames_out_of_turn_are_told_as_they_are() {
    let said = [content(1, &[b"12"]), method(1, publish_to("", "q")), ack(1)].concat();
    assert_eq!(
        words(DIALLER, &said),
        "content header; body, 2 bytes; basic.publish to 'q' (cut short); and 1 more"
    );
}

#[test]
fn no_credentials_are_told() {
    let secret = |text: &str| Secret::new(LongStr::try_from(text).unwrap());
    let (mechanism, locale) = (short("PLAIN"), short("en_US"));
    let response = secret("\0guest\0hunter2");
    let start_ok = connection::StartOk { mechanism, locale, response, ..connection::StartOk::default() };
    let secure = connection::Secure { challenge: LongStr::from_static("hunter2") };
    let (new_secret, reason) = (secret("hunter2"), short("hunter2"));
    let said = [
        (method(0, start_ok), "connection.start-ok"),
        (method(0, secure), "connection.secure"),
        (method(0, connection::SecureOk { response: secret("hunter2") }), "connection.secure-ok"),
        (method(0, connection::UpdateSecret { new_secret, reason }), "connection.update-secret"),
    ];
    for (bytes, line) in said {
        assert_eq!(words(DIALLER, &bytes), line);
        let halves = bytes.split_at(bytes.len() / 2);
        let lines =
            told(world(), [(DIALLER, &PROTOCOL_HEADER[..]), (DIALLER, halves.0), (DIALLER, halves.1)]);
        assert_eq!(lines[1..], [format!("{} bytes", halves.0.len()), line.to_owned()]);
    }
}

#[test]
fn names_are_escaped_and_cut() {
    let declare = |name: &[u8]| {
        let queue = ShortStr::new(name.to_vec()).unwrap();
        words(DIALLER, &method(1, queue::Declare { queue, ..queue::Declare::default() }))
    };
    assert_eq!(declare(b"it's\n\x1b[31m\0"), r"queue.declare 'it\'s\n\u{1b}[31m\0'");
    assert_eq!(declare("\u{202e}größe \"1\"".as_bytes()), r#"queue.declare '\u{202e}größe "1"'"#);
    assert_eq!(declare(b"\xff\xfe"), "queue.declare '\u{fffd}\u{fffd}'");
    assert_eq!(declare(&[b'x'; 40]), format!("queue.declare '{}'", "x".repeat(40)));
    assert_eq!(declare(&[b'x'; 255]), format!("queue.declare '{}…'", "x".repeat(40)));
    let close =
        connection::Close { reply_code: 541, reply_text: short(&"\r\n".repeat(127)), ..Default::default() };
    assert!(words(ACCEPTOR, &method(0, close)).len() < 150);
}

fn index(random: &mut Random, len: usize) -> usize {
    random.below(len as u64) as usize
}

/// Frames of every method and of contents, damaged here and there.
fn damaged(random: &mut Random, methods: &[Method]) -> Vec<u8> {
    let mut bytes = PROTOCOL_HEADER.to_vec();
    for _ in 0..random.between(1, 20) {
        let channel = u16::try_from(random.below(4)).unwrap();
        bytes.extend(match random.below(4) {
            0 => publish(channel, "q", b"hello"),
            1 => content(channel, &[b"12", b"3"]),
            2 => HEARTBEAT_FRAME.to_vec(),
            _ => method(channel, random.pick(methods).unwrap().clone()),
        });
    }
    for _ in 0..random.below(4) {
        let at = index(random, bytes.len());
        bytes[at] = random.next_u64().to_le_bytes()[0];
    }
    bytes
}

#[test]
fn any_bytes_are_told_in_short_lines_without_control_characters() {
    let (mut random, methods) = (Sim::new(1).random(), Method::all());
    for _ in 0..500 {
        let said: Vec<_> = (0..2).map(|_| damaged(&mut random, &methods)).collect();
        let mut writes = Vec::new();
        for (side, mut bytes) in said.iter().map(|bytes| &bytes[..]).enumerate() {
            while !bytes.is_empty() {
                let (write, rest) = bytes.split_at(1 + index(&mut random, bytes.len()));
                writes.push((side, write));
                bytes = rest;
            }
        }
        for line in told(world(), writes) {
            assert!(line.len() < 600 && !line.chars().any(char::is_control), "{line}");
        }
    }
}

/// A service that works, with some trouble.
fn work(builder: Builder) -> (u64, String) {
    let sim = builder.build();
    sim.run(async {
        let [rabbit, service, user] = ["rabbit", "service", "user"].map(|name| sim.host(name));
        rabbit.broker(hopmq_sim::BrokerConfig::default()).unwrap();
        service.start(|host: Host| async move {
            let connection = host.connect("amqp://rabbit?recovery=always&heartbeat=5").await.unwrap();
            let channel = connection.open_channel().await.unwrap();
            channel.declare_queue("orders").durable().await.unwrap();
            let mut orders = channel.consume("orders").await.unwrap();
            while let Some(order) = orders.next().await {
                order.ack().ok();
            }
        });
        let connection = user.connect("amqp://rabbit?recovery=always&heartbeat=5").await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        channel.declare_queue("orders").durable().await.unwrap();
        let publisher = channel.publisher().await.unwrap();
        for number in 0..20 {
            publisher.publish("orders", format!("order {number}")).await.unwrap();
            if number == 10 {
                user.cut(&rabbit);
            }
        }
        sim.sleep(Duration::from_secs(60)).await;
        connection.close().await.unwrap();
    })
    .unwrap();
    (sim.trace_hash(), sim.last_events())
}

#[test]
fn who_reads_changes_nothing() {
    for seed in 1..=5 {
        let builder = Sim::builder(seed);
        let (hash, events) = work(builder.kept_events(0));
        assert_eq!(events, "");
        for builder in
            [builder, builder.kept_events(1), builder.kept_events(100_000), builder.kept_events(0).tell(true)]
        {
            assert_eq!(work(builder).0, hash, "seed {seed}");
        }
    }
}

#[test]
fn the_trace_of_a_service_is_readable() {
    let (_, events) = work(Sim::builder(1).kept_events(100_000));
    for words in [
        "user → rabbit  #3 protocol header AMQP 0-9-1",
        "user → rabbit  #3 connection.start-ok",
        "rabbit → user  #3 queue.declare-ok 'orders' (0 messages)",
        "user → rabbit  #3 basic.publish to 'orders', 7 bytes",
        "rabbit → service  #2 basic.deliver #1 of 'orders', 7 bytes",
        "service → rabbit  #2 basic.ack #1",
        "connection.close 200",
    ] {
        assert!(events.contains(words), "{words}: {events}");
    }
    for secret in ["guest", "heartbeat", "order 1", "order 2"] {
        assert!(!events.contains(secret), "{secret}: {events}");
    }
}

#[test]
fn a_report_says_what_was_said() {
    let failure = Check::new().seeds(1).find(|sim| async move {
        sim.host("rabbit").broker(hopmq_sim::BrokerConfig::default()).unwrap();
        let connection = sim.host("user").connect("amqp://rabbit").await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        channel.declare_queue("orders").durable().await.unwrap();
        Err::<(), _>("as it should")
    });
    let failure = failure.expect("it fails").to_string();
    assert!(failure.contains("user → rabbit  #2 queue.declare 'orders' (durable)"), "{failure}");
}
