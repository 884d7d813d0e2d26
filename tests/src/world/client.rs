//! One client: its engine, what it is owed, and what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::BytesMut;
use hopmq_proto::amqp::{Method, ShortStr};
use hopmq_proto::client::{
    CallError, ChannelId, CloseReason, Config, Confirmation, Connection, Delivery, DeliveryId, Event, Reply,
    Returned, Token,
};
use hopmq_proto::{Engine, Instant};

use super::ledger::{ChannelAt, Fate, Ledger, LinkNo, MessageNo};
use super::model::Model;
use super::tally::Tally;

/// A client engine with everything its owner knows of it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) link: LinkNo,
    pub(super) engine: Connection,
    pub(super) inbox: BytesMut,
    pub(super) config: Config,
    pub(super) opened: bool,
    /// The terminal event has come.
    pub(super) ended: Option<CloseReason>,
    pub(super) paused: bool,
    /// All events have been polled since anything was done to the engine.
    pub(super) polled: bool,
    /// Since when the network is good. What comes is acknowledged from then on, and nothing new is begun.
    pub(super) good_since: Option<Instant>,
    owed: BTreeMap<Token, Owed>,
    due: BTreeSet<(Instant, Token)>,
    pub(super) channels: BTreeMap<ChannelId, Channel>,
    incarnations: BTreeMap<u16, u32>,
    pub(super) consumers: BTreeMap<Token, Consumer>,
    pub(super) held: Vec<Held>,
    /// Publishes were refused on these channels, and `Writable` has not come since.
    pub(super) refused: BTreeSet<ChannelId>,
    pub(super) tally: Tally,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    pub(super) at: ChannelAt,
    pub(super) open: bool,
    pub(super) confirms: bool,
    /// Nothing has been done on it yet.
    pub(super) fresh: bool,
    /// The tag of the last delivery that came.
    last_tag: u64,
    /// Recovers that are waited for: until they are answered, nothing can be settled.
    recovering: u32,
    /// A recover is waited for no more: nobody knows when it is answered.
    may_recover: bool,
}

/// What is answered by `basic.recover-ok`.
const RECOVER: &What = &What::Call((60, 111));

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) channel: ChannelId,
    pub(super) tag: Option<ShortStr>,
    pub(super) no_ack: bool,
}

/// A delivery that is not settled.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: DeliveryId,
    /// A later one has been settled with `multiple`, or all have been recovered.
    pub(super) covered: bool,
}

/// What a token stands for.
#[derive(Debug, Clone)]
pub(super) struct Owed {
    pub(super) what: What,
    pub(super) channel: Option<ChannelId>,
    due: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    OpenChannel,
    CloseChannel,
    CloseConnection,
    Consume {
        no_ack: bool,
    },
    Get {
        no_ack: bool,
    },
    /// A call that this method answers.
    Call((u16, u16)),
    Publish(MessageNo),
}

impl Client {
    pub(super) fn new(link: LinkNo, config: Config, now: Instant) -> Self {
        Self {
            link,
            engine: Connection::new(config.clone(), now),
            inbox: BytesMut::new(),
            config,
            opened: false,
            ended: None,
            paused: false,
            polled: false,
            good_since: None,
            owed: BTreeMap::new(),
            due: BTreeSet::new(),
            channels: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            consumers: BTreeMap::new(),
            held: Vec::new(),
            refused: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    pub(super) fn owe(&mut self, token: Token, what: What, channel: Option<ChannelId>, now: Instant) {
        let timeout: Duration = match what {
            What::Publish(_) => self.config.confirm_timeout,
            What::CloseConnection => self.config.close_timeout,
            _ => self.config.call_timeout,
        };
        if let (RECOVER, Some(channel)) = (&what, channel.and_then(|id| self.channels.get_mut(&id))) {
            channel.recovering += 1;
        }
        let due = now + timeout;
        let known = self.owed.insert(token, Owed { what, channel, due });
        assert!(known.is_none(), "{token:?} is given twice");
        self.due.insert((due, token));
    }

    fn resolve(&mut self, token: Token) -> Owed {
        let owed = self.owed.remove(&token);
        let owed = owed.unwrap_or_else(|| panic!("{token:?} is resolved twice, or was never given"));
        self.due.remove(&(owed.due, token));
        owed
    }

    /// The caller of this token has gone.
    pub(super) fn forget(&mut self, token: Token) {
        let owed = self.resolve(token);
        self.on_unanswered(&owed);
    }

    fn on_unanswered(&mut self, owed: &Owed) {
        if let (RECOVER, Some(channel)) = (&owed.what, owed.channel.and_then(|id| self.channels.get_mut(&id)))
        {
            channel.recovering -= 1;
            channel.may_recover = true;
        }
    }

    /// What the engine said to a settlement.
    pub(super) fn check_settled(&self, channel: ChannelId, tag: u64, covered: bool, settled: bool) {
        let channel = self.channels.get(&channel);
        let recovering = channel.is_some_and(|channel| channel.recovering > 0);
        if settled {
            assert!(!covered && !recovering, "delivery {tag} is settled twice");
        } else {
            let may_recover = channel.is_some_and(|channel| channel.may_recover);
            assert!(covered || recovering || may_recover, "delivery {tag} is not settled");
        }
    }

    /// The calls that wait for an answer on a channel.
    pub(super) fn waiting(&self) -> Vec<(Token, ChannelId)> {
        let calls = self.owed.iter().filter(|(_, owed)| !matches!(owed.what, What::Publish(_)));
        calls.filter_map(|(token, owed)| Some((*token, owed.channel?))).collect()
    }

    /// Whether the network has been good for long enough at this time that what is asked is answered.
    pub(super) fn is_long_good(&self, at: Instant) -> bool {
        self.good_since.is_some_and(|since| at > since + Duration::from_secs(2))
    }

    pub(super) fn owes_nothing(&self) -> bool {
        self.owed.is_empty()
    }

    /// Nothing waits beyond its deadline, and whatever waits has one. Only when all events have been polled.
    pub(super) fn check_deadlines(&self, now: Instant) {
        if let Some((due, token)) = self.due.first() {
            assert!(*due >= now, "{token:?} ({:?}) was due at {due:?}", self.owed.get(token));
            let next = self.engine.poll_timeout();
            assert!(next.is_some_and(|next| next <= *due), "no deadline for {token:?}: {next:?}");
        }
    }

    pub(super) fn add_channel(&mut self, id: ChannelId) {
        let number = id.number();
        let incarnation = *self.incarnations.entry(number).and_modify(|last| *last += 1).or_insert(0);
        let at = ChannelAt { link: self.link, number, incarnation };
        let channel = Channel {
            at,
            open: false,
            confirms: false,
            fresh: true,
            last_tag: 0,
            recovering: 0,
            may_recover: false,
        };
        self.channels.insert(id, channel);
    }

    pub(super) fn open_channels(&self) -> Vec<ChannelId> {
        self.channels.iter().filter(|(_, channel)| channel.open).map(|(id, _)| *id).collect()
    }

    /// Takes an event, which must be one that can come now.
    pub(super) fn on_event(&mut self, event: Event, model: &Model, ledger: &mut Ledger, now: Instant) {
        assert!(self.ended.is_none(), "{event:?} after the terminal event");
        match event {
            Event::Opened(_) => {
                assert!(!self.opened, "opened twice");
                self.opened = true;
            }
            Event::Reply { token, result } => {
                let owed = self.resolve(token);
                match result {
                    Ok(reply) => self.on_reply(token, &owed, reply, model, ledger),
                    Err(error) => self.on_failure(&owed, &error, now),
                }
            }
            Event::Confirmed { token, result } => {
                let owed = self.resolve(token);
                let What::Publish(no) = owed.what else { panic!("a confirm for {owed:?}") };
                match result {
                    Ok(confirmation) => self.on_confirmed(no, confirmation, ledger),
                    Err(error) => self.on_failure(&owed, &error, now),
                }
            }
            Event::Delivery { consumer, delivery } => self.on_delivery(consumer, delivery, model, ledger),
            Event::Returned { channel, returned } => {
                assert!(self.channels.contains_key(&channel));
                let no = self.on_returned(&returned, ledger);
                assert!(!ledger.record(no).to_confirm, "message {no} comes back to nobody's publish");
            }
            Event::ConsumerCancelled { consumer } => {
                self.tally.cancelled += 1;
                assert!(self.consumers.remove(&consumer).is_some(), "an unknown consumer is cancelled");
            }
            Event::ChannelClosed { channel, .. } => self.on_channel_closed(channel),
            Event::Writable => self.refused.clear(),
            Event::Closed { reason } => {
                assert!(self.owed.is_empty(), "closed, and nobody told {:?}", self.owed);
                self.ended = Some((*reason).clone());
            }
            event => panic!("the broker has no cause for {event:?}"),
        }
    }

    fn on_channel_closed(&mut self, id: ChannelId) {
        let channel = self.channels.get_mut(&id);
        let channel = channel.unwrap_or_else(|| panic!("an unknown {id:?} closes"));
        assert!(channel.open, "{id:?} closes twice, or before it opens");
        channel.open = false;
        self.consumers.retain(|_, consumer| consumer.channel != id);
        self.refused.remove(&id);
        let left = self.owed.values().find(|owed| owed.channel == Some(id));
        let closing = left.is_none_or(|owed| matches!(owed.what, What::CloseChannel));
        assert!(closing, "{id:?} has closed, and nobody told {left:?}");
    }

    fn on_failure(&mut self, owed: &Owed, error: &CallError, now: Instant) {
        self.on_unanswered(owed);
        match error {
            CallError::TimedOut => {
                self.tally.timeouts += 1;
                assert!(now >= owed.due, "{owed:?} times out early");
                let good = self.is_long_good(owed.due);
                assert!(!good, "{owed:?} is not answered on a good network");
            }
            CallError::Closed(_) => {}
            error => panic!("{error}"),
        }
    }

    fn on_confirmed(&mut self, no: MessageNo, confirmation: Confirmation, ledger: &mut Ledger) {
        self.tally.confirms += 1;
        let record = ledger.record(no);
        let returns = record.mandatory && record.fate == Some(Fate::Unroutable);
        assert!(record.fate.is_some(), "message {no} is confirmed, and the broker does not have it");
        match confirmation {
            Confirmation::Acked => assert!(!returns, "message {no} should have come back"),
            Confirmation::Nacked => panic!("the broker refuses no message"),
            Confirmation::Unsent(_) => panic!("nothing is held without recovery"),
            Confirmation::Returned(returned) => {
                assert_eq!(self.on_returned(&returned, ledger), no, "a return for another publish");
            }
        }
    }

    fn on_returned(&mut self, returned: &Returned, ledger: &mut Ledger) -> MessageNo {
        let message = &returned.message;
        let properties = message.properties().unwrap_or_else(|fault| panic!("{fault}"));
        let no = ledger.identify(
            message.exchange_bytes(),
            message.routing_key_bytes(),
            &properties,
            message.body(),
        );
        let record = ledger.record_mut(no);
        assert!(record.mandatory && record.fate == Some(Fate::Unroutable), "message {no} comes back");
        assert!(!record.returned, "message {no} comes back twice");
        record.returned = true;
        self.tally.returned += 1;
        no
    }

    fn on_reply(&mut self, token: Token, owed: &Owed, reply: Reply, model: &Model, ledger: &Ledger) {
        match (&owed.what, reply) {
            (What::OpenChannel, Reply::Channel(id)) => {
                assert_eq!(owed.channel, Some(id));
                if let Some(channel) = self.channels.get_mut(&id) {
                    channel.open = true;
                }
            }
            (What::CloseChannel | What::CloseConnection, Reply::Closed) => {}
            (What::Consume { no_ack }, Reply::Consumer { channel, consumer_tag }) => {
                assert_eq!(owed.channel, Some(channel));
                let consumer = Consumer { channel, tag: Some(consumer_tag), no_ack: *no_ack };
                self.consumers.insert(token, consumer);
            }
            (What::Get { .. }, Reply::Empty) => {}
            (What::Get { no_ack }, Reply::Message { delivery, .. }) => {
                assert_eq!(delivery.id.is_none(), *no_ack);
                self.take(*delivery, None, model, ledger);
            }
            (What::Call(answer), Reply::Method(method)) => {
                assert_eq!(method.id(), *answer, "the answer to {owed:?}");
                match (*method, owed.channel) {
                    (Method::BasicCancelOk(ok), Some(id)) => {
                        let same = |c: &Consumer| c.channel == id && c.tag.as_ref() == Some(&ok.consumer_tag);
                        assert!(!self.consumers.values().any(same), "its end comes first");
                    }
                    (Method::BasicRecoverOk(_), Some(id)) => self.on_recovered(id),
                    _ => {}
                }
            }
            (_, reply) => panic!("{reply:?} answers {owed:?}"),
        }
    }

    /// Everything that has come on a channel is back in its queue.
    fn on_recovered(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.recovering -= 1;
        }
        self.held.iter_mut().filter(|held| held.id.channel() == id).for_each(|held| held.covered = true);
    }

    fn on_delivery(&mut self, consumer: Token, delivery: Delivery, model: &Model, ledger: &Ledger) {
        let known = self.consumers.get(&consumer);
        let known = known.unwrap_or_else(|| panic!("a delivery to a consumer that is not there"));
        assert_eq!(delivery.id.is_none(), known.no_ack);
        let tag = known.tag.as_ref().map(ToString::to_string);
        self.take(delivery, tag.as_deref(), model, ledger);
    }

    /// Takes a message, which must be the one that the broker gave out under this tag.
    fn take(&mut self, delivery: Delivery, consumer: Option<&str>, model: &Model, ledger: &Ledger) {
        let message = &delivery.message;
        let properties = message.properties().unwrap_or_else(|fault| panic!("{fault}"));
        let (exchange, key) = (message.exchange_bytes(), message.routing_key_bytes());
        let no = ledger.identify(exchange, key, &properties, message.body());
        let Some(id) = delivery.id else { return };
        let channel = self.channels.get_mut(&id.channel());
        let channel = channel.unwrap_or_else(|| panic!("a delivery on an unknown channel"));
        assert!(id.tag() > channel.last_tag, "delivery {} comes out of order", id.tag());
        channel.last_tag = id.tag();
        let given = model.handed_out(channel.at, id.tag());
        let given = given.unwrap_or_else(|| panic!("{id:?} was never given out"));
        let got = (no, delivery.redelivered, consumer);
        assert_eq!(got, (given.message, given.redelivered, given.consumer.as_deref()), "{id:?}");
        self.held.push(Held { id, covered: false });
    }
}
