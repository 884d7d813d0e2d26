use super::*;

#[test]
fn a_slow_reader_holds_back_its_own_deliveries_only() {
    let mut test = Test::with(Config { max_outbox_bytes: 10_000, ..Config::default() });
    let (slow, publisher) = (test.client(), test.client());
    test.declare(publisher, "q");
    test.consume(slow, "q", "slow", 0);
    test.got(slow);
    while test.broker.poll_touched().is_some() {}
    let body = "x".repeat(1000);
    for _ in 0..100 {
        test.publish(publisher, "q", &body);
    }
    assert_eq!(test.broker.poll_touched(), Some(slow));
    let waiting = test.broker.connection(slow).unwrap().outbox().len();
    assert!((10_000..12_000).contains(&waiting), "{waiting}");
    assert_ne!(test.deadline(slow), Some(Instant::ZERO), "nothing to do before something is written");
    let mut count = test.deliveries(slow).len();
    while count < 100 {
        assert_eq!(test.deadline(slow), Some(Instant::ZERO));
        test.timeout(slow);
        let waiting = test.broker.connection(slow).unwrap().outbox().len();
        assert!(waiting < 12_000);
        let came = test.deliveries(slow).len();
        assert!(came > 0);
        count += came;
    }
    test.timeout(slow);
    assert_ne!(test.deadline(slow), Some(Instant::ZERO));
    assert_eq!(test.stats("q"), Some((0, 100, 1)));
}

#[test]
fn a_consumer_that_was_held_back_can_go() {
    let mut test = Test::with(Config { max_outbox_bytes: 1000, ..Config::default() });
    let id = test.client();
    test.declare(id, "q");
    for tag in ["a", "b"] {
        test.consume(id, "q", tag, 0);
    }
    for _ in 0..20 {
        test.publish(id, "q", &"x".repeat(300));
    }
    test.send(id, 1, basic::Cancel { consumer_tag: short("a"), no_wait: true });
    test.got(id);
    test.timeout(id);
    assert!(test.deliveries(id).iter().all(|(tag, ..)| tag == "b"));
    test.send(id, 1, queue::Delete { queue: short("q"), no_wait: true, ..Default::default() });
    test.got(id);
    test.timeout(id);
    assert_ne!(test.deadline(id), Some(Instant::ZERO));
    assert!(test.broker.consumers.len() == 0);
}

#[test]
fn who_never_reads_is_not_read_from() {
    let mut test = Test::with(Config { max_outbox_bytes: 1000, ..Config::default() });
    let id = test.client();
    let publish = basic::Publish { mandatory: true, ..Default::default() };
    let flood = content(1, publish, &Properties::new(), &[7; 500], 4096);
    let mut count = 0;
    while test.want(id) == Want::ReadWrite {
        test.input(id, &flood);
        count += 1;
        assert!(count < 100);
    }
    assert_eq!(test.want(id), Want::Write);
    // It is dropped when it takes nothing for two intervals, and lives on when it does.
    test.bytes(id);
    assert_eq!(test.want(id), Want::ReadWrite);
    for _ in 0..count {
        test.input(id, &flood);
    }
    while let Some(deadline) = test.deadline(id) {
        test.now = deadline;
        test.timeout(id);
    }
    assert_eq!(test.want(id), Want::Shutdown);
}

#[test]
fn a_dead_connection_gives_its_messages_to_the_next() {
    let mut test = Test::new();
    let (dead, next) = (test.client(), test.client());
    test.declare(dead, "q");
    test.consume(dead, "q", "dead", 0);
    test.consume(next, "q", "next", 0);
    for body in ["1", "2", "3", "4"] {
        test.publish(next, "q", body);
    }
    assert_eq!(
        (test.bodies(dead), test.bodies(next)),
        (vec!["1".into(), "3".into()], vec!["2".into(), "4".into()])
    );
    while test.broker.poll_touched().is_some() {}
    test.broker.connection(dead).unwrap().handle_eof(test.now);
    assert_eq!(test.broker.poll_touched(), Some(next));
    let again: Vec<_> =
        test.deliveries(next).into_iter().map(|(.., redelivered, body)| (redelivered, body)).collect();
    assert_eq!(again, [(true, "1".to_string()), (true, "3".to_string())]);
    assert!(matches!(test.events(dead).last(), Some(Event::Closed { reason: Closed::Eof })));
}
