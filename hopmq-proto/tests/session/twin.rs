//! Two brokers are told the same: one by a session that loses its connection now and then, the other by a connection that
//! never breaks. In the end they have the same.

use std::time::Duration;

use hopmq_proto::Engine;
use hopmq_proto::amqp::{Method, ShortStr, basic, exchange, queue};
use hopmq_proto::broker::{self, Broker};
use hopmq_proto::client::{CallError, ChannelId, Event, Recovery, Reply, Token};
use proptest::prelude::*;

use crate::net::{Net, short};
use crate::other::Other;

const EXCHANGES: [&str; 5] = ["e0", "e1", "e2", "e3", "amq.direct"];
const KEYS: [&str; 2] = ["k0", "k1"];

#[derive(Debug, Clone)]
enum Op {
    DeclareExchange {
        at: u8,
        auto_delete: bool,
    },
    DeleteExchange(u8),
    BindExchange(u8, u8, u8),
    UnbindExchange(u8, u8, u8),
    DeclareQueue {
        at: u8,
        auto_delete: bool,
        exclusive: bool,
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
    CloseChannel,
    /// The next calls are on their way when the connection breaks.
    Lose {
        restart: bool,
    },
    /// The connection breaks again, so many steps into the recovery.
    LoseAgain {
        restart: bool,
        steps: u8,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let (n, e, k) = (0..4_u8, 0..5_u8, 0..2_u8);
    prop_oneof![
        4 => (n.clone(), any::<bool>()).prop_map(|(at, auto_delete)| Op::DeclareExchange { at, auto_delete }),
        1 => n.clone().prop_map(Op::DeleteExchange),
        3 => (n.clone(), e.clone(), k.clone()).prop_map(|(a, b, c)| Op::BindExchange(a, b, c)),
        1 => (n.clone(), e.clone(), k.clone()).prop_map(|(a, b, c)| Op::UnbindExchange(a, b, c)),
        4 => (n, any::<bool>(), any::<bool>())
            .prop_map(|(at, auto_delete, exclusive)| Op::DeclareQueue { at, auto_delete, exclusive }),
        2 => any::<(bool, bool)>()
            .prop_map(|(auto_delete, exclusive)| Op::DeclareUnnamed { auto_delete, exclusive }),
        1 => any::<u8>().prop_map(Op::DeleteQueue),
        5 => (any::<u8>(), e.clone(), k.clone()).prop_map(|(a, b, c)| Op::Bind(a, b, c)),
        1 => (any::<u8>(), e, k).prop_map(|(a, b, c)| Op::Unbind(a, b, c)),
        2 => any::<u8>().prop_map(Op::Consume),
        1 => any::<u8>().prop_map(Op::Cancel),
        1 => Just(Op::CloseChannel),
        2 => any::<bool>().prop_map(|restart| Op::Lose { restart }),
        1 => (any::<bool>(), 0..40_u8).prop_map(|(restart, steps)| Op::LoseAgain { restart, steps }),
    ]
}

struct Twins {
    net: Net,
    channel: ChannelId,
    broker: Broker,
    other: Other,
    /// Queues as each was given them.
    queues: Vec<(ShortStr, ShortStr)>,
    consumers: u32,
    restarts: u64,
}

impl Twins {
    fn new() -> Self {
        let mut net = Net::new(Recovery::default());
        let channel = net.channel();
        let mut broker = Broker::new(broker::Config { seed: 1_000, ..Default::default() });
        let other = Other::new(&mut broker, net.now);
        let queues = ["q0", "q1", "q2", "q3"].map(|name| (short(name), short(name))).to_vec();
        Self { net, channel, broker, other, queues, consumers: 0, restarts: 0 }
    }

    /// What the session answers is what a connection answers.
    fn call(&mut self, method: impl Fn(bool) -> Method) -> Option<(Reply, Reply)> {
        let token = self.net.session.call(self.channel, method(true), self.net.now).unwrap();
        self.net.run();
        let ours = answer(&mut self.net, token);
        let theirs = self.other.call(&mut self.broker, method(false), self.net.now);
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}: {ours:?} {theirs:?}", method(true));
        if ours.is_err() {
            self.channel = self.net.channel();
        }
        Some((ours.ok()?, theirs.ok()?))
    }

    /// The queue with this number, by its name on either side.
    fn queue(&self, at: u8) -> impl Fn(bool) -> ShortStr + use<> {
        let (ours, theirs) = self.queues[usize::from(at) % self.queues.len()].clone();
        move |is_ours| if is_ours { ours.clone() } else { theirs.clone() }
    }

    fn apply(&mut self, op: &Op) {
        let exchange = |at: u8| short(EXCHANGES[usize::from(at)]);
        let key = |at: u8| short(KEYS[usize::from(at)]);
        match *op {
            Op::DeclareExchange { at, auto_delete } => {
                let (exchange, kind) = (exchange(at), short("direct"));
                let declare = exchange::Declare { exchange, kind, auto_delete, ..Default::default() };
                self.call(|_| declare.clone().into());
            }
            Op::DeleteExchange(at) => {
                let delete = exchange::Delete { exchange: exchange(at), ..Default::default() };
                self.call(|_| delete.clone().into());
            }
            Op::BindExchange(to, from, k) => {
                let (destination, source, routing_key) = (exchange(to), exchange(from), key(k));
                let bind = exchange::Bind { destination, source, routing_key, ..Default::default() };
                self.call(|_| bind.clone().into());
            }
            Op::UnbindExchange(to, from, k) => {
                let (destination, source, routing_key) = (exchange(to), exchange(from), key(k));
                let unbind = exchange::Unbind { destination, source, routing_key, ..Default::default() };
                self.call(|_| unbind.clone().into());
            }
            Op::DeclareQueue { at, auto_delete, exclusive } => {
                let queue = self.queue(at % 4)(true);
                let declare = queue::Declare { queue, auto_delete, exclusive, ..Default::default() };
                self.call(|_| declare.clone().into());
            }
            Op::DeclareUnnamed { auto_delete, exclusive } => {
                let declare = queue::Declare { auto_delete, exclusive, ..Default::default() };
                let (ours, theirs) = self.call(|_| declare.clone().into()).unwrap();
                self.queues.push((name(ours), name(theirs)));
            }
            Op::DeleteQueue(at) => {
                let queue = self.queue(at);
                self.call(|ours| queue::Delete { queue: queue(ours), ..Default::default() }.into());
            }
            Op::Bind(at, e, k) => {
                let queue = self.queue(at);
                self.call(|ours| {
                    let (queue, exchange, routing_key) = (queue(ours), exchange(e), key(k));
                    queue::Bind { queue, exchange, routing_key, ..Default::default() }.into()
                });
            }
            Op::Unbind(at, e, k) => {
                let queue = self.queue(at);
                self.call(|ours| {
                    let (queue, exchange, routing_key) = (queue(ours), exchange(e), key(k));
                    queue::Unbind { queue, exchange, routing_key, ..Default::default() }.into()
                });
            }
            Op::Consume(at) => {
                let queue = self.queue(at);
                self.consumers += 1;
                let consumer_tag = short(&format!("c{}", self.consumers));
                self.call(|ours| {
                    let (queue, consumer_tag) = (queue(ours), consumer_tag.clone());
                    basic::Consume { queue, consumer_tag, ..Default::default() }.into()
                });
            }
            Op::Cancel(at) => {
                let consumer_tag = short(&format!("c{}", u32::from(at) % (self.consumers + 1)));
                let cancel = basic::Cancel { consumer_tag, no_wait: false };
                self.call(|_| cancel.clone().into());
            }
            Op::CloseChannel => {
                let _ = self.net.session.close_channel(self.channel, self.net.now).unwrap();
                self.channel = self.net.channel();
                self.other.reopen(&mut self.broker, self.net.now);
            }
            Op::Lose { restart } => {
                self.lose(restart);
                self.settle();
            }
            Op::LoseAgain { restart, steps } => {
                self.lose(false);
                self.net.now = self.net.session.poll_timeout().unwrap();
                self.net.session.handle_timeout(self.net.now);
                for _ in 0..steps {
                    let _: bool = self.net.step();
                }
                self.lose(restart);
                self.settle();
            }
        }
    }

    fn lose(&mut self, restart: bool) {
        self.net.cut();
        if restart {
            self.restarts += 1;
            self.net.broker = Broker::new(broker::Config { seed: self.restarts, ..Default::default() });
        }
    }

    fn settle(&mut self) {
        self.net.pass(Duration::from_secs(40)); // so long that the backoff begins anew
        assert!(self.net.session.is_open());
        let refused = self.net.events.iter().find(|event| matches!(event, Event::Degraded { .. }));
        assert!(refused.is_none(), "{refused:?}");
    }

    /// Publishes everywhere, and compares what every queue has got.
    fn compare(&mut self) {
        let now = self.net.now;
        let mut probe = Other::new(&mut self.net.broker, now);
        let mut twin = Other::new(&mut self.broker, now);
        for exchange in EXCHANGES {
            let ours = probe.has_exchange(&mut self.net.broker, exchange, now);
            assert_eq!(ours, twin.has_exchange(&mut self.broker, exchange, now), "{exchange}");
            for key in KEYS.iter().filter(|_| ours) {
                probe.publish(&mut self.net.broker, exchange, key, now);
                twin.publish(&mut self.broker, exchange, key, now);
            }
        }
        let renamed: Vec<(String, String)> = self
            .net
            .events
            .iter()
            .filter_map(|event| match event {
                Event::QueueRenamed { old, new } => Some((old.to_string(), new.to_string())),
                _ => None,
            })
            .collect();
        for (ours, theirs) in &self.queues {
            let mut name = ours.to_string();
            for (old, new) in &renamed {
                if *old == name {
                    assert_eq!(self.net.broker.queue("/", old), None, "{old} is left behind");
                    name.clone_from(new);
                }
            }
            let theirs = self.broker.queue("/", theirs.as_str().unwrap());
            assert_eq!(self.net.broker.queue("/", &name), theirs, "{ours}, now {name}");
        }
    }
}

fn answer(net: &mut Net, token: Token) -> Result<Reply, CallError> {
    let is_answer = |event: &Event| matches!(event, Event::Reply { token: t, .. } if *t == token);
    let at = net.events.iter().position(is_answer).expect("an answer");
    match net.events.remove(at) {
        Event::Reply { result, .. } => result,
        other => panic!("{other:?}"),
    }
}

fn name(reply: Reply) -> ShortStr {
    match reply {
        Reply::Method(method) => match *method {
            Method::QueueDeclareOk(ok) => ok.queue,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_session_with_losses_is_like_a_connection_without(ops in prop::collection::vec(op(), 1..60)) {
        let mut twins = Twins::new();
        for op in &ops {
            twins.apply(op);
        }
        twins.lose(true);
        twins.settle();
        twins.compare();
    }
}
