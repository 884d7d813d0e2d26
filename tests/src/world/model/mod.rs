//! A second broker, which only checks: it hears every frame that the broker is given and sees every frame that the
//! broker answers, and knows what each queue must hold after every step.
//!
//! Which consumer gets a message is the broker's choice; that it is the next message of the queue, with the right mark
//! of redelivery, to a consumer with room for it, is not. Replies, refusals, returns and confirms are predicted.

mod hears;
mod queue;
mod sees;
mod topology;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hopmq_proto::amqp::{Method, basic};
use hopmq_proto::broker::Broker;

use self::queue::{Queue, QueueNo};
use self::topology::{To, Topology};
use super::ledger::{ChannelAt, LinkNo, MessageNo};
use super::tally::Tally;

#[derive(Debug, Default)]
pub(super) struct Model {
    links: BTreeMap<LinkNo, Link>,
    topology: Topology,
    queues: BTreeMap<QueueNo, Queue>,
    names: BTreeMap<String, QueueNo>,
    consumers: BTreeMap<ConsumerNo, Consumer>,
    last_no: u64,
    /// The queues that this step changed, and the names that it freed.
    changed: BTreeSet<QueueNo>,
    freed: BTreeSet<String>,
    /// What the broker gave out, for clients to be held against.
    handed_out: BTreeMap<(ChannelAt, u64), HandedOut>,
    pub(super) tally: Tally,
    /// How many deliveries a channel may have under way, whatever its prefetch.
    ceiling: usize,
}

/// A consumer from its start to its end.
type ConsumerNo = u64;

/// A delivery or the answer to a get, as it left the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HandedOut {
    pub(super) message: MessageNo,
    pub(super) redelivered: bool,
    /// The consumer's tag; none for a get.
    pub(super) consumer: Option<String>,
}

#[derive(Debug, Default)]
struct Link {
    phase: Phase,
    channels: BTreeMap<u16, Slot>,
    incarnations: BTreeMap<u16, u32>,
    /// What the broker must say, in order.
    expected: VecDeque<Expected>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Handshake,
    Open,
    /// The broker has closed it and waits for the answer.
    Closing,
    Ended,
}

#[derive(Debug)]
enum Slot {
    Open(Channel),
    Closing,
}

#[derive(Debug, Default)]
struct Channel {
    last_tag: u64,
    unacked: BTreeMap<u64, Unacked>,
    prefetch: u16,
    window: u16,
    consumers: BTreeMap<String, ConsumerNo>,
    confirms: Option<Confirms>,
    /// Messages that must come back, with the number of the publish if it is to be confirmed.
    returns: VecDeque<(Option<u64>, MessageNo)>,
}

impl Channel {
    fn consumed(&self) -> usize {
        self.unacked.values().filter(|unacked| unacked.consumed).count()
    }
}

#[derive(Debug, Default)]
struct Confirms {
    published: u64,
    confirmed: u64,
}

#[derive(Debug)]
struct Unacked {
    queue: QueueNo,
    place: u64,
    message: MessageNo,
    consumer: Option<ConsumerNo>,
    /// It came through a consumer, be that still there or not.
    consumed: bool,
}

#[derive(Debug)]
struct Consumer {
    link: LinkNo,
    channel: u16,
    tag: String,
    queue: QueueNo,
    no_ack: bool,
    prefetch: u16,
    unacked: usize,
}

/// What the broker must say next on a connection.
#[derive(Debug)]
enum Expected {
    Exactly(u16, Method),
    DeclareOk { channel: u16, queue: QueueNo, ready: usize, consumers: usize },
    ConsumeOk { channel: u16, consumer: Consumer, exclusive: bool },
    GetOk { channel: u16, queue: QueueNo, no_ack: bool, left: usize },
    ChannelClose { channel: u16, code: u16 },
    ConnectionClose { code: u16 },
}

impl Model {
    pub(super) fn new(ceiling: usize) -> Self {
        Self { ceiling, ..Self::default() }
    }

    pub(super) fn connect(&mut self, link: LinkNo) {
        self.links.insert(link, Link::default());
    }

    fn no(&mut self) -> u64 {
        self.last_no += 1;
        self.last_no
    }

    fn link(&mut self, link: LinkNo) -> &mut Link {
        self.links.get_mut(&link).unwrap_or_else(|| panic!("link {link} is unknown"))
    }

    fn channel(&mut self, link: LinkNo, channel: u16) -> Option<&mut Channel> {
        match self.links.get_mut(&link)?.channels.get_mut(&channel) {
            Some(Slot::Open(channel)) => Some(channel),
            _ => None,
        }
    }

    fn expect(&mut self, link: LinkNo, expected: Expected) {
        self.link(link).expected.push_back(expected);
    }

    pub(super) fn handed_out(&self, channel: ChannelAt, tag: u64) -> Option<&HandedOut> {
        self.handed_out.get(&(channel, tag))
    }

    /// Which channel of that number is, or was last, open on a connection.
    pub(super) fn channel_at(&self, link: LinkNo, number: u16) -> ChannelAt {
        let incarnation = self.links.get(&link).and_then(|link| link.incarnations.get(&number));
        ChannelAt { link, number, incarnation: incarnation.copied().unwrap_or(0) }
    }

    /// The queues that are there and belong to no connection.
    pub(super) fn shared_queues(&self) -> Vec<String> {
        let shared = self.queues.values().filter(|queue| queue.owner.is_none());
        shared.map(|queue| queue.name.clone()).collect()
    }

    /// The queues that a connection may use.
    pub(super) fn queues_for(&self, link: LinkNo) -> Vec<String> {
        let usable = self.queues.values().filter(|queue| queue.owner.is_none_or(|owner| owner == link));
        usable.map(|queue| queue.name.clone()).collect()
    }

    pub(super) fn has_exchange(&self, name: &str) -> bool {
        self.topology.has_exchange(name)
    }

    /// How many messages a queue holds, given out or not.
    pub(super) fn holds(&self, name: &str) -> usize {
        let queue = self.names.get(name).and_then(|no| self.queues.get(no));
        queue.map_or(0, |queue| queue.ready() + queue.unacked)
    }

    /// The messages that wait in queues, for a text.
    pub(super) fn account(&self) -> Vec<(String, usize, usize)> {
        self.queues.values().map(|queue| (queue.name.clone(), queue.ready(), queue.unacked)).collect()
    }

    /// The connection is gone, or does no more work.
    pub(super) fn end_link(&mut self, link: LinkNo) {
        self.link(link).phase = Phase::Ended;
        self.end_session(link);
    }

    fn end_session(&mut self, link: LinkNo) {
        let channels = std::mem::take(&mut self.link(link).channels);
        let open = channels.into_values().filter_map(|slot| match slot {
            Slot::Open(channel) => Some(channel),
            Slot::Closing => None,
        });
        self.end_channels(open.collect());
        let owned: Vec<_> =
            self.queues.iter().filter(|(_, q)| q.owner == Some(link)).map(|(no, _)| *no).collect();
        for queue in owned {
            self.remove_queue(queue);
        }
    }

    fn end_channels(&mut self, channels: Vec<Channel>) {
        for channel in &channels {
            for consumer in channel.consumers.values() {
                self.remove_consumer(*consumer);
            }
        }
        for unacked in channels.into_iter().flat_map(|channel| channel.unacked.into_values()) {
            self.settle(&unacked, true);
        }
    }

    fn remove_consumer(&mut self, no: ConsumerNo) {
        let Some(consumer) = self.consumers.remove(&no) else { return };
        self.changed.insert(consumer.queue);
        let others = self.consumers.values().any(|other| other.queue == consumer.queue);
        let Some(queue) = self.queues.get_mut(&consumer.queue) else { return };
        if !others {
            queue.exclusive = false;
            if queue.auto_delete {
                self.remove_queue(consumer.queue);
            }
        }
    }

    /// Removes a queue, and tells the consumers it still has.
    fn remove_queue(&mut self, no: QueueNo) {
        let Some(queue) = self.queues.remove(&no) else { return };
        self.names.remove(&queue.name);
        self.freed.insert(queue.name);
        self.topology.drop_destination(&To::Queue(no));
        let orphans: Vec<_> =
            self.consumers.iter().filter(|(_, c)| c.queue == no).map(|(no, _)| *no).collect();
        for orphan in orphans {
            let Some(consumer) = self.consumers.remove(&orphan) else { continue };
            let Some(channel) = self.channel(consumer.link, consumer.channel) else { continue };
            channel.consumers.remove(&consumer.tag);
            let consumer_tag = hopmq_proto::amqp::ShortStr::truncated(&consumer.tag);
            let cancel = basic::Cancel { consumer_tag, no_wait: true };
            self.expect(consumer.link, Expected::Exactly(consumer.channel, cancel.into()));
        }
    }

    fn settle(&mut self, unacked: &Unacked, requeue: bool) {
        if let Some(consumer) = unacked.consumer.and_then(|no| self.consumers.get_mut(&no)) {
            consumer.unacked -= 1;
        }
        self.changed.insert(unacked.queue);
        let Some(queue) = self.queues.get_mut(&unacked.queue) else { return };
        if requeue {
            queue.put_back(unacked.place, unacked.message);
        } else {
            queue.unacked -= 1;
        }
    }

    /// The broker has been told to close every connection.
    pub(super) fn shutdown(&mut self) {
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            match self.link(link).phase {
                Phase::Open => {
                    self.expect(link, Expected::ConnectionClose { code: 320 });
                    self.link(link).phase = Phase::Closing;
                    self.end_session(link);
                }
                Phase::Handshake => self.link(link).phase = Phase::Ended,
                Phase::Closing | Phase::Ended => {}
            }
        }
    }

    /// No message waits while a consumer could take it. `is_free` tells whether a connection has nothing to write.
    pub(super) fn check_nobody_is_idle(&self, is_free: impl Fn(LinkNo) -> bool) {
        for consumer in self.consumers.values().filter(|consumer| is_free(consumer.link)) {
            let ready = self.queues.get(&consumer.queue).map_or(0, Queue::ready);
            let channels = self.links.get(&consumer.link).map(|link| &link.channels);
            let Some(Slot::Open(channel)) = channels.and_then(|all| all.get(&consumer.channel)) else {
                continue;
            };
            let below = |count: usize, limit: u16| limit == 0 || count < usize::from(limit);
            let window = below(channel.consumed(), channel.window) && channel.consumed() < self.ceiling;
            let room = consumer.no_ack || (window && below(consumer.unacked, consumer.prefetch));
            assert!(ready == 0 || !room, "{ready} messages wait, and {consumer:?} has room");
        }
    }

    /// Whether the broker must now answer the close of a connection.
    pub(super) fn expects_close_ok(&self, link: LinkNo) -> bool {
        let next = self.links.get(&link).and_then(|link| link.expected.front());
        matches!(next, Some(Expected::Exactly(0, Method::ConnectionCloseOk(_))))
    }

    pub(super) fn open_links(&self) -> usize {
        self.links.values().filter(|link| link.phase == Phase::Open).count()
    }

    /// The broker has said all it had to say in this step.
    pub(super) fn end_step(&mut self, broker: &Broker) {
        for (no, link) in &self.links {
            assert!(link.expected.is_empty(), "link {no}: the broker has not said {:?}", link.expected);
        }
        for name in std::mem::take(&mut self.freed) {
            if !self.names.contains_key(&name) {
                assert_eq!(broker.queue("/", &name), None, "queue '{name}' should be gone");
            }
        }
        for no in std::mem::take(&mut self.changed) {
            let consumers = self.consumers.values().filter(|consumer| consumer.queue == no).count();
            let Some(queue) = self.queues.get_mut(&no) else { continue };
            queue.end_step();
            let stats = broker.queue("/", &queue.name);
            let stats = stats.map(|stats| (stats.ready, stats.unacked, stats.consumers));
            let want = Some((queue.ready(), queue.unacked, consumers));
            assert_eq!(stats, want, "queue '{}': ready, unacked, consumers", queue.name);
        }
    }
}
