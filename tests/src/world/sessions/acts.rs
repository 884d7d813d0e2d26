use hopmq_proto::Instant;
use hopmq_proto::amqp::{Method, Publish, ShortStr, basic, confirm, queue};
use hopmq_proto::broker::Broker;
use hopmq_proto::client::{ChannelId, CommandError, PublishError, Reply, Settle, SettleError, WhenLost};

use super::super::rng::Rng;
use super::promises::Promises;
use super::user::{User, What};

/// Queues that last: everybody declares them, nobody deletes them.
pub(super) const LASTING: [&str; 3] = ["q0", "q1", "q2"];
/// Queues that somebody deletes now and then.
const VOLATILE: [&str; 2] = ["v0", "v1"];

/// A user that does something.
pub(super) struct Actor<'a> {
    pub(super) user: &'a mut User,
    pub(super) rng: &'a mut Rng,
    pub(super) promises: &'a mut Promises,
    pub(super) broker: &'a Broker,
    pub(super) now: Instant,
}

impl Actor<'_> {
    /// Does one thing.
    pub(super) fn act(&mut self) {
        let channels = self.user.open_channels();
        if channels.is_empty() || (channels.len() < 3 && self.rng.percent(5)) {
            return self.open_channel();
        }
        let channel = channels[self.rng.index(channels.len())];
        match self.rng.below(100) {
            0..=34 => self.burst(channel),
            35..=59 => self.settle(),
            60..=67 => self.declare(channel),
            68..=76 => self.consume(channel),
            77..=80 => self.confirms(channel),
            81..=83 => self.declare_own(channel),
            84..=86 => self.qos(channel),
            87 => self.delete(channel),
            88 => self.cancel(),
            89 if self.rng.percent(30) => self.close_channel(channel),
            90 => self.await_confirms(channel),
            91 => self.give_back(),
            92..=93 => self.bind(channel),
            _ => self.settle_all(),
        }
    }

    pub(super) fn open_channel(&mut self) {
        match self.user.session.open_channel(self.now) {
            Ok((id, token)) => {
                self.user.channels.insert(id, super::user::Channel::default());
                self.user.owe(token, What::OpenChannel, Some(id), self.now);
            }
            Err(CommandError::TooManyChannels(_) | CommandError::Closed(_) | CommandError::NotOpen) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn close_channel(&mut self, channel: ChannelId) {
        match self.user.session.close_channel(channel, self.now) {
            Ok(token) => self.user.owe(token, What::Close, Some(channel), self.now),
            Err(CommandError::Closed(_) | CommandError::Stale) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) fn call(&mut self, channel: ChannelId, method: impl Into<Method>, what: What) -> bool {
        match self.user.session.call(channel, method, self.now) {
            Ok(token) => {
                self.user.owe(token, what, Some(channel), self.now);
                true
            }
            Err(CommandError::Closed(_) | CommandError::Stale | CommandError::TooManyCalls) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn declare(&mut self, channel: ChannelId) {
        let name = if self.rng.percent(75) { self.rng.pick(&LASTING) } else { self.rng.pick(&VOLATILE) };
        self.declare_named(channel, name);
    }

    pub(super) fn declare_named(&mut self, channel: ChannelId, name: &'static str) {
        let declare =
            queue::Declare { queue: ShortStr::from_static(name), durable: true, ..queue::Declare::default() };
        self.call(channel, declare, What::Declare { named_by_server: false });
    }

    fn declare_own(&mut self, channel: ChannelId) {
        let declare = queue::Declare {
            exclusive: true,
            auto_delete: self.rng.percent(30),
            ..queue::Declare::default()
        };
        self.call(channel, declare, What::Declare { named_by_server: true });
    }

    fn bind(&mut self, channel: ChannelId) {
        let Some(queue) = self.own_queue() else { return };
        let exchange = ShortStr::from_static("amq.fanout");
        self.call(channel, queue::Bind { queue, exchange, ..queue::Bind::default() }, What::Call);
    }

    fn own_queue(&mut self) -> Option<ShortStr> {
        let own = &self.user.own;
        (!own.is_empty()).then(|| own[self.rng.index(own.len())].clone())
    }

    fn consume(&mut self, channel: ChannelId) {
        if self.user.consumers.len() > 4 {
            return;
        }
        let queue = match self.rng.below(10) {
            0..=1 => ShortStr::from_static(self.rng.pick(&VOLATILE)),
            2..=3 => match self.own_queue() {
                Some(own) => own,
                None => return,
            },
            _ => ShortStr::from_static(self.rng.pick(&LASTING)),
        };
        self.consume_from(channel, queue);
    }

    pub(super) fn consume_from(&mut self, channel: ChannelId, queue: ShortStr) {
        let consume = basic::Consume { queue: queue.clone(), ..basic::Consume::default() };
        self.call(channel, consume, What::Consume(queue));
    }

    fn confirms(&mut self, id: ChannelId) {
        if self.call(id, confirm::Select { no_wait: false }, What::Call)
            && let Some(channel) = self.user.channels.get_mut(&id)
        {
            channel.confirms = true;
        }
    }

    fn qos(&mut self, channel: ChannelId) {
        let prefetch_count = self.rng.pick(&[0, 1, 3, 20]);
        let global = self.rng.percent(25);
        self.call(channel, basic::Qos { prefetch_size: 0, prefetch_count, global }, What::Call);
    }

    fn delete(&mut self, channel: ChannelId) {
        let queue = ShortStr::from_static(self.rng.pick(&VOLATILE));
        self.call(channel, queue::Delete { queue, ..queue::Delete::default() }, What::Call);
    }

    fn cancel(&mut self) {
        let all: Vec<_> = self.user.consumers.values().map(|c| (c.channel, c.tag.clone())).collect();
        if !all.is_empty() {
            let (channel, consumer_tag) = all[self.rng.index(all.len())].clone();
            self.call(channel, basic::Cancel { consumer_tag, no_wait: false }, What::Call);
        }
    }

    /// Drops a consumer, which is cancelled in our place.
    fn give_back(&mut self) {
        let tokens: Vec<_> = self.user.consumers.keys().copied().collect();
        if tokens.is_empty() {
            return;
        }
        let token = tokens[self.rng.index(tokens.len())];
        if let Some(consumer) = self.user.consumers.remove(&token) {
            let reply = Reply::Consumer { channel: consumer.channel, consumer_tag: consumer.tag };
            self.user.session.give_back(reply, self.now);
        }
    }

    fn await_confirms(&mut self, channel: ChannelId) {
        match self.user.session.await_confirms(channel) {
            Ok(token) => self.user.owe(token, What::Confirms, Some(channel), self.now),
            Err(CommandError::Closed(_) | CommandError::Stale | CommandError::TooManyCalls) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn burst(&mut self, channel: ChannelId) {
        let count = if self.rng.percent(5) { self.rng.between(20, 60) } else { self.rng.between(1, 6) };
        for _ in 0..count {
            self.publish(channel);
        }
    }

    fn publish(&mut self, id: ChannelId) {
        let (key, lasts) = match self.rng.below(10) {
            0 => (ShortStr::from_static(self.rng.pick(&VOLATILE)), false),
            1 => match self.own_queue() {
                Some(own) => (own, false),
                None => return,
            },
            _ => {
                let queue = self.rng.pick(&LASTING);
                (ShortStr::from_static(queue), self.broker.queue("/", queue).is_some())
            }
        };
        let when_lost = match self.rng.below(10) {
            0 => WhenLost::Hold,
            1 => WhenLost::Fail,
            _ => WhenLost::Resend,
        };
        let Some(channel) = self.user.channels.get(&id).cloned() else { return };
        let (user, now) = (self.user.no, self.now);
        let source = (user, id.number(), self.user.channels.range(..id).count() as u32);
        let (no, body, properties) = self.promises.make(self.rng, source, lasts);
        self.promises.of(no).when_lost = when_lost;
        let publish = Publish { routing_key: key.as_bytes(), ..Publish::default() };
        let away = self.user.wire.is_none();
        let session = &mut self.user.session;
        match session.publish_with(id, &publish, &properties, &body, when_lost, now) {
            Ok(token) => {
                assert_eq!(token.is_some(), channel.confirms, "a token for every publish to confirm");
                assert!(token.is_some() || !away, "without a confirm it is taken while nobody is there");
                self.user.tally.held += u64::from(away);
                if let Some(token) = token {
                    self.user.owe(token, What::Publish(no), Some(id), now);
                }
            }
            Err(PublishError::Full | PublishError::Blocked) => {}
            Err(PublishError::Command(CommandError::Disconnected)) => {
                assert_eq!(when_lost, WhenLost::Fail, "a publish that may wait is refused");
            }
            Err(PublishError::Command(CommandError::Closed(_) | CommandError::Stale)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn settle(&mut self) {
        if self.user.held.is_empty() {
            return;
        }
        let at = self.rng.index(self.user.held.len());
        let how = match self.rng.below(10) {
            0..=7 => Settle::Ack { multiple: false },
            8 => Settle::Nack { multiple: false, requeue: true },
            _ => Settle::Reject { requeue: true },
        };
        self.settle_at(at, how);
    }

    pub(super) fn settle_all(&mut self) {
        while let Some(last) = self.user.held.len().checked_sub(1) {
            self.settle_at(last, Settle::Ack { multiple: false });
        }
    }

    fn settle_at(&mut self, at: usize, how: Settle) {
        let (id, stale) = self.user.held.swap_remove(at);
        match self.user.session.settle(id, how, self.now) {
            Ok(()) => assert!(!stale, "a delivery of an earlier life is settled"),
            Err(SettleError::Stale) => self.user.tally.stale += 1,
            Err(SettleError::Closed(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
