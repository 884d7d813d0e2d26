//! A client of a server, which loses its connection now and then.

use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::server::Server;
use super::wire::Wire;
use super::*;
use crate::client::Token;
use crate::client::session::{EntityOutcome, Restore, Topology};

pub(super) const MAX_ENTITIES: usize = 10_000;

/// A client of a server, with what it keeps in mind.
pub(super) struct World {
    pub(super) server: Server,
    pub(super) topology: Topology,
    /// The names of queues as the user was given them.
    given: Vec<ShortStr>,
    consumers: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
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

pub(super) fn op() -> impl Strategy<Value = Op> {
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
    pub(super) fn new() -> Self {
        let given = (0..4).map(|n| short(&format!("q{n}"))).collect();
        Self { server: Server::default(), topology: Topology::new(MAX_ENTITIES), given, consumers: 0 }
    }

    fn queue(&self, n: u8) -> String {
        self.given[usize::from(n) % self.given.len()].to_string()
    }

    /// The name that the server knows it by.
    fn current(&self, n: u8) -> ShortStr {
        self.today(&short(&self.queue(n)))
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

    pub(super) fn apply(&mut self, op: &Op) {
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
    pub(super) fn lose(&mut self, restart: bool) {
        let before = self.before_loss(restart);
        let outcomes = self.restore(&mut Wire::default());
        assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
        self.resume(&before);
    }

    /// The server forgets the client, and perhaps everything. Gives what it had.
    pub(super) fn before_loss(&mut self, restart: bool) -> Server {
        let before = self.server.clone();
        self.server.lose();
        if restart {
            self.server.restart();
        }
        before
    }

    /// Brings back what is recorded.
    pub(super) fn restore(&mut self, wire: &mut Wire) -> Vec<EntityOutcome> {
        let plan = self.topology.plan(None);
        let restore = Restore::new(plan, wire.config.clone());
        let outcomes = wire.run(restore, &mut self.server, &mut self.topology).unwrap();
        for EntityOutcome { entity, result } in &outcomes {
            if result.is_err() {
                self.topology.on_refused(entity);
            }
        }
        outcomes
    }

    /// Consumes again, and compares with what was there before.
    fn resume(&mut self, before: &Server) {
        for (id, queue) in &before.consumers {
            self.server.consumers.insert(*id, self.today(queue));
        }
        assert_eq!(self.server.describe(Clone::clone), before.describe(|name| self.today(name)));
    }

    fn today(&self, name: &ShortStr) -> ShortStr {
        self.topology.resolve_name(name.as_bytes()).unwrap_or(name).clone()
    }
}
