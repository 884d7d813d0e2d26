use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::BytesMut;

use crate::amqp::ShortStr;
use crate::{Deadlines, Engine, Instant, Outbox, Want};

use super::config::Config;
use super::consumer::Consumer;
use super::event::{Event, Peer};
use super::exchange::{Destination, Exchange};
use super::id::{ConnectionId, ConsumerId, ExchangeId, QueueId, Slab};
use super::link::{Link, Phase, Timer};
use super::names::Names;
use super::queue::Queue;
use super::unacked::Delivery;
use super::vhost::Vhost;

/// A message broker as a value: virtual hosts, users, exchanges, queues and any number of connections.
///
/// Each connection is an [`Engine`] of its own, seen through [`connection`](Broker::connection). What one connection
/// does can give another something to write; [`poll_touched`](Broker::poll_touched) tells which.
///
/// ```
/// use bytes::BytesMut;
/// use hopmq_proto::amqp::PROTOCOL_HEADER;
/// use hopmq_proto::broker::{Broker, Config, Peer};
/// use hopmq_proto::{Engine, Instant};
///
/// let mut broker = Broker::new(Config::default());
/// let id = broker.accept(Peer { loopback: true, name: "a test".into() }, Instant::ZERO);
/// if let Some(mut connection) = broker.connection(id) {
///     connection.handle_input(&mut BytesMut::from(&PROTOCOL_HEADER[..]), Instant::ZERO);
///     assert!(connection.outbox().len() > 100); // connection.start
/// }
/// ```
#[derive(Debug)]
pub struct Broker {
    pub(super) config: Config,
    pub(super) names: Names,
    pub(super) vhosts: Vec<Vhost>,
    pub(super) exchanges: Slab<ExchangeId, Exchange>,
    pub(super) queues: Slab<QueueId, Queue>,
    pub(super) consumers: Slab<ConsumerId, Consumer>,
    pub(super) links: Slab<ConnectionId, Link>,
    pub(super) touched: Touched,
    pub(super) scratch: Scratch,
    /// Publishers are held back, and are told why.
    pub(super) alarm: Option<ShortStr>,
    /// What is published is nacked.
    pub(super) refuses: bool,
    /// Counts the publishes, to visit no queue and no exchange twice for one.
    pub(super) routings: u64,
}

/// Connections that the owner must look at again.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// The connection that is being handled; its owner looks at it anyway.
    current: Option<ConnectionId>,
    queue: VecDeque<ConnectionId>,
}

impl Touched {
    pub(super) fn mark(&mut self, id: ConnectionId, link: &mut Link) {
        if self.current != Some(id) && !link.touched {
            link.touched = true;
            self.queue.push_back(id);
        }
    }
}

/// Lists that each call needs for a moment, kept for their memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) routes: Vec<QueueId>,
    pub(super) pending: Vec<ExchangeId>,
    pub(super) found: Vec<Destination>,
    pub(super) settled: Vec<Delivery>,
    pub(super) woken: Vec<QueueId>,
}

/// What a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueStats {
    /// Messages that wait for a consumer.
    pub ready: usize,
    /// Messages that were delivered and not acknowledged.
    pub unacked: usize,
    /// Consumers.
    pub consumers: usize,
}

impl Broker {
    /// A broker without messages.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut exchanges = Slab::new();
        let vhosts = config.vhosts.iter().cloned().enumerate();
        let vhosts = vhosts.map(|(index, name)| Vhost::new(name, index, &mut exchanges)).collect();
        Self {
            names: Names::new(config.seed),
            vhosts,
            exchanges,
            queues: Slab::new(),
            consumers: Slab::new(),
            links: Slab::new(),
            touched: Touched::default(),
            scratch: Scratch::default(),
            alarm: None,
            refuses: false,
            routings: 0,
            config,
        }
    }

    /// A transport has connected. It must be [released](Broker::release) when it is done.
    pub fn accept(&mut self, peer: Peer, now: Instant) -> ConnectionId {
        let mut deadlines = Deadlines::new();
        deadlines.set(Timer::Handshake, now + self.config.handshake_timeout);
        self.links.insert(Link {
            peer,
            phase: Phase::Header,
            outbox: Outbox::new(),
            events: VecDeque::new(),
            deadlines,
            heartbeat: None,
            frame_max: crate::amqp::FRAME_MIN_SIZE,
            leftover: 0,
            spoke: false,
            touched: false,
            max_outbox: self.config.max_outbox_bytes,
        })
    }

    /// One connection, until it is released.
    pub fn connection(&mut self, id: ConnectionId) -> Option<Connection<'_>> {
        self.links.get(id)?;
        Some(Connection { broker: self, id, none: Outbox::new() })
    }

    /// The next connection whose outbox, events, deadline or demand has changed by a call that was not its own. Where it wants to
    /// be read again, it is handed what it had left of its input, too.
    pub fn poll_touched(&mut self) -> Option<ConnectionId> {
        while let Some(id) = self.touched.queue.pop_front() {
            if let Some(link) = self.links.get_mut(id) {
                link.touched = false;
                return Some(id);
            }
        }
        None
    }

    /// The transport is gone or done: forgets the connection. What it had not settled goes back to the queues.
    ///
    /// A connection that has not been closed counts as cut off. Calling it twice is harmless.
    pub fn release(&mut self, id: ConnectionId, now: Instant) {
        self.on_eof(id, now);
        self.links.remove(id);
    }

    /// Closes every connection: the open ones with 320 CONNECTION_FORCED.
    pub fn shutdown(&mut self, now: Instant) {
        self.close_connections("broker forced connection closure with reason 'shutdown'", now);
    }

    /// Closes every connection, the open ones with 320 CONNECTION_FORCED and this reason, as `rabbitmqctl
    /// close_all_connections` does. New ones may come.
    pub fn close_connections(&mut self, reason: &str, now: Instant) {
        let ids: Vec<_> = self.links.ids().collect();
        for id in ids {
            self.force_close(id, reason, now);
        }
    }

    /// What a queue holds, if it is there.
    #[must_use]
    pub fn queue(&self, vhost: &str, name: &str) -> Option<QueueStats> {
        let vhost = self.vhosts.iter().find(|found| found.name == vhost)?;
        let queue = self.queues.get(*vhost.queues.get(name.as_bytes())?)?;
        Some(QueueStats { ready: queue.len(), unacked: queue.unacked, consumers: queue.consumers.len() })
    }

    /// How many connections have been accepted and not released.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.links.len()
    }

    /// The name of the virtual host a connection has open, for texts.
    pub(super) fn vhost_name(&self, index: usize) -> &str {
        self.vhosts.get(index).map_or("", |vhost| &vhost.name)
    }

    pub(super) fn find_queue(&self, vhost: usize, name: &ShortStr) -> Option<QueueId> {
        self.vhosts.get(vhost)?.queues.get(name.as_bytes()).copied()
    }

    pub(super) fn find_exchange(&self, vhost: usize, name: &[u8]) -> Option<ExchangeId> {
        self.vhosts.get(vhost)?.exchanges.get(name).copied()
    }
}

/// One connection of a [`Broker`]: the [`Engine`] that its transport drives.
#[derive(Debug)]
pub struct Connection<'a> {
    broker: &'a mut Broker,
    id: ConnectionId,
    /// Stands in for the outbox if the connection were gone, which the borrow rules out.
    none: Outbox,
}

impl Connection<'_> {
    /// Which connection this is.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    fn run(&mut self, work: impl FnOnce(&mut Broker, ConnectionId)) {
        self.broker.touched.current = Some(self.id);
        work(self.broker, self.id);
        self.broker.touched.current = None;
    }

    fn link(&self) -> Option<&Link> {
        self.broker.links.get(self.id)
    }
}

impl Engine for Connection<'_> {
    type Event = Event;

    fn handle_input(&mut self, input: &mut BytesMut, now: Instant) {
        self.run(|broker, id| broker.on_input(id, input, now));
    }

    fn handle_eof(&mut self, now: Instant) {
        self.run(|broker, id| broker.on_eof(id, now));
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.run(|broker, id| broker.on_timeout(id, now));
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.broker.links.get_mut(self.id)?.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let link = self.link()?;
        if link.can_resume() { Some(Instant::ZERO) } else { link.deadlines.next() }
    }

    fn outbox(&mut self) -> &mut Outbox {
        match self.broker.links.get_mut(self.id) {
            Some(link) => &mut link.outbox,
            None => &mut self.none,
        }
    }

    fn want(&self) -> Want {
        self.link().map_or(Want::Shutdown, Link::want)
    }
}
