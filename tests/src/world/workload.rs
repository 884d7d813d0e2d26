//! What clients do: every kind of call, in an order that the seed chooses.

use hopmq_proto::Instant;
use hopmq_proto::amqp::{FieldTable, Method, Publish, ShortStr, basic, confirm, exchange, queue};
use hopmq_proto::client::{ChannelId, CommandError, PublishError, Settle, SettleError, Token};

use super::client::{Client, Held, What};
use super::ledger::Ledger;
use super::model::Model;
use super::rng::Rng;

/// Exchanges with their kinds; the last one goes with its last binding.
const EXCHANGES: [(&str, &str); 5] =
    [("xd", "direct"), ("xf", "fanout"), ("xt", "topic"), ("xh", "headers"), ("xa", "fanout")];
const KEYS: [&str; 6] = ["a", "a.b", "a.b.c", "b", "b.c.a", ""];
const PATTERNS: [&str; 7] = ["a", "a.*", "#", "*.b.#", "a.#", "b", "#.c"];

/// A client that is to do something, with what it may know.
pub(super) struct Actor<'a> {
    pub(super) client: &'a mut Client,
    pub(super) rng: &'a mut Rng,
    pub(super) ledger: &'a mut Ledger,
    /// The queues that are there and that it may use, and the exchanges that are there.
    pub(super) queues: Vec<String>,
    pub(super) exchanges: Vec<&'static str>,
    pub(super) now: Instant,
}

impl<'a> Actor<'a> {
    pub(super) fn new(
        client: &'a mut Client,
        rng: &'a mut Rng,
        ledger: &'a mut Ledger,
        model: &Model,
        now: Instant,
    ) -> Self {
        let queues = model.queues_for(client.link);
        let exchanges = EXCHANGES.map(|(name, _)| name).into_iter().filter(|name| model.has_exchange(name));
        Self { queues, exchanges: exchanges.collect(), client, rng, ledger, now }
    }

    /// Does one thing.
    pub(super) fn act(mut self) {
        if self.client.paused && self.rng.percent(40) {
            return self.pause(false);
        }
        let channels = self.client.open_channels();
        if channels.is_empty() || (channels.len() < 4 && self.rng.percent(8)) {
            return open_channel(self.client, self.now);
        }
        let channel = channels[self.rng.index(channels.len())];
        let fresh = self.client.channels.get_mut(&channel).map(|channel| std::mem::take(&mut channel.fresh));
        match self.rng.below(8) {
            0..=3 if fresh == Some(true) => return self.select(channel),
            4 if fresh == Some(true) => return self.call(channel, Self::qos),
            5 if self.client.consumers.is_empty() => return self.call(channel, Self::consume),
            6..=7 if self.queues.len() < 2 => return self.call(channel, Self::declare_queue),
            _ => {}
        }
        match self.rng.below(100) {
            0..=37 => self.burst(channel),
            38..=59 => self.settle(),
            60..=67 => self.call(channel, Self::consume),
            68..=71 => self.call(channel, Self::declare_queue),
            72..=76 => self.call(channel, Self::bind),
            77..=80 => self.call(channel, Self::get),
            81..=83 => self.call(channel, Self::declare_exchange),
            84 => self.cancel(),
            85..=86 => self.call(channel, Self::qos),
            87..=89 => self.select(channel),
            90 => self.call(channel, Self::seldom),
            91..=92 => self.abandon(),
            93 if self.rng.percent(50) => close_channel(self.client, channel, self.now),
            94 => self.pause(true),
            96 => self.give_back(),
            _ => settle_all(self.client, self.rng, self.now),
        }
    }

    fn pause(&mut self, paused: bool) {
        self.client.paused = paused;
        self.client.engine.set_paused(paused, self.now);
    }

    fn call(&mut self, channel: ChannelId, method: fn(&mut Self) -> Method) {
        let method = method(self);
        call(self.client, channel, method, self.now);
    }

    fn select(&mut self, channel: ChannelId) {
        let before = self.client.waiting().len();
        call(self.client, channel, confirm::Select::default().into(), self.now);
        if self.client.waiting().len() > before
            && let Some(channel) = self.client.channels.get_mut(&channel)
        {
            channel.confirms = true;
        }
    }

    fn burst(&mut self, channel: ChannelId) {
        let flood = self.rng.percent(4);
        let count = if flood { self.rng.between(30, 80) } else { self.rng.between(1, 6) };
        for _ in 0..count {
            let large = flood && self.rng.percent(20);
            self.publish(channel, large);
        }
    }

    fn publish(&mut self, id: ChannelId, large: bool) {
        let exchange = match self.rng.below(200) {
            0 => "nowhere",
            1..=110 => "",
            _ if self.exchanges.is_empty() => "",
            _ => self.exchange_name(),
        };
        let key = if exchange.is_empty() && self.rng.percent(92) {
            self.queue_name().to_string()
        } else {
            self.rng.pick(&KEYS).to_owned()
        };
        let no = self.ledger.make(self.rng, exchange, key, large);
        let record = self.ledger.record(no);
        let publish = Publish {
            exchange: record.exchange.as_bytes(),
            routing_key: record.key.as_bytes(),
            mandatory: record.mandatory,
            immediate: false,
        };
        let full = self.client.engine.publish(id, &publish, &record.properties, &record.body, self.now);
        let Some(channel) = self.client.channels.get(&id).copied() else { return };
        match full {
            Ok(token) => {
                assert_eq!(token.is_some(), channel.confirms, "a token for every publish to confirm");
                self.ledger.sent(channel.at, no, token.is_some());
                if let Some(token) = token {
                    self.client.owe(token, What::Publish(no), Some(id), self.now);
                }
            }
            Err(PublishError::Full) => {
                self.client.tally.full += 1;
                self.client.refused.insert(id);
            }
            Err(PublishError::Command(CommandError::Closed(_) | CommandError::Stale)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// A queue: most often one that is there, else one that somebody declares, seldom one that nobody does.
    fn queue_name(&mut self) -> ShortStr {
        if !self.queues.is_empty() && self.rng.percent(93) {
            return ShortStr::truncated(&self.queues[self.rng.index(self.queues.len())]);
        }
        self.new_queue_name()
    }

    fn new_queue_name(&mut self) -> ShortStr {
        let name = match self.rng.below(40) {
            0 => "missing".to_owned(),
            1..=6 => {
                format!("own-{}", if self.rng.percent(90) { self.client.link } else { self.rng.index(3) })
            }
            _ => format!("q{}", self.rng.below(5)),
        };
        ShortStr::truncated(&name)
    }

    fn exchange_name(&mut self) -> &'static str {
        if self.exchanges.is_empty() || self.rng.percent(4) {
            return self.rng.pick(&EXCHANGES).0;
        }
        self.rng.pick(&self.exchanges)
    }

    fn get(&mut self) -> Method {
        basic::Get { queue: self.queue_name(), no_ack: self.rng.percent(30) }.into()
    }

    fn declare_queue(&mut self) -> Method {
        let mut declare = queue::Declare { queue: self.new_queue_name(), ..Default::default() };
        let name = declare.queue.to_string();
        match name.as_str() {
            "missing" if self.rng.percent(50) => {
                // The server chooses a name.
                declare.queue = ShortStr::empty();
                declare.exclusive = self.rng.percent(70);
                declare.auto_delete = !declare.exclusive;
            }
            "missing" => declare.passive = true,
            "q3" | "q4" => declare.auto_delete = true,
            name if name.starts_with("own-") => declare.exclusive = true,
            _ => declare.durable = true,
        }
        match self.rng.below(40) {
            0 => declare.durable = !declare.durable,
            1 => declare.exclusive = !declare.exclusive,
            2..=4 if !declare.queue.is_empty() => declare.passive = true,
            _ => {}
        }
        declare.into()
    }

    fn declare_exchange(&mut self) -> Method {
        let (name, kind) = self.rng.pick(&EXCHANGES);
        let kind = if self.rng.percent(2) { "fanout" } else { kind };
        exchange::Declare {
            exchange: ShortStr::from_static(name),
            kind: ShortStr::from_static(kind),
            passive: self.rng.percent(5),
            durable: true,
            auto_delete: name == "xa",
            ..Default::default()
        }
        .into()
    }

    fn bind(&mut self) -> Method {
        let source = ShortStr::from_static(self.exchange_name());
        let arguments = if source == "xh" { arguments(self.rng) } else { FieldTable::new() };
        let routing_key = ShortStr::from_static(self.rng.pick(&PATTERNS));
        let queue = self.queue_name();
        match self.rng.below(10) {
            0 => queue::Unbind { queue, exchange: source, routing_key, arguments }.into(),
            1 => {
                let destination = ShortStr::from_static(self.exchange_name());
                exchange::Bind { source, destination, routing_key, arguments, ..Default::default() }.into()
            }
            _ => queue::Bind { queue, exchange: source, routing_key, arguments, ..Default::default() }.into(),
        }
    }

    fn consume(&mut self) -> Method {
        let consumer_tag = match self.rng.below(12) {
            0 => ShortStr::from_static("same"),
            _ => ShortStr::empty(),
        };
        basic::Consume {
            queue: self.queue_name(),
            consumer_tag,
            no_ack: self.rng.percent(25),
            exclusive: self.rng.percent(4),
            ..Default::default()
        }
        .into()
    }

    fn qos(&mut self) -> Method {
        let prefetch_count = self.rng.pick(&[0, 1, 2, 3, 10]);
        basic::Qos { prefetch_count, global: self.rng.percent(30), ..Default::default() }.into()
    }

    fn seldom(&mut self) -> Method {
        let queue = self.queue_name();
        match self.rng.below(6) {
            0 => queue::Purge { queue, no_wait: false }.into(),
            1..=2 => {
                let (if_unused, if_empty) = (self.rng.percent(20), self.rng.percent(20));
                queue::Delete { queue, if_unused, if_empty, no_wait: false }.into()
            }
            3 => {
                let exchange = ShortStr::from_static(self.exchange_name());
                exchange::Delete { exchange, if_unused: self.rng.percent(30), no_wait: false }.into()
            }
            _ => basic::Recover { requeue: true }.into(),
        }
    }

    fn cancel(&mut self) {
        let consumers: Vec<(ChannelId, Option<ShortStr>)> =
            self.client.consumers.values().map(|consumer| (consumer.channel, consumer.tag.clone())).collect();
        if !consumers.is_empty()
            && let (channel, Some(consumer_tag)) = consumers[self.rng.index(consumers.len())].clone()
        {
            call(self.client, channel, basic::Cancel { consumer_tag, no_wait: false }.into(), self.now);
        }
    }

    /// Stops waiting for a call. All events have been polled, so none is there for it.
    fn abandon(&mut self) {
        let waiting: Vec<(Token, ChannelId)> = self.client.waiting();
        if waiting.is_empty() {
            return;
        }
        let (token, channel) = waiting[self.rng.index(waiting.len())];
        self.client.engine.abandon(channel, token);
        self.client.forget(token);
    }

    /// Drops something that the broker granted: a consumer, which is cancelled in our place.
    fn give_back(&mut self) {
        let tokens: Vec<Token> = self.client.consumers.keys().copied().collect();
        if tokens.is_empty() {
            return;
        }
        let token = tokens[self.rng.index(tokens.len())];
        if let Some(consumer) = self.client.consumers.remove(&token)
            && let Some(consumer_tag) = consumer.tag
        {
            let reply = hopmq_proto::client::Reply::Consumer { channel: consumer.channel, consumer_tag };
            self.client.engine.give_back(reply, self.now);
        }
    }

    /// Settles one delivery that is held, in one of the ways there are.
    fn settle(&mut self) {
        if self.client.held.is_empty() {
            return;
        }
        let at = self.rng.index(self.client.held.len());
        let how = match self.rng.below(12) {
            0..=6 => Settle::Ack { multiple: self.rng.percent(40) },
            7..=8 => Settle::Nack { multiple: self.rng.percent(30), requeue: self.rng.percent(80) },
            9..=10 => Settle::Reject { requeue: self.rng.percent(60) },
            _ => Settle::Ack { multiple: true },
        };
        settle_at(self.client, at, how, self.now);
    }
}

fn arguments(rng: &mut Rng) -> FieldTable {
    let table = FieldTable::new().with("x-match", rng.pick(&["all", "any"]));
    let table = if rng.percent(80) { table.with("h", i32::from(rng.percent(50))) } else { table };
    table.with("other", rng.pick(&["text", "text", "nonsense"]))
}

pub(super) fn open_channel(client: &mut Client, now: Instant) {
    match client.engine.open_channel(now) {
        Ok((id, token)) => {
            client.add_channel(id);
            client.owe(token, What::OpenChannel, Some(id), now);
        }
        Err(CommandError::TooManyChannels(_) | CommandError::Closed(_) | CommandError::NotOpen) => {}
        Err(error) => panic!("{error}"),
    }
}

pub(super) fn close_channel(client: &mut Client, channel: ChannelId, now: Instant) {
    match client.engine.close_channel(channel, now) {
        Ok(token) => client.owe(token, What::CloseChannel, Some(channel), now),
        Err(CommandError::Closed(_) | CommandError::Stale) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Makes a call, which may be refused when the channel has ended and nobody has been told yet, or has too many.
pub(super) fn call(client: &mut Client, channel: ChannelId, method: Method, now: Instant) {
    let what = match &method {
        Method::BasicConsume(consume) => What::Consume { no_ack: consume.no_ack },
        Method::BasicGet(get) => What::Get { no_ack: get.no_ack },
        Method::ExchangeUnbind(_) => What::Call((40, 51)),
        method => {
            let (class, id) = method.id();
            What::Call((class, id + 1))
        }
    };
    match client.engine.call(channel, method, now) {
        Ok(token) => client.owe(token, what, Some(channel), now),
        Err(CommandError::Closed(_) | CommandError::Stale | CommandError::TooManyCalls) => {}
        Err(error) => panic!("{error}"),
    }
}

pub(super) fn settle_all(client: &mut Client, rng: &mut Rng, now: Instant) {
    while !client.held.is_empty() {
        let at = rng.index(client.held.len());
        settle_at(client, at, Settle::Ack { multiple: rng.percent(50) }, now);
    }
}

fn settle_at(client: &mut Client, at: usize, how: Settle, now: Instant) {
    let Held { id, covered } = client.held.swap_remove(at);
    let (channel, tag) = (id.channel(), id.tag());
    let multiple = matches!(how, Settle::Ack { multiple: true } | Settle::Nack { multiple: true, .. });
    match client.engine.settle(id, how, now) {
        Ok(()) => {
            client.check_settled(channel, tag, covered, true);
            let below = client.held.iter_mut().filter(|h| h.id.channel() == channel && h.id.tag() <= tag);
            below.for_each(|held| held.covered |= multiple);
        }
        Err(SettleError::AlreadySettled) => client.check_settled(channel, tag, covered, false),
        Err(SettleError::Closed(_) | SettleError::Stale) => {}
        Err(error) => panic!("{error}"),
    }
}
