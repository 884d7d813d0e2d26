use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::server::Server;
use super::*;
use crate::amqp::{FieldTable, basic};
use crate::client::Token;
use crate::client::session::{Entity, Topology, Unrecorded};

const MAX_ENTITIES: usize = 10_000;

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

/// A client of a server, with what it keeps in mind.
struct World {
    server: Server,
    topology: Topology,
    /// The names of queues as the user was given them.
    given: Vec<ShortStr>,
    consumers: u64,
}

#[derive(Debug, Clone)]
enum Op {
    DeclareExchange {
        name: u8,
        auto_delete: bool,
        passive: bool,
    },
    DeleteExchange(u8),
    BindExchange(u8, u8, u8),
    UnbindExchange(u8, u8, u8),
    DeclareQueue {
        name: u8,
        auto_delete: bool,
        exclusive: bool,
        passive: bool,
    },
    DeclareUnnamed {
        auto_delete: bool,
        exclusive: bool,
    },
    DeleteQueue(u8),
    Bind(u8, u8, u8),
    Unbind(u8, u8, u8),
    Consume(u8),
    Cancel(u8),
    /// Another connection deletes a queue.
    Vanish(u8),
    Lose {
        restart: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let (n, k) = (0..4_u8, 0..2_u8);
    prop_oneof![
        3 => (n.clone(), any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(name, auto_delete, passive)| Op::DeclareExchange { name, auto_delete, passive }),
        1 => n.clone().prop_map(Op::DeleteExchange),
        3 => (n.clone(), n.clone(), k.clone()).prop_map(|(a, b, c)| Op::BindExchange(a, b, c)),
        1 => (n.clone(), n.clone(), k.clone()).prop_map(|(a, b, c)| Op::UnbindExchange(a, b, c)),
        3 => (n, any::<bool>(), any::<bool>(), prop::bool::weighted(0.1)).prop_map(
            |(name, auto_delete, exclusive, passive)| Op::DeclareQueue { name, auto_delete, exclusive, passive }),
        2 => any::<(bool, bool)>()
            .prop_map(|(auto_delete, exclusive)| Op::DeclareUnnamed { auto_delete, exclusive }),
        1 => any::<u8>().prop_map(Op::DeleteQueue),
        4 => (any::<u8>(), 0..5_u8, k.clone()).prop_map(|(a, b, c)| Op::Bind(a, b, c)),
        1 => (any::<u8>(), 0..5_u8, k).prop_map(|(a, b, c)| Op::Unbind(a, b, c)),
        2 => any::<u8>().prop_map(Op::Consume),
        1 => any::<u8>().prop_map(Op::Cancel),
        1 => any::<u8>().prop_map(Op::Vanish),
        1 => any::<bool>().prop_map(|restart| Op::Lose { restart }),
    ]
}

impl World {
    fn new() -> Self {
        let given = (0..4).map(|n| short(&format!("q{n}"))).collect();
        Self { server: Server::default(), topology: Topology::new(MAX_ENTITIES), given, consumers: 0 }
    }

    fn queue(&self, n: u8) -> String {
        self.given[usize::from(n) % self.given.len()].to_string()
    }

    /// The name that the server knows it by.
    fn current(&self, n: u8) -> ShortStr {
        let name = short(&self.queue(n));
        self.topology.resolve_name(name.as_bytes()).cloned().unwrap_or(name)
    }

    fn call(&mut self, mut method: Method) {
        self.topology.resolve(&mut method);
        let Ok(declared) = self.server.execute(&method) else { return };
        self.topology.on_done(&method, declared.as_ref()).unwrap();
        if let Some(name) =
            declared.filter(|_| matches!(&method, Method::QueueDeclare(d) if d.queue.is_empty()))
        {
            self.given.push(name);
        }
    }

    fn apply(&mut self, op: &Op) {
        let exchange = |n: u8| if n == 4 { "amq.fanout".to_string() } else { format!("e{n}") };
        let key = |n: u8| format!("k{n}");
        match *op {
            Op::DeclareExchange { name, auto_delete, passive } => {
                let Method::ExchangeDeclare(declare) = declare_exchange(&exchange(name), auto_delete) else {
                    unreachable!()
                };
                self.call(exchange::Declare { passive, ..declare }.into());
            }
            Op::DeleteExchange(name) => self.call(delete_exchange(&exchange(name))),
            Op::BindExchange(to, from, k) => {
                self.call(bind_exchange(&exchange(to), &exchange(from), &key(k)));
            }
            Op::UnbindExchange(to, from, k) => {
                self.call(unbind_exchange(&exchange(to), &exchange(from), &key(k)));
            }
            Op::DeclareQueue { name, auto_delete, exclusive, passive } => {
                let queue = short(&format!("q{name}"));
                self.call(
                    queue::Declare { queue, auto_delete, exclusive, passive, ..Default::default() }.into(),
                );
            }
            Op::DeclareUnnamed { auto_delete, exclusive } => {
                self.call(queue::Declare { auto_delete, exclusive, ..Default::default() }.into());
            }
            Op::DeleteQueue(n) => self.call(delete_queue(&self.queue(n))),
            Op::Bind(n, e, k) => self.call(bind_queue(&self.queue(n), &exchange(e), &key(k))),
            Op::Unbind(n, e, k) => self.call(unbind_queue(&self.queue(n), &exchange(e), &key(k))),
            Op::Consume(n) => {
                let queue = self.current(n);
                if self.server.queues.contains_key(&queue) {
                    self.consumers += 1;
                    self.server.consumers.insert(self.consumers, queue);
                    self.topology.on_consumer_started(Token(self.consumers), &short(&self.queue(n)));
                }
            }
            Op::Cancel(n) => {
                let consumer = u64::from(n) % (self.consumers + 1);
                self.server.cancel(consumer);
                self.topology.on_consumer_ended(Token(consumer));
            }
            Op::Vanish(n) => {
                let queue = self.current(n);
                let consumers: Vec<u64> =
                    self.server.consumers.iter().filter(|(_, q)| **q == queue).map(|(id, _)| *id).collect();
                if !consumers.is_empty() {
                    self.server.delete_queue(&queue);
                }
                for consumer in consumers {
                    self.topology.on_consumer_cancelled(Token(consumer));
                }
            }
            Op::Lose { restart } => self.lose(restart),
        }
    }

    /// The connection is lost and restored; the server then has what it had.
    fn lose(&mut self, restart: bool) {
        let before = self.server.clone();
        self.server.lose();
        if restart {
            self.server.restart();
        }
        let mut renamed: BTreeMap<ShortStr, ShortStr> = BTreeMap::new();
        for entity in self.topology.plan(None) {
            let mut method = entity.method();
            self.topology.resolve(&mut method);
            if let Entity::Queue { name, declare } = &entity
                && declare.queue.is_empty()
            {
                if self.server.queues.contains_key(name) {
                    continue; // it outlived the connection
                }
                let new = self.server.execute(&method).unwrap().unwrap();
                self.topology.rename(name, &new);
                renamed.insert(name.clone(), new);
            } else {
                self.server.execute(&method).unwrap_or_else(|close| panic!("{entity}: {close}"));
            }
        }
        let today = |name: &ShortStr| renamed.get(name).unwrap_or(name).clone();
        for (id, queue) in &before.consumers {
            let mut consume: Method = basic::Consume { queue: queue.clone(), ..Default::default() }.into();
            self.topology.resolve(&mut consume);
            let Method::BasicConsume(consume) = consume else { unreachable!() };
            self.server.consumers.insert(*id, consume.queue);
        }
        assert_eq!(self.server.describe(Clone::clone), before.describe(today));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

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
