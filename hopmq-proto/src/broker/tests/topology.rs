use super::*;

fn exchange(name: &str, kind: &str) -> exchange::Declare {
    exchange::Declare { exchange: short(name), kind: short(kind), ..Default::default() }
}

fn bind(queue: &str, exchange: &str, key: &str) -> queue::Bind {
    queue::Bind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short(key),
        ..Default::default()
    }
}

fn ready(test: &Test, queues: &[&str]) -> Vec<usize> {
    queues.iter().map(|queue| test.stats(queue).unwrap().0).collect()
}

#[test]
fn each_kind_of_exchange_routes() {
    let mut test = Test::new();
    let id = test.client();
    for queue in ["a", "b"] {
        test.declare(id, queue);
    }
    for (exchange, a, b) in
        [("amq.direct", "k", "j"), ("amq.fanout", "", "x"), ("amq.topic", "*.k", "#"), ("amq.match", "", "")]
    {
        for (queue, key, header) in [("a", a, 1), ("b", b, 2)] {
            let arguments = if exchange == "amq.match" {
                FieldTable::new().with("n", header).with("x-match", "any")
            } else {
                FieldTable::new()
            };
            let bind = queue::Bind { arguments, ..bind(queue, exchange, key) };
            assert_eq!(test.ask(id, 1, bind.clone()), queue::BindOk {}.into());
            assert_eq!(test.ask(id, 1, bind), queue::BindOk {}.into(), "twice is once");
        }
    }
    test.input(id, &message(1, "amq.direct", "k", "x"));
    assert_eq!(ready(&test, &["a", "b"]), [1, 0]);
    test.input(id, &message(1, "amq.fanout", "k", "x"));
    assert_eq!(ready(&test, &["a", "b"]), [2, 1]);
    test.input(id, &message(1, "amq.topic", "x.k", "x"));
    assert_eq!(ready(&test, &["a", "b"]), [3, 2]);
    let publish = basic::Publish { exchange: short("amq.match"), ..Default::default() };
    let properties = Properties::new().with_headers(FieldTable::new().with("n", 2i64));
    test.input(id, &content(1, publish, &properties, b"x", 4096));
    assert_eq!(ready(&test, &["a", "b"]), [3, 3]);
}

#[test]
fn exchanges_that_are_bound_in_a_circle_route_once() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    for name in ["x", "y"] {
        assert_eq!(test.ask(id, 1, exchange(name, "fanout")), exchange::DeclareOk {}.into());
        assert_eq!(test.ask(id, 1, bind("q", name, "")), queue::BindOk {}.into());
    }
    for (source, destination) in [("x", "y"), ("y", "x"), ("x", "x")] {
        let bind =
            exchange::Bind { source: short(source), destination: short(destination), ..Default::default() };
        assert_eq!(test.ask(id, 1, bind), exchange::BindOk {}.into());
    }
    test.input(id, &message(1, "x", "", "m"));
    assert_eq!(test.stats("q"), Some((1, 0, 0)));
}

#[test]
fn an_alternate_exchange_takes_what_nobody_wants() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    let arguments = FieldTable::new().with("alternate-exchange", "amq.fanout");
    test.ask(id, 1, exchange::Declare { arguments, ..exchange("x", "direct") });
    test.ask(id, 1, bind("q", "amq.fanout", ""));
    test.input(id, &message(1, "x", "nobody", "m"));
    assert_eq!(test.stats("q"), Some((1, 0, 0)));
}

#[test]
fn carbon_copies_route_and_blind_ones_are_removed() {
    let mut test = Test::new();
    let id = test.client();
    for queue in ["a", "b", "c"] {
        test.declare(id, queue);
    }
    let keys = |key: &str| FieldValue::Array(vec![key.into()]);
    let headers = FieldTable::new().with("CC", keys("b")).with("BCC", keys("c"));
    let publish = basic::Publish { routing_key: short("a"), ..Default::default() };
    test.input(id, &content(1, publish.clone(), &Properties::new().with_headers(headers), b"m", 4096));
    assert_eq!(ready(&test, &["a", "b", "c"]), [1, 1, 1]);
    let got = test.call(id, 1, basic::Get { queue: short("c"), no_ack: true });
    let [Got::Message(_, _, properties, _)] = &got[..] else { panic!("{got:?}") };
    let headers = properties.headers.as_ref().unwrap();
    assert!(headers.get("CC").is_some() && headers.get("BCC").is_none());
    let wrong = Properties::new().with_headers(FieldTable::new().with("CC", "b"));
    test.input(id, &content(1, publish, &wrong, b"m", 4096));
    assert!(test.fault(id).starts_with("channel 406 PRECONDITION_FAILED - invalid message"));
}

#[test]
fn names_are_generated_out_of_the_seed() {
    let name = |seed| {
        let mut test = Test::with(Config { seed, ..Config::default() });
        let id = test.client();
        let Method::QueueDeclareOk(ok) = test.ask(id, 1, queue::Declare::default()) else { panic!() };
        // An empty name means that queue now.
        assert_eq!(test.ask(id, 1, bind("", "amq.direct", "")), queue::BindOk {}.into());
        let key = ok.queue.as_str().unwrap();
        test.input(id, &message(1, "amq.direct", key, "m"));
        assert_eq!(test.stats(key), Some((1, 0, 0)), "the key is the queue's name");
        ok.queue
    };
    assert_eq!(name(1), name(1));
    assert_ne!(name(1), name(2));
    assert!(name(1).as_str().unwrap().starts_with("amq.gen-"));
}

#[test]
fn exclusive_queues_are_locked_and_go_with_their_connection() {
    let mut test = Test::new();
    let (owner, other) = (test.client(), test.client());
    let declare = queue::Declare { queue: short("q"), exclusive: true, durable: true, ..Default::default() };
    test.ask(owner, 1, declare.clone());
    test.ask(owner, 1, declare.clone());
    let locked = "channel 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. \
                  It could be originally declared on another connection or the exclusive property value does not \
                  match that of the original declaration.";
    let passive = queue::Declare { queue: short("q"), passive: true, ..Default::default() };
    let methods: [Method; 6] = [
        declare.into(),
        passive.into(),
        basic::Get { queue: short("q"), no_ack: true }.into(),
        basic::Consume { queue: short("q"), ..Default::default() }.into(),
        queue::Delete { queue: short("q"), ..Default::default() }.into(),
        queue::Purge { queue: short("q"), ..Default::default() }.into(),
    ];
    for method in methods {
        let (class, id) = method.id();
        assert_eq!(test.refusal(other, 1, method), std::format!("{locked} ({class},{id})"));
        test.reopen(other, 1);
    }
    test.publish(other, "q", "allowed");
    assert_eq!(test.stats("q"), Some((1, 0, 0)));
    test.broker.release(owner, test.now);
    assert_eq!(test.stats("q"), None);
}

#[test]
fn auto_delete_waits_for_a_first_consumer_or_binding() {
    let mut test = Test::new();
    let id = test.client();
    let declare = queue::Declare { queue: short("q"), auto_delete: true, ..Default::default() };
    test.ask(id, 1, declare);
    test.ask(id, 1, exchange::Declare { auto_delete: true, ..exchange("x", "fanout") });
    test.ask(id, 1, bind("q", "x", ""));
    test.consume(id, "q", "c", 0);
    test.got(id);
    let cancel = basic::Cancel { consumer_tag: short("c"), no_wait: false };
    assert_eq!(test.ask(id, 1, cancel.clone()), basic::CancelOk { consumer_tag: short("c") }.into());
    assert_eq!(test.stats("q"), None);
    assert_eq!(
        test.ask(id, 1, cancel),
        basic::CancelOk { consumer_tag: short("c") }.into(),
        "unknown is fine"
    );
    let gone = test.refusal(id, 1, exchange::Declare { passive: true, ..exchange("x", "") });
    assert_eq!(gone, "channel 404 NOT_FOUND - no exchange 'x' in vhost '/' (40,10)");
}

#[test]
fn purge_and_delete_count() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    for _ in 0..3 {
        test.publish(id, "q", "m");
    }
    let purge = queue::Purge { queue: short("q"), no_wait: false };
    assert_eq!(test.ask(id, 1, purge), queue::PurgeOk { message_count: 3 }.into());
    test.publish(id, "q", "m");
    let delete = queue::Delete { queue: short("q"), ..Default::default() };
    assert_eq!(test.ask(id, 1, delete.clone()), queue::DeleteOk { message_count: 1 }.into());
    assert_eq!(test.ask(id, 1, delete), queue::DeleteOk { message_count: 0 }.into());
}

#[test]
fn deleting_a_queue_cancels_its_consumers_after_the_answer() {
    let mut test = Test::new();
    let (id, deaf) = (test.client(), test.client_with(131_072, false));
    test.declare(id, "q");
    test.consume(id, "q", "c", 0);
    test.consume(deaf, "q", "d", 0);
    test.got(id);
    test.got(deaf);
    let got = test.call(id, 1, queue::Delete { queue: short("q"), ..Default::default() });
    let cancel = basic::Cancel { consumer_tag: short("c"), no_wait: true };
    let want = [Got::Method(1, queue::DeleteOk { message_count: 0 }.into()), Got::Method(1, cancel.into())];
    assert_eq!(got, want);
    assert!(test.got(deaf).is_empty());
}
