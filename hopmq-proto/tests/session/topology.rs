//! Exchanges, queues and bindings after a loss: those that come back, and those that must not.

use std::time::Duration;

use bytes::BytesMut;
use hopmq_proto::Engine;
use hopmq_proto::amqp::{Method, ReplyCode, ShortStr, basic, connection, exchange, queue, write_method};
use hopmq_proto::broker::{self, Broker};
use hopmq_proto::client::{
    ChannelId, CloseReason, Entity, EntityFilter, EntityOutcome, Event, Recovery, Refused, Unrecorded,
};

use crate::net::{Net, short};
use crate::other::Other;

fn declare_exchange(name: &str, auto_delete: bool) -> exchange::Declare {
    exchange::Declare { exchange: short(name), kind: short("topic"), auto_delete, ..Default::default() }
}

fn declare_queue(name: &str) -> queue::Declare {
    queue::Declare { queue: short(name), ..Default::default() }
}

fn bind(queue: &str, exchange: &str, key: &str) -> queue::Bind {
    queue::Bind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short(key),
        ..Default::default()
    }
}

fn bind_exchange(destination: &str, source: &str, key: &str) -> exchange::Bind {
    exchange::Bind {
        destination: short(destination),
        source: short(source),
        routing_key: short(key),
        ..Default::default()
    }
}

/// The broker comes back without anything.
fn restart(net: &mut Net) {
    net.cut();
    net.broker = Broker::new(broker::Config { seed: net.now.as_nanos(), ..Default::default() });
    net.pass(Duration::from_secs(1));
    assert!(net.session.is_open());
}

fn ready(net: &Net, queue: &str) -> Option<usize> {
    net.broker.queue("/", queue).map(|stats| stats.ready)
}

fn degraded(net: &Net) -> Vec<(String, Option<ReplyCode>)> {
    net.events
        .iter()
        .filter_map(|event| match event {
            Event::Degraded { entity, reason: Refused::Server(reason) } => {
                let CloseReason::Server(close) = &**reason else { panic!("{reason:?}") };
                Some((entity.to_string(), Some(close.code)))
            }
            Event::Degraded { entity, .. } => Some((entity.to_string(), None)),
            _ => None,
        })
        .collect()
}

/// What the last recovery says of itself.
fn outcomes(net: &Net) -> &[EntityOutcome] {
    let reports = net.events.iter().rev();
    let mut reports = reports.filter_map(|event| match event {
        Event::Recovered { outcomes, .. } => Some(outcomes),
        _ => None,
    });
    reports.next().unwrap()
}

fn publish(net: &mut Net, exchange: &str, key: &str) {
    let mut other = Other::new(&mut net.broker, net.now);
    other.publish(&mut net.broker, exchange, key, net.now);
}

fn has_exchange(net: &mut Net, name: &str) -> bool {
    Other::new(&mut net.broker, net.now).has_exchange(&mut net.broker, name, net.now)
}

#[test]
fn everything_comes_back_to_an_empty_broker() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    net.call(channel, declare_exchange("in", false));
    net.call(channel, declare_exchange("out", false));
    net.call(channel, bind_exchange("out", "in", "a.*"));
    net.declare(channel, declare_queue("q"));
    net.call(channel, bind("q", "out", "#"));
    net.call(channel, bind("q", "amq.fanout", ""));
    restart(&mut net);
    publish(&mut net, "in", "a.b");
    publish(&mut net, "in", "b.b");
    publish(&mut net, "amq.fanout", "");
    assert_eq!(ready(&net, "q"), Some(2));
    assert_eq!(outcomes(&net).len(), 6);
    assert!(outcomes(&net).iter().all(|outcome| outcome.result.is_ok()));
}

#[test]
fn what_was_deleted_does_not_come_back() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    for queue in ["deleted", "unbound", "cancelled", "vanished"] {
        let auto_delete = queue == "cancelled";
        net.declare(channel, queue::Declare { auto_delete, ..declare_queue(queue) });
        net.call(channel, bind(queue, "amq.topic", "k"));
    }
    net.call(channel, declare_exchange("deleted", false));
    net.call(channel, declare_exchange("auto", true));
    net.call(channel, bind_exchange("auto", "amq.topic", "k"));
    net.call(channel, bind("unbound", "auto", "k"));

    net.call(channel, queue::Delete { queue: short("deleted"), ..Default::default() });
    net.call(channel, exchange::Delete { exchange: short("deleted"), ..Default::default() });
    for exchange in ["auto", "amq.topic"] {
        let (queue, exchange, routing_key) = (short("unbound"), short(exchange), short("k"));
        net.call(channel, queue::Unbind { queue, exchange, routing_key, ..Default::default() });
    }
    let tag = short("c");
    let consume =
        basic::Consume { queue: short("cancelled"), consumer_tag: tag.clone(), ..Default::default() };
    net.call(channel, consume);
    net.call(channel, basic::Cancel { consumer_tag: tag, no_wait: false });
    let _ = net.consume(channel, &short("vanished"));
    let mut other = Other::new(&mut net.broker, net.now);
    let delete = queue::Delete { queue: short("vanished"), ..Default::default() };
    other.call(&mut net.broker, delete, net.now).unwrap();
    net.run();
    assert!(net.events.iter().any(|event| matches!(event, Event::ConsumerCancelled { .. })));

    restart(&mut net);
    let back: Vec<_> = outcomes(&net).iter().map(|outcome| outcome.entity.to_string()).collect();
    assert_eq!(back, ["queue \"unbound\""]);
    assert!(!has_exchange(&mut net, "auto") && !has_exchange(&mut net, "deleted"));
    publish(&mut net, "amq.topic", "k");
    assert_eq!(ready(&net, "unbound"), Some(0));
}

#[test]
fn what_asked_for_no_answer_counts_in_its_turn() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    let no_wait = |name| queue::Declare { no_wait: true, ..declare_queue(name) };
    let delete = |name| queue::Delete { queue: short(name), ..Default::default() };
    net.session.send_no_wait(channel, no_wait("alone"), net.now).unwrap();
    net.session.send_no_wait(channel, no_wait("broken\r\nlines"), net.now).unwrap();
    let _ = net.session.call(channel, declare_queue("deleted"), net.now).unwrap();
    let deleted = queue::Delete { no_wait: true, ..delete("deleted") };
    net.session.send_no_wait(channel, deleted, net.now).unwrap();
    let _ = net.session.call(channel, delete("new"), net.now).unwrap();
    net.session.send_no_wait(channel, no_wait("new"), net.now).unwrap();
    let get = basic::Get { queue: short("new"), no_ack: true };
    let _ = net.session.call(channel, get, net.now).unwrap();
    let bound = queue::Bind { no_wait: true, ..bind("new", "amq.topic", "k") };
    net.session.send_no_wait(channel, bound, net.now).unwrap();
    net.run();
    let there = |net: &Net| ["alone", "brokenlines", "deleted", "new"].map(|name| ready(net, name));
    let before = there(&net);
    assert_eq!(before, [Some(0), Some(0), None, Some(0)]);
    restart(&mut net);
    assert_eq!(there(&net), before);
    publish(&mut net, "amq.topic", "k");
    assert_eq!(ready(&net, "new"), Some(1));
}

#[test]
fn what_asked_for_no_answer_and_was_on_its_way_is_sent_again_in_its_turn() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    let declared = net.session.call(channel, declare_queue("deleted"), net.now).unwrap();
    let delete = queue::Delete { queue: short("deleted"), no_wait: true, ..Default::default() };
    net.session.send_no_wait(channel, delete, net.now).unwrap();
    net.cut_and_recover();
    assert!(net.reply(declared).is_some());
    assert_eq!(ready(&net, "deleted"), None);
    restart(&mut net);
    assert_eq!(ready(&net, "deleted"), None);
}

#[test]
fn a_cancel_that_was_on_its_way_behind_other_calls_is_sent_again_behind_them() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    net.declare(channel, queue::Declare { auto_delete: true, ..declare_queue("q") });
    let consume = |tag| basic::Consume { queue: short("q"), consumer_tag: short(tag), ..Default::default() };
    let cancel = |tag| basic::Cancel { consumer_tag: short(tag), no_wait: false };
    net.call(channel, consume("first"));
    let calls: [Method; 4] = [
        consume("second").into(),
        cancel("second").into(),
        bind("q", "amq.topic", "k").into(),
        cancel("first").into(),
    ];
    let tokens = calls.map(|call| net.session.call(channel, call, net.now).unwrap());
    net.cut_and_recover();
    for token in tokens {
        assert!(net.reply(token).is_some(), "each as without the loss");
    }
    assert_eq!(ready(&net, "q"), None, "it went with its last consumer");
}

#[test]
fn the_first_name_of_a_queue_stays_good_through_every_loss() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    let first = net.declare(channel, queue::Declare { exclusive: true, ..declare_queue("") });
    let first = first.as_str().unwrap();
    net.call(channel, bind(first, "amq.topic", "a"));
    let mut names = vec![first.to_owned()];
    for _ in 0..3 {
        restart(&mut net);
        let renamed = net.events.iter().rev().find_map(|event| match event {
            Event::QueueRenamed { old, new } => Some((old.to_string(), new.to_string())),
            _ => None,
        });
        let (old, new) = renamed.unwrap();
        assert_eq!(names.last(), Some(&old));
        names.push(new);
    }
    let current = names.last().unwrap().clone();
    net.call(channel, bind(first, "amq.topic", "b"));
    publish(&mut net, "amq.topic", "a");
    publish(&mut net, "amq.topic", "b");
    assert_eq!(ready(&net, &current), Some(2));
    let passive = queue::Declare { passive: true, ..declare_queue(&names[1]) };
    assert_eq!(net.declare(channel, passive), current.as_str());
    net.call(channel, queue::Delete { queue: short(first), ..Default::default() });
    assert_eq!(ready(&net, &current), None);
    restart(&mut net);
    assert!(outcomes(&net).is_empty());
}

#[test]
fn a_named_by_the_server_queue_that_outlives_the_connection_keeps_name_and_messages() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    let name = net.declare(channel, declare_queue(""));
    let name = name.as_str().unwrap();
    net.call(channel, bind(name, "amq.fanout", ""));
    net.cut();
    publish(&mut net, "amq.fanout", "");
    net.pass(Duration::from_secs(1));
    publish(&mut net, "amq.fanout", "");
    assert_eq!(ready(&net, name), Some(2));
    assert!(!net.events.iter().any(|event| matches!(event, Event::QueueRenamed { .. })));
}

/// The queue is deleted while the connection is away, and declared otherwise by somebody else.
fn contradicted(net: &mut Net, name: &str) {
    net.cut();
    let mut other = Other::new(&mut net.broker, net.now);
    let delete = queue::Delete { queue: short(name), ..Default::default() };
    other.call(&mut net.broker, delete, net.now).unwrap();
    let otherwise = queue::Declare { auto_delete: true, ..declare_queue(name) };
    other.call(&mut net.broker, otherwise, net.now).unwrap();
    net.pass(Duration::from_secs(1));
}

#[test]
fn a_refused_entity_is_named_with_its_cause_and_left_alone_until_it_is_declared_anew() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    for queue in ["a", "b", "c"] {
        net.declare(channel, declare_queue(queue));
        net.call(channel, bind(queue, "amq.topic", "k"));
    }
    contradicted(&mut net, "b");
    assert!(net.session.is_open(), "it goes on");
    let binding = "binding of queue \"b\" to exchange \"amq.topic\" with key \"k\"";
    let expected =
        [("queue \"b\"".to_owned(), Some(ReplyCode::PRECONDITION_FAILED)), (binding.to_owned(), None)];
    assert_eq!(degraded(&net), expected);
    assert_eq!(outcomes(&net).iter().filter(|outcome| outcome.result.is_ok()).count(), 4);
    net.call(channel, bind("a", "amq.topic", "other")); // the channels are as they were

    net.events.clear();
    restart(&mut net);
    assert_eq!(degraded(&net), []);
    assert_eq!((ready(&net, "a"), ready(&net, "b"), ready(&net, "c")), (Some(0), None, Some(0)));

    net.declare(channel, declare_queue("b"));
    restart(&mut net);
    assert_eq!(ready(&net, "b"), Some(0));
}

fn exclusive_and_cut_unnoticed(net: &mut Net) -> (ChannelId, broker::ConnectionId) {
    let channel = net.channel();
    net.declare(channel, queue::Declare { exclusive: true, ..declare_queue("mine") });
    net.call(channel, bind("mine", "amq.topic", "k"));
    net.declare(channel, declare_queue("shared"));
    let _ = net.consume(channel, &short("mine"));
    let old = net.cut_unnoticed();
    (channel, old)
}

/// Fast reconnect: the server still holds the exclusive queue for the connection that is dead.
#[test]
fn an_exclusive_queue_is_waited_for_until_the_server_has_noticed_the_loss() {
    let mut net = Net::new(Recovery::default());
    let (channel, old) = exclusive_and_cut_unnoticed(&mut net);
    net.pass(Duration::from_secs(20));
    assert!(!net.session.is_open());
    net.broker.connection(old).unwrap().handle_eof(net.now);
    net.pass(Duration::from_secs(6));
    assert!(net.session.is_open());
    assert_eq!(degraded(&net), []);
    publish(&mut net, "amq.topic", "k");
    net.run();
    assert!(net.events.iter().any(|event| matches!(event, Event::Delivery { .. })));
    net.call(channel, basic::Qos::default());
}

#[test]
fn an_exclusive_queue_that_stays_locked_is_given_up() {
    let recovery = Recovery { locked_for: Duration::from_secs(10), ..Recovery::default() };
    let mut net = Net::new(recovery);
    let (channel, _) = exclusive_and_cut_unnoticed(&mut net);
    net.pass(Duration::from_secs(15));
    assert!(net.session.is_open());
    let codes: Vec<_> = degraded(&net).into_iter().map(|(_, code)| code).collect();
    let locked = Some(ReplyCode::RESOURCE_LOCKED);
    assert_eq!(codes, [locked, None, locked], "the queue, its binding, its consumer: {:?}", degraded(&net));
    net.call(channel, bind("shared", "amq.topic", "k"));
}

#[test]
fn what_cannot_be_remembered_is_said() {
    const MAX: usize = 65_536;
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    let unnamed = queue::Declare { no_wait: true, ..declare_queue("") };
    net.session.send_no_wait(channel, unnamed, net.now).unwrap();
    net.run();
    let reasons = |net: &mut Net| -> Vec<(String, Refused)> {
        let degraded = net.events.drain(..).filter_map(|event| match event {
            Event::Degraded { entity, reason } => Some((entity.to_string(), reason)),
            _ => None,
        });
        degraded.collect()
    };
    let nameless = Refused::Unrecorded(Unrecorded::Unnamed);
    assert_eq!(reasons(&mut net), [("queue \"\"".to_owned(), nameless)]);

    net.declare(channel, declare_queue("q"));
    for key in 1..MAX {
        let _ = net.session.call(channel, bind("q", "amq.topic", &key.to_string()), net.now).unwrap();
        if key % 1000 == 0 {
            net.run();
        }
    }
    net.run();
    assert_eq!(reasons(&mut net), []);
    let last = net.declare(channel, declare_queue(""));
    let full = Refused::Unrecorded(Unrecorded::Full(MAX));
    assert_eq!(reasons(&mut net), [(format!("queue {last:?}"), full)]);
}

#[test]
fn only_what_the_filter_takes_is_brought_back() {
    let filter = EntityFilter::new(|entity| match entity {
        Entity::Queue { name, .. } => *name != "theirs",
        Entity::Exchange(declare) => declare.exchange != "theirs",
        _ => true,
    });
    let mut net = Net::new(Recovery { filter: Some(filter), ..Recovery::default() });
    let channel = net.channel();
    net.declare(channel, declare_queue("mine"));
    net.declare(channel, declare_queue("theirs"));
    net.call(channel, declare_exchange("theirs", false));
    restart(&mut net);
    assert_eq!((ready(&net, "mine"), ready(&net, "theirs")), (Some(0), None));
    assert!(!has_exchange(&mut net, "theirs"));
    assert_eq!(outcomes(&net).len(), 1);
}

/// RabbitMQ 4.3 answers what it does not have any more with 541, and ends the connection.
#[test]
fn what_ends_the_connection_is_not_sent_again() {
    for (code, (class_id, method_id)) in [(541, (50, 10)), (541, (0, 0)), (530, (50, 10)), (540, (50, 10))] {
        let mut net = Net::new(Recovery::default());
        let channel = net.channel();
        for queue in ["a", "poison", "z"] {
            net.declare(channel, declare_queue(queue));
        }
        net.cut();
        net.broker = Broker::new(broker::Config::default());
        net.now = net.session.poll_timeout().unwrap();
        net.session.handle_timeout(net.now);
        let number = loop {
            if let Some(number) = about_to_send(&mut net, b"poison") {
                break number;
            }
            assert!(net.step());
        };
        // The queue before it is answered.
        let mut input = BytesMut::new();
        let ok = queue::DeclareOk { queue: short("a"), ..Default::default() };
        write_method(&mut input, number, usize::MAX, &ok.into()).unwrap();
        let reply_text = short("INTERNAL_ERROR");
        let close = connection::Close { reply_code: code, reply_text, class_id, method_id };
        write_method(&mut input, 0, usize::MAX, &close.into()).unwrap();
        net.session.handle_input(&mut input, net.now);
        net.pass(Duration::from_secs(5));
        assert!(net.session.is_open(), "{code}: {:?}", net.events);
        assert_eq!(degraded(&net), [("queue \"poison\"".to_owned(), Some(ReplyCode(code)))]);
        assert_eq!(["a", "poison", "z"].map(|queue| ready(&net, queue)), [Some(0), None, Some(0)]);
        assert_eq!(net.session.lives(), 3);
        restart(&mut net);
        assert_eq!(net.session.lives(), 4, "it ended one connection");
    }
}

/// The channel of the first frame that waits to be written, if this name is in what waits.
fn about_to_send(net: &mut Net, name: &[u8]) -> Option<u16> {
    let waiting: Vec<u8> = net.session.outbox().chunks().flatten().copied().collect();
    let is_there = waiting.windows(name.len()).any(|part| part == name);
    is_there.then(|| u16::from_be_bytes([waiting[1], waiting[2]]))
}

/// However far a recovery has come, the next one begins where everything is to be brought back.
#[test]
fn a_loss_in_the_middle_of_a_recovery_changes_nothing() {
    for steps in 0..60 {
        let mut net = Net::new(Recovery::default());
        let channel = net.channel();
        let exclusive = net.declare(channel, queue::Declare { exclusive: true, ..declare_queue("") });
        let shared = net.declare(channel, declare_queue(""));
        net.call(channel, declare_exchange("x", true));
        let names: [&ShortStr; 2] = [&exclusive, &shared];
        for name in names {
            net.call(channel, bind(name.as_str().unwrap(), "x", "k"));
        }
        let consumer = net.consume(channel, &exclusive);
        net.cut();
        net.broker = Broker::new(broker::Config { seed: 9, ..Default::default() });
        net.now = net.session.poll_timeout().unwrap();
        net.session.handle_timeout(net.now);
        for _ in 0..steps {
            let _: bool = net.step();
        }
        net.cut();
        net.pass(Duration::from_secs(2));
        assert!(net.session.is_open(), "after {steps} steps");
        publish(&mut net, "x", "k");
        net.run();
        assert_eq!(net.delivered(consumer).len(), 1, "after {steps} steps");
        let renamed: Vec<(String, String)> = net
            .events
            .iter()
            .filter_map(|event| match event {
                Event::QueueRenamed { old, new } => Some((old.to_string(), new.to_string())),
                _ => None,
            })
            .collect();
        for (old, _) in &renamed {
            assert_eq!(ready(&net, old), None, "{old} is left behind after {steps} steps");
        }
        let held: usize = renamed.iter().filter_map(|(_, new)| ready(&net, new)).sum();
        assert_eq!(held, 1, "the other queue has its message, {renamed:?} after {steps} steps");
        let method: Method = bind(shared.as_str().unwrap(), "x", "2").into();
        net.call(channel, method);
    }
}
