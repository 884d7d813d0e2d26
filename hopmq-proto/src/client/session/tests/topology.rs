use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::world::{MAX_ENTITIES, World, op};
use super::*;
use crate::amqp::{FieldTable, basic};
use crate::client::Token;
use crate::client::session::Entity;
use crate::client::session::topology::{Topology, Unrecorded};

fn done(topology: &mut Topology, methods: &[Method]) {
    for method in methods {
        topology.on_done(method, None).unwrap();
    }
}

fn named_by_server(topology: &mut Topology, name: &str) {
    topology.on_done(&queue::Declare::default().into(), Some(&short(name))).unwrap();
}

fn plan(topology: &Topology) -> Vec<String> {
    topology.plan(None).iter().map(ToString::to_string).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn after_a_loss_the_server_has_what_it_had(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.lose(false);
        world.lose(true);
        let recorded = world.topology.plan(None).len();
        let there = world.server.exchanges.len() + world.server.queues.len() + world.server.bindings.len();
        prop_assert_eq!(recorded, there, "nothing else is kept in mind");
    }
}

#[test]
fn each_comes_after_what_it_needs() {
    let mut topology = Topology::new(MAX_ENTITIES);
    done(
        &mut topology,
        &[
            declare_queue("b"),
            declare_queue("a"),
            declare_exchange("y", false),
            declare_exchange("x", false),
            bind_queue("a", "x", "k"),
            bind_queue("b", "amq.topic", ""),
            bind_exchange("x", "y", "k"),
            bind_queue("a", "x", "k"),
            declare_queue("a"),
        ],
    );
    assert_eq!(
        plan(&topology),
        [
            "exchange \"x\"",
            "exchange \"y\"",
            "binding of exchange \"x\" to exchange \"y\" with key \"k\"",
            "queue \"a\"",
            "queue \"b\"",
            "binding of queue \"b\" to exchange \"amq.topic\" with key \"\"",
            "binding of queue \"a\" to exchange \"x\" with key \"k\"",
        ]
    );
    let queues = topology.plan(Some(&|entity| matches!(entity, Entity::Queue { .. })));
    assert_eq!(queues.len(), 2);
}

#[test]
fn what_is_declared_again_is_restored_as_it_was_declared_last() {
    let mut topology = Topology::new(MAX_ENTITIES);
    let arguments = FieldTable::new().with("x-max-length", 7);
    let again =
        queue::Declare { queue: short("q"), durable: true, no_wait: true, arguments, ..Default::default() };
    done(&mut topology, &[declare_queue("q"), again.clone().into()]);
    let restored = queue::Declare { no_wait: false, ..again };
    assert_eq!(topology.plan(None), [Entity::Queue { name: short("q"), declare: restored.clone() }]);
    assert_eq!(topology.plan(None)[0].method(), restored.into());
}

#[test]
fn bindings_are_one_when_their_arguments_are_in_whatever_order() {
    let mut topology = Topology::new(MAX_ENTITIES);
    let bind = |arguments| {
        Method::from(queue::Bind {
            queue: short("q"),
            exchange: short("amq.headers"),
            arguments,
            ..Default::default()
        })
    };
    let one = FieldTable::new().with("a", 1).with("b", 2);
    let same = FieldTable::new().with("b", 2).with("a", 1);
    let other = FieldTable::new().with("a", 1);
    done(&mut topology, &[bind(one), bind(same.clone()), bind(other)]);
    assert_eq!(topology.plan(None).len(), 2);
    let unbind = queue::Unbind {
        queue: short("q"),
        exchange: short("amq.headers"),
        arguments: same,
        ..Default::default()
    };
    done(&mut topology, &[unbind.into()]);
    assert_eq!(topology.plan(None).len(), 1);
}

#[test]
fn predeclared_names_are_not_recorded() {
    let mut topology = Topology::new(MAX_ENTITIES);
    done(
        &mut topology,
        &[
            declare_exchange("amq.fanout", false),
            declare_exchange("", false),
            declare_queue("amq.rabbitmq.reply-to"),
            bind_exchange("amq.topic", "amq.fanout", ""),
        ],
    );
    assert_eq!(
        plan(&topology),
        ["binding of exchange \"amq.topic\" to exchange \"amq.fanout\" with key \"\""]
    );
}

#[test]
fn rabbitmq_takes_line_breaks_out_of_names() {
    let mut topology = Topology::new(MAX_ENTITIES);
    done(
        &mut topology,
        &[declare_queue("a\nb"), declare_exchange("x\r\n", true), bind_queue("a\nb", "x\n", "k\n")],
    );
    let binding = "binding of queue \"ab\" to exchange \"x\" with key \"k\\n\"";
    assert_eq!(plan(&topology), ["exchange \"x\"", "queue \"ab\"", binding]);
    done(&mut topology, &[delete_queue("a\nb\r")]);
    assert_eq!(plan(&topology), [] as [&str; 0], "the exchange went with its last binding");
}

#[test]
fn what_is_too_much_is_said_and_not_recorded() {
    let mut topology = Topology::new(2);
    done(&mut topology, &[declare_queue("a"), declare_exchange("x", false), declare_queue("a")]);
    let full = Err(Unrecorded::Full(2));
    assert_eq!(topology.on_done(&declare_queue("b"), None), full);
    assert_eq!(topology.on_done(&declare_exchange("y", false), None), full);
    assert_eq!(topology.on_done(&bind_queue("a", "x", ""), None), full);
    done(&mut topology, &[delete_queue("a"), declare_queue("b")]);
    assert_eq!(plan(&topology), ["exchange \"x\"", "queue \"b\""]);
}

#[test]
fn a_queue_without_a_name_cannot_be_recorded() {
    let mut topology = Topology::new(MAX_ENTITIES);
    let unnamed = queue::Declare { no_wait: true, ..Default::default() };
    assert_eq!(topology.on_done(&unnamed.into(), None), Err(Unrecorded::Unnamed));
    assert_eq!(topology.on_done(&bind_queue("", "x", ""), None), Err(Unrecorded::Unnamed));
}

#[test]
fn a_new_name_stands_wherever_an_old_one_stood() {
    let mut topology = Topology::new(MAX_ENTITIES);
    named_by_server(&mut topology, "amq.gen-1");
    done(&mut topology, &[bind_queue("amq.gen-1", "amq.topic", "amq.gen-1")]);
    topology.rename(&short("amq.gen-1"), &short("amq.gen-2"));
    topology.rename(&short("amq.gen-2"), &short("amq.gen-3"));
    assert_eq!(
        plan(&topology),
        [
            "queue \"amq.gen-3\"",
            "binding of queue \"amq.gen-3\" to exchange \"amq.topic\" with key \"amq.gen-1\""
        ]
    );
    let named = |name: &str| {
        let (queue, q) = (short(name), short(name));
        vec![
            bind_queue(name, "x", "k"),
            unbind_queue(name, "x", "k"),
            delete_queue(name),
            queue::Purge { queue, ..Default::default() }.into(),
            queue::Declare { queue: q.clone(), passive: true, ..Default::default() }.into(),
            basic::Consume { queue: q.clone(), ..Default::default() }.into(),
            basic::Get { queue: q, ..Default::default() }.into(),
        ]
    };
    for old in ["amq.gen-1", "amq.gen-2"] {
        let mut methods = named(old);
        methods.iter_mut().for_each(|method| topology.resolve(method));
        assert_eq!(methods, named("amq.gen-3"));
        assert_eq!(topology.resolve_name(old.as_bytes()), Some(&short("amq.gen-3")));
    }
    let mut declare = declare_queue("amq.gen-1");
    topology.resolve(&mut declare);
    assert_eq!(declare, declare_queue("amq.gen-1"), "who declares a name means that one");
    assert_eq!(topology.resolve_name(b"amq.gen-3"), None);
    done(&mut topology, &[delete_queue("amq.gen-1")]);
    assert_eq!(topology.resolve_name(b"amq.gen-1"), None, "aliases go with their queue");
    assert!(topology.plan(None).is_empty());
}

#[test]
fn the_first_and_the_latest_names_of_a_queue_are_kept() {
    let mut topology = Topology::new(MAX_ENTITIES);
    named_by_server(&mut topology, "amq.gen-0");
    for n in 0..100 {
        topology.rename(&short(&format!("amq.gen-{n}")), &short(&format!("amq.gen-{}", n + 1)));
    }
    let known = |n: u32| topology.resolve_name(format!("amq.gen-{n}").as_bytes()).is_some();
    assert!(known(0) && known(85) && known(99));
    assert_eq!((0..200).filter(|n| known(*n)).count(), 16);
}

#[test]
fn a_name_that_comes_back_is_no_alias() {
    let mut topology = Topology::new(MAX_ENTITIES);
    named_by_server(&mut topology, "a");
    topology.rename(&short("a"), &short("b"));
    topology.rename(&short("b"), &short("a"));
    assert_eq!(topology.resolve_name(b"a"), None);
    assert_eq!(topology.resolve_name(b"b"), Some(&short("a")));
    topology.rename(&short("a"), &short("c"));
    done(&mut topology, &[declare_queue("a"), delete_queue("c")]);
    assert_eq!(plan(&topology), ["queue \"a\""]);
    assert_eq!((topology.resolve_name(b"a"), topology.resolve_name(b"b")), (None, None));
}

#[test]
fn what_was_refused_is_left_out_until_it_is_declared_anew() {
    let mut topology = Topology::new(MAX_ENTITIES);
    let methods = [
        declare_exchange("x", true),
        declare_queue("q"),
        declare_queue("p"),
        bind_queue("q", "x", "1"),
        bind_queue("p", "x", "2"),
    ];
    done(&mut topology, &methods);
    let queue = topology.plan(None)[2].clone();
    assert_eq!(queue.to_string(), "queue \"q\"");
    topology.on_refused(&queue);
    let binding = "binding of queue \"p\" to exchange \"x\" with key \"2\"";
    assert_eq!(plan(&topology), ["exchange \"x\"", "queue \"p\"", binding]);
    let exchange = topology.plan(None)[0].clone();
    topology.on_refused(&exchange);
    assert_eq!(plan(&topology), ["queue \"p\""]);
    done(&mut topology, &methods);
    assert_eq!(topology.plan(None).len(), 5);
    topology.on_refused(&topology.plan(None)[4].clone());
    assert_eq!(topology.plan(None).len(), 4, "a binding alone");
}

#[test]
fn a_late_cancel_says_nothing_of_a_queue_that_was_declared_since() {
    let mut topology = Topology::new(MAX_ENTITIES);
    done(&mut topology, &[declare_queue("q")]);
    topology.on_consumer_started(Token(1), &short("q"));
    done(&mut topology, &[delete_queue("q"), declare_queue("q")]);
    topology.on_consumer_started(Token(2), &short("q"));
    topology.on_consumer_cancelled(Token(1));
    assert_eq!(plan(&topology), ["queue \"q\""]);
    topology.on_consumer_cancelled(Token(2));
    assert!(topology.plan(None).is_empty());
}

#[test]
fn a_queue_whose_consumer_is_not_resumed_waits_for_a_first_one() {
    let mut topology = Topology::new(MAX_ENTITIES);
    let declare = queue::Declare { queue: short("q"), auto_delete: true, ..Default::default() };
    done(&mut topology, &[declare.into()]);
    topology.on_consumer_started(Token(1), &short("q"));
    topology.on_consumer_started(Token(2), &short("q"));
    topology.on_consumer_refused(Token(1));
    topology.on_consumer_refused(Token(2));
    assert_eq!(plan(&topology), ["queue \"q\""]);
    topology.on_consumer_started(Token(3), &short("q"));
    topology.on_consumer_ended(Token(3));
    assert!(topology.plan(None).is_empty());
}
