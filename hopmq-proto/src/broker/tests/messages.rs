use super::*;

#[test]
fn messages_come_as_they_were_sent_whatever_their_size() {
    for frame_max in [4096, 8192, 131_072] {
        let mut test = Test::new();
        let id = test.client_with(frame_max, true);
        test.declare(id, "q");
        test.consume(id, "q", "c", 0);
        test.got(id);
        for size in [0, 1, 4087, 4088, 4089, 4095, 4096, 4097, 8184, 100_000, 300_000] {
            let body: Vec<u8> = (0..size).map(|n| n as u8).collect();
            let properties = Properties::new().persistent().with_content_type("a/b").unwrap();
            let publish = basic::Publish { routing_key: short("q"), ..Default::default() };
            test.input(id, &content(1, publish, &properties, &body, frame_max as usize));
            let got = test.got(id);
            let [Got::Message(1, Method::BasicDeliver(deliver), p, b)] = &got[..] else { panic!("{size}") };
            assert!(deliver.routing_key == "q" && !deliver.redelivered);
            assert_eq!((p, &b[..]), (&properties, &body[..]), "{size}");
        }
    }
}

#[test]
fn confirms_are_joined_and_follow_returns() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    assert_eq!(test.ask(id, 1, confirm::Select::default()), confirm::SelectOk {}.into());
    test.publish(id, "q", "one");
    let ack = |delivery_tag, multiple| Got::Method(1, basic::Ack { delivery_tag, multiple }.into());
    assert_eq!(test.got(id), [ack(1, false)]);
    let mut batch = [message(1, "", "q", "two"), message(1, "", "q", "three")].concat();
    let lost = basic::Publish { routing_key: short("lost"), mandatory: true, ..Default::default() };
    batch.extend(content(1, lost, &Properties::new(), b"four", 4096));
    test.input(id, &batch);
    let returned = basic::Return {
        reply_code: 312,
        reply_text: short("NO_ROUTE"),
        exchange: short(""),
        routing_key: short("lost"),
    };
    let returned = Got::Message(1, returned.into(), Properties::new(), Bytes::from_static(b"four"));
    assert_eq!(test.got(id), [returned, ack(4, true)]);
    // A close in the same batch comes after the confirms.
    let batch = [message(1, "", "q", "five"), frame(1, channel::Close::default())].concat();
    test.input(id, &batch);
    assert_eq!(test.got(id), [ack(5, false), Got::Method(1, channel::CloseOk {}.into())]);
    assert_eq!(test.stats("q"), Some((4, 0, 0)));
}

#[test]
fn get_counts_down() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    test.publish(id, "q", "a");
    test.publish(id, "q", "b");
    let get = |no_ack| basic::Get { queue: short("q"), no_ack };
    for (no_ack, tag, left) in [(false, 1, 1), (true, 2, 0)] {
        let got = test.call(id, 1, get(no_ack));
        let [Got::Message(1, Method::BasicGetOk(ok), _, _)] = &got[..] else { panic!("{got:?}") };
        assert_eq!((ok.delivery_tag, ok.message_count), (tag, left));
    }
    assert_eq!(test.ask(id, 1, get(true)), basic::GetEmpty {}.into());
    assert_eq!(test.stats("q"), Some((0, 1, 0)));
}

#[test]
fn requeued_messages_return_to_their_place() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    for body in ["1", "2", "3", "4", "5"] {
        test.publish(id, "q", body);
    }
    for _ in 0..4 {
        test.call(id, 1, basic::Get { queue: short("q"), no_ack: false });
    }
    for tag in [3, 1] {
        test.send(id, 1, basic::Nack { delivery_tag: tag, multiple: false, requeue: true });
    }
    test.consume(id, "q", "c", 0);
    let bodies: Vec<_> =
        test.deliveries(id).into_iter().map(|(_, tag, again, body)| (tag, again, body)).collect();
    let want = [(5, true, "1"), (6, true, "3"), (7, false, "5")];
    assert_eq!(bodies, want.map(|(tag, again, body)| (tag, again, body.to_string())));
    // Cancel keeps what is unsettled; the channel's end gives it back, in order.
    test.call(id, 1, basic::Cancel { consumer_tag: short("c"), no_wait: true });
    assert_eq!(test.stats("q"), Some((0, 5, 0)));
    test.call(id, 1, channel::Close::default());
    assert_eq!(test.stats("q"), Some((5, 0, 0)));
    let other = test.client();
    test.consume(other, "q", "c", 0);
    assert_eq!(test.bodies(other), ["1", "2", "3", "4", "5"]);
    // So does the end of a connection.
    test.broker.release(other, test.now);
    assert_eq!(test.stats("q"), Some((5, 0, 0)));
    // recover gives back, too.
    let id = test.client();
    test.consume(id, "q", "c", 0);
    test.got(id);
    test.send(id, 1, basic::Recover { requeue: true });
    let again = test.deliveries(id);
    assert_eq!(again.len(), 5);
    assert!(again.iter().all(|(_, _, redelivered, _)| *redelivered));
}

#[test]
fn multiple_settles_up_to_the_tag() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    test.consume(id, "q", "c", 0);
    for _ in 0..5 {
        test.publish(id, "q", "m");
    }
    test.send(id, 1, basic::Ack { delivery_tag: 2, multiple: false });
    test.send(id, 1, basic::Ack { delivery_tag: 3, multiple: true });
    assert_eq!(test.stats("q"), Some((0, 2, 1)));
    test.send(id, 1, basic::Reject { delivery_tag: 5, requeue: false });
    test.send(id, 1, basic::Ack { delivery_tag: 0, multiple: true });
    test.send(id, 1, basic::Ack { delivery_tag: 0, multiple: true });
    assert_eq!(test.stats("q"), Some((0, 0, 1)));
    for (ack, tag) in [((4, false), 4), ((0, false), 0), ((9, true), 9)] {
        let ack = basic::Ack { delivery_tag: ack.0, multiple: ack.1 };
        let text = std::format!("channel 406 PRECONDITION_FAILED - unknown delivery tag {tag} (60,80)");
        assert_eq!(test.refusal(id, 1, ack), text);
        test.reopen(id, 1);
    }
}

#[test]
fn consumers_take_turns_within_their_prefetch() {
    let mut test = Test::new();
    let (a, b) = (test.client(), test.client());
    test.declare(a, "q");
    test.consume(a, "q", "a", 2);
    test.consume(b, "q", "b", 1);
    test.got(a);
    test.got(b);
    for n in 1..=6 {
        test.publish(a, "q", &n.to_string());
    }
    assert_eq!((test.bodies(a), test.bodies(b)), (vec!["1".into(), "3".into()], vec!["2".into()]));
    assert_eq!(test.broker.poll_touched(), Some(b));
    assert_eq!(test.broker.poll_touched(), None);
    test.send(b, 1, basic::Ack { delivery_tag: 1, multiple: false });
    assert_eq!(test.bodies(b), ["4"]);
    test.send(a, 1, basic::Ack { delivery_tag: 2, multiple: true });
    assert_eq!(test.bodies(a), ["5", "6"]);
}

#[test]
fn a_window_over_the_channel_is_shared() {
    let mut test = Test::new();
    let id = test.client();
    for queue in ["p", "q"] {
        test.declare(id, queue);
    }
    test.send(id, 1, basic::Qos { prefetch_count: 3, global: true, ..Default::default() });
    for queue in ["p", "q"] {
        let consume =
            basic::Consume { queue: short(queue), consumer_tag: short(queue), ..Default::default() };
        test.send(id, 1, consume);
    }
    test.got(id);
    for n in 0..3 {
        test.publish(id, "p", &std::format!("p{n}"));
        test.publish(id, "q", &std::format!("q{n}"));
    }
    assert_eq!(test.bodies(id), ["p0", "q0", "p1"]);
    test.send(id, 1, basic::Ack { delivery_tag: 2, multiple: true });
    assert_eq!(test.bodies(id).len(), 2);
    test.send(id, 1, basic::Qos { prefetch_count: 0, global: true, ..Default::default() });
    assert_eq!(test.bodies(id).len(), 1);
}

#[test]
fn no_ack_needs_no_window_and_priority_goes_first() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    for (tag, priority) in [("low", 1), ("high", 5)] {
        let arguments = FieldTable::new().with("x-priority", priority);
        let consume = basic::Consume {
            queue: short("q"),
            consumer_tag: short(tag),
            no_ack: tag == "low",
            arguments,
            ..Default::default()
        };
        test.send(id, 1, basic::Qos { prefetch_count: 1, ..Default::default() });
        test.send(id, 1, consume);
    }
    test.got(id);
    for _ in 0..4 {
        test.publish(id, "q", "m");
    }
    let tags: Vec<_> = test.deliveries(id).into_iter().map(|(consumer, ..)| consumer).collect();
    assert_eq!(tags, ["high", "low", "low", "low"]);
    assert_eq!(test.stats("q"), Some((0, 1, 2)));
}
