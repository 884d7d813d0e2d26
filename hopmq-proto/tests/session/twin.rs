//! Two brokers are told the same: one by a session that loses its connection now and then, the other by a connection that
//! never breaks. In the end they have the same.

use std::time::Duration;

use hopmq_proto::Engine;
use hopmq_proto::amqp::{Method, ShortStr, basic, exchange, queue};
use hopmq_proto::broker::{self, Broker};
use hopmq_proto::client::{CallError, ChannelId, Entity, Event, Recovery, Reply, Token};
use proptest::prelude::*;

use crate::net::{Net, short};
use crate::other::Other;

const EXCHANGES: [&str; 5] = ["e0", "e1", "e2", "e3", "amq.direct"];
const KEYS: [&str; 2] = ["k0", "k1"];

#[derive(Debug, Clone)]
enum Call {
    DeclareExchange {
        at: u8,
        auto_delete: bool,
    },
    DeleteExchange {
        at: u8,
        no_wait: bool,
    },
    BindExchange(u8, u8, u8),
    UnbindExchange(u8, u8, u8),
    DeclareQueue {
        at: u8,
        auto_delete: bool,
        exclusive: bool,
    },
    /// Always with the same arguments, so that it is not refused.
    DeclareFifth {
        no_wait: bool,
    },
    DeclareUnnamed {
        auto_delete: bool,
        exclusive: bool,
    },
    DeleteQueue {
        at: u8,
        no_wait: bool,
    },
    Bind(u8, u8, u8),
    Unbind(u8, u8, u8),
    Consume(u8),
    Cancel(u8),
}

#[derive(Debug, Clone)]
enum Op {
    /// On one of two channels.
    Call(u8, Call),
    CloseChannel(u8),
    Lose {
        restart: bool,
    },
    /// The connection breaks again, so many steps into the recovery.
    LoseAgain {
        restart: bool,
        steps: u8,
    },
    /// These are on their way when the connection breaks; perhaps they have arrived, and their answers are lost.
    LoseCalls {
        on: u8,
        calls: Vec<Call>,
        arrived: bool,
        restart: bool,
    },
    /// These are made while the connection is away.
    CallAway {
        on: u8,
        calls: Vec<Call>,
        restart: bool,
    },
}

/// Calls that are repeated, or that need not be, when their answers are lost.
fn repeatable() -> impl Strategy<Value = Call> {
    let (n, e, k) = (0..4_u8, 0..5_u8, 0..2_u8);
    prop_oneof![
        4 => (n.clone(), any::<bool>()).prop_map(|(at, auto_delete)| Call::DeclareExchange { at, auto_delete }),
        3 => (n.clone(), e.clone(), k.clone()).prop_map(|(a, b, c)| Call::BindExchange(a, b, c)),
        4 => (n.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(at, auto_delete, exclusive)| Call::DeclareQueue { at, auto_delete, exclusive }),
        1 => any::<bool>().prop_map(|no_wait| Call::DeclareFifth { no_wait }),
        5 => (any::<u8>(), e, k).prop_map(|(a, b, c)| Call::Bind(a, b, c)),
        2 => any::<u8>().prop_map(Call::Consume),
        2 => any::<u8>().prop_map(Call::Cancel),
        1 => any::<u8>().prop_map(|at| Call::DeleteQueue { at, no_wait: true }),
        1 => n.prop_map(|at| Call::DeleteExchange { at, no_wait: true }),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let (n, e, k) = (0..4_u8, 0..5_u8, 0..2_u8);
    prop_oneof![
        8 => repeatable(),
        1 => (n.clone(), any::<bool>()).prop_map(|(at, no_wait)| Call::DeleteExchange { at, no_wait }),
        1 => (n, e.clone(), k.clone()).prop_map(|(a, b, c)| Call::UnbindExchange(a, b, c)),
        1 => any::<(bool, bool)>()
            .prop_map(|(auto_delete, exclusive)| Call::DeclareUnnamed { auto_delete, exclusive }),
        1 => any::<(u8, bool)>().prop_map(|(at, no_wait)| Call::DeleteQueue { at, no_wait }),
        1 => (any::<u8>(), e, k).prop_map(|(a, b, c)| Call::Unbind(a, b, c)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (0..2_u8, call()).prop_map(|(on, call)| Op::Call(on, call)),
        1 => (0..2_u8).prop_map(Op::CloseChannel),
        1 => any::<bool>().prop_map(|restart| Op::Lose { restart }),
        1 => (any::<bool>(), 0..40_u8).prop_map(|(restart, steps)| Op::LoseAgain { restart, steps }),
        1 => (0..2_u8, prop::collection::vec(repeatable(), 1..5), any::<bool>(), any::<bool>())
            .prop_map(|(on, calls, arrived, restart)| Op::LoseCalls { on, calls, arrived, restart }),
        1 => (0..2_u8, prop::collection::vec(call(), 1..5), any::<bool>())
            .prop_map(|(on, calls, restart)| Op::CallAway { on, calls, restart }),
    ]
}

/// A call as the session makes it, and as the other connection does.
type Pair = (Method, Method);

struct Twins {
    net: Net,
    channels: [ChannelId; 2],
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
        let channels = [net.channel(), net.channel()];
        let mut broker = Broker::new(broker::Config { seed: 1_000, ..Default::default() });
        let other = Other::new(&mut broker, net.now);
        let queues = ["q0", "q1", "q2", "q3", "q4"].map(|name| (short(name), short(name))).to_vec();
        Self { net, channels, broker, other, queues, consumers: 0, restarts: 0 }
    }

    /// The same for both, but for the names of queues.
    fn pair(&mut self, call: &Call) -> Pair {
        if let Call::Consume(_) = call {
            self.consumers += 1;
        }
        let queue = |at: u8| self.queues[usize::from(at) % self.queues.len()].clone();
        let (ours, theirs) = match call {
            Call::Bind(at, ..) | Call::Unbind(at, ..) | Call::Consume(at) | Call::DeleteQueue { at, .. } => {
                queue(*at)
            }
            Call::DeclareQueue { at, .. } => queue(*at),
            Call::DeclareFifth { .. } => queue(4),
            _ => Default::default(),
        };
        (self.method(call, ours), self.method(call, theirs))
    }

    fn method(&self, call: &Call, queue: ShortStr) -> Method {
        let exchange = |at: u8| short(EXCHANGES[usize::from(at)]);
        let key = |at: u8| short(KEYS[usize::from(at)]);
        match *call {
            Call::DeclareExchange { at, auto_delete } => {
                let (exchange, kind) = (exchange(at), short("direct"));
                exchange::Declare { exchange, kind, auto_delete, ..Default::default() }.into()
            }
            Call::DeleteExchange { at, no_wait } => {
                exchange::Delete { exchange: exchange(at), no_wait, ..Default::default() }.into()
            }
            Call::BindExchange(to, from, k) => {
                let (destination, source, routing_key) = (exchange(to), exchange(from), key(k));
                exchange::Bind { destination, source, routing_key, ..Default::default() }.into()
            }
            Call::UnbindExchange(to, from, k) => {
                let (destination, source, routing_key) = (exchange(to), exchange(from), key(k));
                exchange::Unbind { destination, source, routing_key, ..Default::default() }.into()
            }
            Call::DeclareQueue { auto_delete, exclusive, .. }
            | Call::DeclareUnnamed { auto_delete, exclusive } => {
                queue::Declare { queue, auto_delete, exclusive, ..Default::default() }.into()
            }
            Call::DeclareFifth { no_wait } => queue::Declare { queue, no_wait, ..Default::default() }.into(),
            Call::DeleteQueue { no_wait, .. } => {
                queue::Delete { queue, no_wait, ..Default::default() }.into()
            }
            Call::Bind(_, e, k) => {
                let (exchange, routing_key) = (exchange(e), key(k));
                queue::Bind { queue, exchange, routing_key, ..Default::default() }.into()
            }
            Call::Unbind(_, e, k) => {
                let (exchange, routing_key) = (exchange(e), key(k));
                queue::Unbind { queue, exchange, routing_key, ..Default::default() }.into()
            }
            Call::Consume(_) => {
                let consumer_tag = short(&format!("c{}", self.consumers));
                basic::Consume { queue, consumer_tag, ..Default::default() }.into()
            }
            Call::Cancel(at) => {
                let consumer_tag = short(&format!("c{}", u32::from(at) % (self.consumers + 1)));
                basic::Cancel { consumer_tag, no_wait: false }.into()
            }
        }
    }

    /// Sends without carrying anything.
    fn send(&mut self, on: usize, pairs: &[Pair]) -> Vec<Option<Token>> {
        let send = |(method, _): &Pair| {
            let called = self.net.session.call(self.channels[on], method.clone(), self.net.now).ok();
            if called.is_none() {
                self.net.session.send_no_wait(self.channels[on], method.clone(), self.net.now).unwrap();
            }
            called
        };
        pairs.iter().map(send).collect()
    }

    /// What the session is answered is what the other connection is.
    fn compare_answers(&mut self, on: usize, pairs: Vec<Pair>, tokens: Vec<Option<Token>>) {
        let ours: Vec<_> =
            tokens.into_iter().map(|token| token.map(|token| answer(&mut self.net, token))).collect();
        let (said, methods): (Vec<Method>, Vec<Method>) = pairs.into_iter().unzip();
        let theirs = self.other.send(&mut self.broker, on, methods, self.net.now);
        for ((ours, theirs), said) in ours.into_iter().zip(theirs).zip(said) {
            let is_ok = |answer: &Option<Result<Reply, CallError>>| answer.as_ref().map(Result::is_ok);
            // A cancel is so when the connection is lost, even if the channel would have ended before it.
            let is_so = matches!(said, Method::BasicCancel(_)) && is_ok(&ours) == Some(true);
            assert!(is_so || is_ok(&ours) == is_ok(&theirs), "{said:?}: {ours:?} {theirs:?}");
            if let (Method::QueueDeclare(declare), Some(Ok(ours)), Some(Ok(theirs))) = (said, ours, theirs)
                && declare.queue.is_empty()
            {
                self.queues.push((name(ours), name(theirs)));
            }
        }
        if self.net.session.check_channel(self.channels[on]).is_err() {
            self.channels[on] = self.net.channel();
        }
    }

    fn pairs(&mut self, calls: &[Call]) -> Vec<Pair> {
        calls.iter().map(|call| self.pair(call)).collect()
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Call(on, call) => {
                let pairs = self.pairs(std::slice::from_ref(call));
                let tokens = self.send((*on).into(), &pairs);
                self.net.run();
                self.compare_answers((*on).into(), pairs, tokens);
            }
            Op::CloseChannel(on) => {
                let on = usize::from(*on);
                let _ = self.net.session.close_channel(self.channels[on], self.net.now).unwrap();
                self.channels[on] = self.net.channel();
                self.other.reopen(&mut self.broker, on, self.net.now);
            }
            Op::Lose { restart } => {
                self.lose(*restart);
                self.settle();
            }
            Op::LoseAgain { restart, steps } => {
                self.lose(false);
                self.net.now = self.net.session.poll_timeout().unwrap();
                self.net.session.handle_timeout(self.net.now);
                for _ in 0..*steps {
                    let _: bool = self.net.step();
                }
                self.lose(*restart);
                self.settle();
            }
            // Whether the old one or the new one is there then, nobody knows: the old one is declared first, and refused.
            Op::LoseCalls { calls, .. } if redeclares(calls) => {}
            Op::LoseCalls { on, calls, arrived, restart } => {
                let pairs = self.pairs(calls);
                let tokens = self.send((*on).into(), &pairs);
                // What asks for no answer counts as done when nothing before it is unanswered: it is not sent again.
                if *arrived || tokens.first().is_some_and(Option::is_none) {
                    self.net.deliver();
                }
                self.lose(*restart);
                self.settle();
                self.compare_answers((*on).into(), pairs, tokens);
            }
            Op::CallAway { on, calls, restart } => {
                self.lose(*restart);
                let pairs = self.pairs(calls);
                let tokens = self.send((*on).into(), &pairs);
                self.settle();
                self.compare_answers((*on).into(), pairs, tokens);
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
        // The cancel of a consumer whose queue was deleted may have been lost.
        let refused = self.net.events.iter().find(|event| match event {
            Event::Degraded { entity, .. } => !matches!(**entity, Entity::Consumer(_)),
            _ => false,
        });
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

/// Whether an exchange or queue is deleted without waiting, and with it perhaps what goes with its last binding, and one is declared,
/// perhaps as another one, behind that.
fn redeclares(calls: &[Call]) -> bool {
    let deletes = |call: &Call| {
        matches!(call, Call::DeleteExchange { no_wait: true, .. } | Call::DeleteQueue { no_wait: true, .. })
    };
    let declares = |call: &Call| matches!(call, Call::DeclareExchange { .. } | Call::DeclareQueue { .. });
    calls.iter().position(deletes).is_some_and(|at| calls[at..].iter().any(declares))
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
