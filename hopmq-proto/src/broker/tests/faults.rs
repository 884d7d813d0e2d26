use super::*;

/// Methods on channel 1 after `queue.declare q` and one message in it, and what they must be refused with.
fn refused() -> Vec<(Method, &'static str)> {
    let queue = |name: &str| queue::Declare { queue: short(name), ..Default::default() };
    let exchange = |name: &str, kind: &str| exchange::Declare {
        exchange: short(name),
        kind: short(kind),
        ..Default::default()
    };
    let consume = |queue: &str| basic::Consume { queue: short(queue), ..Default::default() };
    let priority = FieldTable::new().with("x-priority", "high");
    vec![
        (
            queue::Declare { passive: true, ..queue("no") }.into(),
            "channel 404 NOT_FOUND - no queue 'no' in vhost '/' (50,10)",
        ),
        (
            queue::Declare { passive: true, ..queue("") }.into(),
            "channel 404 NOT_FOUND - no queue '' in vhost '/' (50,10)",
        ),
        (
            queue::Declare { durable: true, ..queue("q") }.into(),
            "channel 406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false' (50,10)",
        ),
        (
            queue::Declare { auto_delete: true, ..queue("q") }.into(),
            "channel 406 PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false' (50,10)",
        ),
        (
            queue::Declare { arguments: FieldTable::new().with("x-message-ttl", 10), ..queue("q") }.into(),
            "channel 406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '10' of type 'signedint' but current is none (50,10)",
        ),
        (
            queue("amq.mine").into(),
            "channel 403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*' (50,10)",
        ),
        (queue::Purge::default().into(), "channel 404 NOT_FOUND - no previously declared queue (50,30)"),
        (
            queue::Delete { queue: short("q"), if_empty: true, ..Default::default() }.into(),
            "channel 406 PRECONDITION_FAILED - queue 'q' in vhost '/' not empty (50,40)",
        ),
        (
            queue::Bind { queue: short("q"), ..Default::default() }.into(),
            "channel 403 ACCESS_REFUSED - operation not permitted on the default exchange (50,20)",
        ),
        (
            queue::Bind { queue: short("q"), exchange: short("no"), ..Default::default() }.into(),
            "channel 404 NOT_FOUND - no exchange 'no' in vhost '/' (50,20)",
        ),
        (
            queue::Bind {
                queue: short("q"),
                exchange: short("amq.headers"),
                arguments: FieldTable::new().with("x-match", "some"),
                ..Default::default()
            }
            .into(),
            "channel 406 PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x (50,20)",
        ),
        (
            exchange("x", "nonsense").into(),
            "channel 406 PRECONDITION_FAILED - unknown exchange type 'nonsense' (40,10)",
        ),
        (
            exchange("", "direct").into(),
            "channel 403 ACCESS_REFUSED - operation not permitted on the default exchange (40,10)",
        ),
        (
            exchange("amq.mine", "direct").into(),
            "channel 403 ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*' (40,10)",
        ),
        (
            exchange("amq.direct", "fanout").into(),
            "channel 406 PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': received 'fanout' but current is 'direct' (40,10)",
        ),
        (
            exchange::Delete { exchange: short("amq.direct"), ..Default::default() }.into(),
            "channel 403 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed (40,20)",
        ),
        (
            basic::Get { queue: short("no"), no_ack: true }.into(),
            "channel 404 NOT_FOUND - no queue 'no' in vhost '/' (60,70)",
        ),
        (
            basic::Consume { arguments: priority, ..consume("q") }.into(),
            "channel 406 PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': {unacceptable_type,longstr} (60,20)",
        ),
        (
            basic::Nack { delivery_tag: 7, ..Default::default() }.into(),
            "channel 406 PRECONDITION_FAILED - unknown delivery tag 7 (60,120)",
        ),
        (
            basic::Qos { prefetch_size: 1, ..Default::default() }.into(),
            "connection 540 NOT_IMPLEMENTED - prefetch_size!=0 (1) (60,10)",
        ),
        (basic::Recover { requeue: false }.into(), "connection 540 NOT_IMPLEMENTED - requeue=false (60,110)"),
        (channel::Flow { active: false }.into(), "connection 540 NOT_IMPLEMENTED - active=false (20,20)"),
        (channel::Open {}.into(), "connection 504 CHANNEL_ERROR - second 'channel.open' seen (20,10)"),
        (
            basic::Ack { delivery_tag: 1, multiple: false }.into(),
            "channel 406 PRECONDITION_FAILED - unknown delivery tag 1 (60,80)",
        ),
        (queue::DeclareOk::default().into(), "connection 503 COMMAND_INVALID - unimplemented method (50,11)"),
    ]
}

#[test]
fn refusals_have_rabbitmqs_words() {
    for (method, text) in refused() {
        let mut test = Test::new();
        let (first, id) = (test.client(), test.client());
        test.declare(first, "q");
        test.publish(first, "q", "m");
        assert_eq!(test.refusal(id, 1, method), text);
        if text.starts_with("channel") {
            // Nothing more is heard on that channel until the close is answered.
            test.send(id, 1, basic::Qos { prefetch_size: 1, ..Default::default() });
            test.input(id, &message(1, "no", "q", "m"));
            assert!(test.bytes(id).is_empty());
            test.reopen(id, 1);
        } else {
            assert_eq!(test.want(id), Want::ReadWrite);
            test.send(id, 0, connection::CloseOk {});
            assert_eq!(test.want(id), Want::Shutdown);
        }
    }
}

#[test]
fn publishes_are_refused_in_rabbitmqs_words() {
    let to = |exchange: &str| basic::Publish { exchange: short(exchange), ..Default::default() };
    let plain = Properties::new;
    let expires = |text: &str| Properties::new().with_expiration(text).unwrap();
    for (publish, properties, text) in [
        (to("no"), plain(), "channel 404 NOT_FOUND - no exchange 'no' in vhost '/' (60,40)"),
        (
            to("inner"),
            plain(),
            "channel 403 ACCESS_REFUSED - cannot publish to internal exchange 'inner' in vhost '/' (60,40)",
        ),
        (
            to(""),
            expires("abc"),
            "channel 406 PRECONDITION_FAILED - invalid expiration 'abc': no_integer (60,40)",
        ),
        (
            to(""),
            expires("-1"),
            "channel 406 PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1} (60,40)",
        ),
        (
            to(""),
            Properties::new().with_user_id("x").unwrap(),
            "channel 406 PRECONDITION_FAILED - user_id property set to 'x' but authenticated user was 'guest' (60,40)",
        ),
        (
            basic::Publish { immediate: true, ..to("") },
            plain(),
            "connection 540 NOT_IMPLEMENTED - immediate=true (60,40)",
        ),
    ] {
        // In one piece and frame by frame.
        for whole in [true, false] {
            let mut test = Test::new();
            let id = test.client();
            let inner = exchange::Declare {
                exchange: short("inner"),
                kind: short("direct"),
                internal: true,
                ..Default::default()
            };
            test.ask(id, 1, inner);
            let bytes = content(1, publish.clone(), &properties, b"body", 4096);
            if whole {
                test.input(id, &bytes);
            } else {
                feed(&mut test, id, &bytes, 1);
            }
            assert_eq!(test.fault(id), text);
        }
    }
    let mut test = Test::with(Config { max_message_size: 10, ..Config::default() });
    let id = test.client();
    test.input(id, &message(1, "", "q", "eleven char"));
    assert_eq!(
        test.fault(id),
        "channel 406 PRECONDITION_FAILED - message size 11 is larger than configured max size 10 (60,40)"
    );
}

/// Hands in `bytes` in pieces of `step`.
pub(super) fn feed(test: &mut Test, id: ConnectionId, bytes: &[u8], step: usize) {
    let mut input = BytesMut::new();
    for piece in bytes.chunks(step) {
        input.extend_from_slice(piece);
        test.broker.connection(id).unwrap().handle_input(&mut input, test.now);
    }
}

#[test]
fn exclusive_use_and_reused_tags() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    let consume = |tag: &str, exclusive| basic::Consume {
        queue: short("q"),
        consumer_tag: short(tag),
        exclusive,
        ..Default::default()
    };
    test.ask(id, 1, consume("a", true));
    let text = test.refusal(id, 1, consume("b", false));
    assert_eq!(text, "channel 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use (60,20)");
    test.reopen(id, 1);
    test.ask(id, 1, consume("a", false));
    let text = test.refusal(id, 1, consume("b", true));
    assert_eq!(text, "channel 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use (60,20)");
    test.reopen(id, 1);
    test.ask(id, 1, consume("a", false));
    let unused = queue::Delete { queue: short("q"), if_unused: true, ..Default::default() };
    let text = test.refusal(id, 1, unused);
    assert_eq!(text, "channel 406 PRECONDITION_FAILED - queue 'q' in vhost '/' in use (50,40)");
    test.reopen(id, 1);
    test.ask(id, 1, consume("a", false));
    let text = test.refusal(id, 1, consume("a", false));
    assert_eq!(text, "connection 530 NOT_ALLOWED - attempt to reuse consumer tag 'a' (60,20)");
}

#[test]
fn channels_are_counted_and_must_be_open() {
    let mut test = Test::with(Config { channel_max: 2, ..Config::default() });
    let id = test.accept();
    test.input(id, &PROTOCOL_HEADER);
    let response = Credentials::new("guest", "guest").response(Mechanism::Plain).unwrap();
    let start_ok = connection::StartOk { mechanism: short("PLAIN"), response, ..Default::default() };
    test.send(id, 0, start_ok);
    test.send(id, 0, connection::TuneOk { channel_max: 2, frame_max: 8192, heartbeat: 0 });
    test.send(id, 0, connection::Open { virtual_host: short("/") });
    test.send(id, 7, channel::Open {});
    test.send(id, 9000, channel::Open {});
    let text = test.refusal(id, 3, channel::Open {});
    let want = "connection 530 NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2) (0,0)";
    assert_eq!(text, want);

    let mut test = Test::new();
    let id = test.client();
    let text = test.refusal(id, 2, basic::Qos::default());
    assert_eq!(text, "connection 504 CHANNEL_ERROR - expected 'channel.open' (60,10)");
}

#[test]
fn crossing_channel_closes() {
    let mut test = Test::new();
    let id = test.client();
    let text = test.refusal(id, 1, basic::Get { queue: short("no"), no_ack: true });
    assert!(text.starts_with("channel 404"));
    assert_eq!(test.ask(id, 1, channel::Close::default()), channel::CloseOk {}.into());
    test.reopen(id, 1);
}

#[test]
fn frames_out_of_order_close_the_connection() {
    let method = frame(1, basic::Publish { routing_key: short("q"), ..Default::default() });
    let header = |class: u8| {
        let mut header = vec![2, 0, 1, 0, 0, 0, 14, 0, class, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0];
        header.push(FRAME_END);
        header
    };
    let body = |size: u8| {
        let mut body = vec![3, 0, 1, 0, 0, 0, size];
        body.extend(vec![7; size.into()]);
        body.push(FRAME_END);
        body
    };
    let ack = frame(1, basic::Ack::default());
    for (bytes, text) in [
        (
            body(1),
            "connection 505 UNEXPECTED_FRAME - expected method frame, got non method frame instead (0,0)",
        ),
        (
            header(60),
            "connection 505 UNEXPECTED_FRAME - expected method frame, got non method frame instead (0,0)",
        ),
        (
            [method.clone(), ack.clone()].concat(),
            "connection 505 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead (60,40)",
        ),
        (
            [method.clone(), header(50)].concat(),
            "connection 505 UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead (60,40)",
        ),
        (
            [method.clone(), header(60), ack].concat(),
            "connection 505 UNEXPECTED_FRAME - expected content body, got non content body frame instead (60,40)",
        ),
        (
            [method.clone(), header(60), body(4)].concat(),
            "connection 501 FRAME_ERROR - content body frame exceeds remaining content size (60,40)",
        ),
        (
            vec![9, 0, 1, 0, 0, 0, 0, FRAME_END],
            "connection 501 FRAME_ERROR - type 9, all octets = <<>>: unknown_frame (0,0)",
        ),
        (
            vec![1, 0, 1, 0, 0, 0, 1, 5, 0],
            "connection 501 FRAME_ERROR - type 1, all octets = <<5>>: {invalid_frame_end_marker,0} (0,0)",
        ),
        (
            vec![3, 0, 1, 0, 2, 0, 1],
            "connection 501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064} (0,0)",
        ),
        (
            vec![8, 0, 1, 0, 0, 0, 0, FRAME_END],
            "connection 505 UNEXPECTED_FRAME - type 8, channel 1, 0 octets (0,0)",
        ),
        (
            vec![1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 99, FRAME_END],
            "connection 540 NOT_IMPLEMENTED - unknown method 99 of class 60 (60,99)",
        ),
    ] {
        let mut test = Test::new();
        let id = test.client();
        test.input(id, &bytes);
        assert_eq!(test.fault(id), text);
        // The rest makes no sense, or is ignored; either way it ends.
        test.input(id, &frame(1, basic::Qos::default()));
        assert!(test.bytes(id).is_empty());
        test.now = test.deadline(id).unwrap();
        test.timeout(id);
        assert_eq!(test.want(id), Want::Shutdown);
    }
    // A message may have empty body frames.
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    test.input(id, &[method, header(60), body(0), body(2), body(0), body(1)].concat());
    assert_eq!(test.stats("q"), Some((1, 0, 0)));
}
