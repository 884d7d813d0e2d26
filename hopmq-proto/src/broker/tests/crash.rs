//! What a broker has after it was killed.

use super::*;
use crate::broker::Disk;

fn persistent(key: &str, body: &str) -> Vec<u8> {
    routed("", key, body)
}

fn routed(exchange: &str, key: &str, body: &str) -> Vec<u8> {
    let publish = basic::Publish { exchange: short(exchange), routing_key: short(key), ..Default::default() };
    content(1, publish, &Properties::new().persistent(), body.as_bytes(), 131_072)
}

fn queue(name: &str, durable: bool) -> queue::Declare {
    queue::Declare { queue: short(name), durable, ..Default::default() }
}

fn exchange(name: &str, durable: bool, auto_delete: bool) -> exchange::Declare {
    let (exchange, kind) = (short(name), short("direct"));
    exchange::Declare { exchange, kind, durable, auto_delete, ..Default::default() }
}

fn bind(queue: &str, exchange: &str) -> queue::Bind {
    queue::Bind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short("k"),
        ..Default::default()
    }
}

/// What a fresh client gets from a queue: the body of each message, and whether it is marked.
fn drain(test: &mut Test, name: &str) -> Vec<(String, bool)> {
    let id = test.client();
    let mut all = vec![];
    loop {
        test.send(id, 1, basic::Get { queue: short(name), no_ack: true });
        match &test.got(id)[..] {
            [Got::Message(_, Method::BasicGetOk(got), _, body)] => {
                all.push((String::from_utf8(body.to_vec()).unwrap(), got.redelivered));
            }
            [Got::Method(_, Method::BasicGetEmpty(_))] => return all,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn persistent_messages_of_durable_queues_are_left_in_their_order_and_all_of_them_are_marked() {
    let mut test = Test::new();
    let id = test.client();
    test.ask(id, 1, queue("q", true));
    for n in 1..=5 {
        test.input(id, &persistent("q", &n.to_string()));
    }
    test.publish(id, "q", "transient");
    let other = test.client();
    test.consume(other, "q", "c", 3);
    test.got(other);
    test.send(other, 1, basic::Ack { delivery_tag: 2, multiple: false }); // 4 is delivered then
    test.got(other);
    assert_eq!(test.stats("q"), Some((2, 3, 1)));
    test.broker.crash(Disk::Kept);
    assert_eq!(test.stats("q"), Some((4, 0, 0)));
    let all = drain(&mut test, "q");
    let all: Vec<_> = all.iter().map(|(body, redelivered)| (body.as_str(), *redelivered)).collect();
    assert_eq!(all, [("1", true), ("3", true), ("4", true), ("5", true)]);
}

#[test]
fn what_is_not_durable_is_gone_with_its_bindings() {
    let mut test = Test::new();
    let id = test.client();
    test.ask(id, 1, queue("kept", true));
    test.ask(id, 1, queue("gone", false));
    test.ask(
        id,
        1,
        queue::Declare { queue: short("mine"), durable: true, exclusive: true, ..Default::default() },
    );
    test.ask(id, 1, exchange("stays", true, false));
    test.ask(id, 1, exchange("goes", false, false));
    // An auto-delete exchange goes when it is unbound, and nobody unbinds anything here.
    test.ask(id, 1, exchange("automatic", true, true));
    for (queue, exchange) in
        [("kept", "stays"), ("gone", "stays"), ("mine", "stays"), ("kept", "goes"), ("gone", "automatic")]
    {
        test.ask(id, 1, bind(queue, exchange));
    }
    test.broker.crash(Disk::Kept);
    assert_eq!((test.stats("gone"), test.stats("mine")), (None, None));
    assert_eq!(test.broker.vhosts[0].bindings, 1);
    let id = test.client();
    for left in ["stays", "automatic"] {
        let passive = exchange::Declare { passive: true, ..exchange(left, true, left == "automatic") };
        assert_eq!(test.ask(id, 1, passive), exchange::DeclareOk {}.into());
    }
    test.input(id, &routed("stays", "k", "routed"));
    assert_eq!(drain(&mut test, "kept"), [("routed".to_string(), false)]);
    let refusal = test.refusal(id, 1, exchange::Declare { passive: true, ..exchange("goes", false, false) });
    assert!(refusal.contains("404"), "{refusal}");
}

#[test]
fn without_its_disk_it_has_what_a_new_broker_has() {
    let mut test = Test::new();
    let id = test.client();
    test.ask(id, 1, queue("q", true));
    test.ask(id, 1, exchange("e", true, false));
    test.ask(id, 1, bind("q", "e"));
    test.ask(id, 1, bind("q", "amq.direct"));
    test.broker.crash(Disk::Lost);
    let fresh = Broker::new(Config::default());
    assert_eq!((test.stats("q"), test.broker.vhosts[0].bindings), (None, 0));
    assert_eq!(test.broker.exchanges.len(), fresh.exchanges.len());
    let id = test.client();
    test.ask(id, 1, queue("q", true));
    test.ask(id, 1, bind("q", "amq.direct"));
    test.input(id, &routed("amq.direct", "k", "routed"));
    assert_eq!(drain(&mut test, "q"), [("routed".to_string(), false)]);
}

#[test]
fn its_connections_are_gone_and_their_ids_find_nothing() {
    let mut test = Test::new();
    let id = test.client();
    test.ask(id, 1, queue("q", true));
    test.input(id, &persistent("q", "1"));
    test.consume(id, "q", "c", 0);
    test.broker.crash(Disk::Kept);
    assert_eq!(test.broker.connections(), 0);
    assert!(test.broker.connection(id).is_none());
    test.broker.release(id, test.now); // its transport is gone only now
    while test.broker.poll_touched().is_some() {}
    assert_eq!(test.stats("q"), Some((1, 0, 0)));
    let next = test.client();
    assert_ne!(next, id);
    test.consume(next, "q", "c", 0);
    assert_eq!(test.bodies(next), ["1"]);
}
