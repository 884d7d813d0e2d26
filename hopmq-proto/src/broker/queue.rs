use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

use crate::amqp::{FieldTable, ShortStr};

use super::arguments::assert_same;
use super::exchange::Incoming;
use super::fault::{self, Fault};
use super::id::{ConnectionId, ConsumerId};
use super::line::Line;
use super::message::Message;

/// The arguments that a second declaration must repeat, as far as they are known.
const ARGUMENTS: [&str; 12] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-queue-type",
];

/// What a queue was declared with.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    /// The connection that alone may use it.
    pub(super) owner: Option<ConnectionId>,
    pub(super) arguments: FieldTable,
}

/// Where messages wait for consumers.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: ShortStr,
    /// Its virtual host, by index.
    pub(super) vhost: usize,
    pub(super) declared: Declared,
    /// Messages that have never been delivered, by position.
    ready: VecDeque<(u64, Arc<Message>)>,
    /// Messages that came back. Each lies before all of `ready`.
    returned: BTreeMap<u64, Arc<Message>>,
    last_position: u64,
    /// How many messages channels hold unsettled.
    pub(super) unacked: usize,
    pub(super) consumers: BTreeSet<ConsumerId>,
    pub(super) exclusive_consumer: Option<ConsumerId>,
    /// The consumers that could take a message now.
    pub(super) line: Line,
    /// What is bound to it.
    pub(super) incoming: BTreeSet<Incoming>,
    /// The last publish that was routed here.
    pub(super) routed_by: u64,
}

/// The next message of a queue.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) position: u64,
    pub(super) message: Arc<Message>,
    pub(super) redelivered: bool,
}

impl Queue {
    pub(super) fn new(name: ShortStr, vhost: usize, declared: Declared) -> Self {
        Self {
            name,
            vhost,
            declared,
            ready: VecDeque::new(),
            returned: BTreeMap::new(),
            last_position: 0,
            unacked: 0,
            consumers: BTreeSet::new(),
            exclusive_consumer: None,
            line: Line::default(),
            incoming: BTreeSet::new(),
            routed_by: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.returned.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.returned.is_empty()
    }

    pub(super) fn push(&mut self, message: Arc<Message>) {
        self.last_position += 1;
        self.ready.push_back((self.last_position, message));
    }

    pub(super) fn pop(&mut self) -> Option<Next> {
        if let Some((position, message)) = self.returned.pop_first() {
            return Some(Next { position, message, redelivered: true });
        }
        let (position, message) = self.ready.pop_front()?;
        Some(Next { position, message, redelivered: false })
    }

    /// Puts a message back where it was.
    pub(super) fn put_back(&mut self, position: u64, message: Arc<Message>) {
        self.returned.insert(position, message);
    }

    /// What is left of a durable queue when the broker is started again: its persistent messages, and nobody who uses it.
    /// What was delivered before is not on the disk: any of them may have been.
    pub(super) fn restart(&mut self) {
        self.returned.extend(self.ready.drain(..));
        self.returned.retain(|_, message| message.is_persistent());
        self.unacked = 0;
        self.consumers.clear();
        self.exclusive_consumer = None;
        self.line = Line::default();
    }

    /// Drops what is ready, and returns how much that was.
    pub(super) fn purge(&mut self) -> usize {
        let count = self.len();
        self.ready = VecDeque::new();
        self.returned.clear();
        count
    }

    /// Refuses a connection that is not the owner of an exclusive queue.
    pub(super) fn check_access(&self, connection: ConnectionId, vhost: &str) -> Result<(), Fault> {
        match self.declared.owner {
            Some(owner) if owner != connection => Err(Fault::locked(&self.name, vhost)),
            _ => Ok(()),
        }
    }

    /// Refuses a second declaration that differs from the first.
    pub(super) fn check_declared(&self, again: &Declared, vhost: &str) -> Result<(), Fault> {
        if self.declared.owner != again.owner {
            return Err(Fault::locked(&self.name, vhost));
        }
        let what = fault::queue(&self.name, vhost);
        let same = |name: &str, current: bool, received: bool| {
            if current == received {
                return Ok(());
            }
            Err(inequivalent(name, &what, &received.to_string(), &current.to_string()))
        };
        same("durable", self.declared.durable, again.durable)?;
        same("auto_delete", self.declared.auto_delete, again.auto_delete)?;
        assert_same(&ARGUMENTS, &what, &self.declared.arguments, &again.arguments)
    }
}

/// `inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'`.
pub(super) fn inequivalent(argument: &str, what: &str, received: &str, current: &str) -> Fault {
    let text: String =
        format!("inequivalent arg '{argument}' for {what}: received '{received}' but current is '{current}'");
    Fault::precondition(text)
}
