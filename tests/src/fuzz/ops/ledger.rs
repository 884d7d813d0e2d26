use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use hopmq_proto::amqp::{Method, ShortStr};
use hopmq_proto::client::{
    CallError, ChannelId, Confirmation, Delivery, DeliveryId, Event, Reply, Returned, Token,
};

use super::server::Fates;

/// What the owner of a client is owed and holds.
#[derive(Default)]
pub(super) struct Ledger {
    waiting: BTreeMap<Token, Waits>,
    /// Resolved, or abandoned.
    done: HashSet<Token>,
    /// Every channel that was asked for, the last one last.
    pub(super) channels: Vec<ChannelId>,
    open: BTreeSet<ChannelId>,
    consumers: BTreeMap<Token, (ChannelId, ShortStr)>,
    pub(super) held: VecDeque<Held>,
    /// Replies that can be given back.
    pub(super) replies: VecDeque<(Token, Reply)>,
    pub(super) opened: bool,
    pub(super) ended: bool,
    /// The server takes no publishes for now.
    pub(super) is_blocked: bool,
    away: bool,
}

/// A delivery that is not settled.
pub(super) struct Held {
    pub(super) id: DeliveryId,
    /// The connection was lost since.
    pub(super) stale: bool,
}

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    Open(ChannelId),
    Close(Option<ChannelId>),
    Call(ChannelId, (u16, u16)),
    Confirms(ChannelId),
    Publish(u64),
    Secret,
}

impl Waits {
    /// The channel of what can be abandoned.
    const fn channel(self) -> Option<ChannelId> {
        match self {
            Self::Open(id) | Self::Close(Some(id)) | Self::Call(id, _) | Self::Confirms(id) => Some(id),
            Self::Close(None) | Self::Publish(_) | Self::Secret => None,
        }
    }
}

impl Ledger {
    pub(super) fn owe(&mut self, token: Token, what: Waits) {
        let new = !self.done.contains(&token) && self.waiting.insert(token, what).is_none();
        assert!(new, "{token:?} is given twice");
    }

    pub(super) fn owes(&self) -> &BTreeMap<Token, Waits> {
        &self.waiting
    }

    /// One of the channels that were asked for; those of late most often.
    pub(super) fn channel(&self, which: u8) -> Option<ChannelId> {
        let recent = self.channels.len().clamp(1, if which & 128 == 0 { 4 } else { usize::MAX });
        self.channels.iter().rev().nth(usize::from(which & 127) % recent).copied()
    }

    /// Nobody waits for one of the calls any more.
    pub(super) fn abandon(&mut self, which: u8) -> Option<(ChannelId, Token)> {
        let all = self.waiting.iter().filter_map(|(token, what)| Some((what.channel()?, *token)));
        let all: Vec<_> = all.collect();
        let (channel, token) = *all.get(usize::from(which) % all.len().max(1))?;
        self.waiting.remove(&token);
        self.done.insert(token);
        Some((channel, token))
    }

    /// A reply that nobody has taken.
    pub(super) fn take_reply(&mut self) -> Option<Reply> {
        let (token, reply) = self.replies.pop_front()?;
        match &reply {
            Reply::Channel(id) => self.close_channel(*id),
            Reply::Consumer { .. } => {
                self.consumers.remove(&token);
            }
            _ => {}
        }
        Some(reply)
    }

    /// Whether another channel has had the number of this one.
    pub(super) fn is_number_given_again(&self, id: ChannelId) -> bool {
        self.channels.iter().any(|other| other.number() == id.number() && *other > id)
    }

    /// It is closed, or is being closed: nothing is delivered on it any more.
    pub(super) fn close_channel(&mut self, id: ChannelId) {
        self.open.remove(&id);
    }

    /// Takes an event, which must be one that can come now.
    pub(super) fn on_event(&mut self, event: Event, fates: &Fates) {
        assert!(!self.ended, "after the terminal event: {event:?}");
        match event {
            Event::Blocked { .. } => self.is_blocked = true,
            Event::Unblocked => self.is_blocked = false,
            Event::Opened(_) => {
                self.is_blocked = false;
                assert!(!std::mem::replace(&mut self.opened, true) || self.away, "opened twice");
            }
            Event::Reply { token, result } => self.on_reply(token, result),
            Event::Confirmed { token, result } => {
                let waits = self.resolve(token);
                let Waits::Publish(number) = waits else { panic!("a confirm for {waits:?}") };
                check_fate(number, &result, fates);
            }
            Event::Delivery { consumer, delivery } => self.on_delivery(consumer, delivery),
            Event::Returned { channel, returned } => self.on_returned(channel, &returned),
            Event::ConsumerCancelled { consumer } => {
                self.replies.retain(|(token, _)| *token != consumer);
                assert!(
                    self.consumers.remove(&consumer).is_some(),
                    "{consumer:?} is cancelled and was not there"
                );
            }
            Event::ConsumerResumed { consumer } => {
                assert!(self.consumers.contains_key(&consumer), "{consumer:?} is resumed and was not there");
            }
            Event::ChannelClosed { channel, .. } => {
                self.open.remove(&channel);
                self.consumers.retain(|_, (on, _)| *on != channel);
            }
            Event::Lost { .. } => {
                self.is_blocked = false;
                self.away = true;
                self.held.iter_mut().for_each(|held| held.stale = true);
            }
            Event::Recovered { .. } => {
                assert!(std::mem::replace(&mut self.away, false), "recovered, and was not lost");
            }
            Event::Closed { .. } => {
                assert!(self.waiting.is_empty(), "at the end {:?} wait", self.waiting);
                self.ended = true;
            }
            _ => {}
        }
    }

    fn on_reply(&mut self, token: Token, result: Result<Reply, CallError>) {
        let waits = self.resolve(token);
        let Ok(reply) = result else { return };
        match (waits, &reply) {
            (Waits::Open(id), Reply::Channel(opened)) => {
                assert_eq!(id, *opened);
                self.open.insert(id);
            }
            (Waits::Call(id, (60, 20)), Reply::Consumer { channel, consumer_tag }) => {
                assert_eq!(id, *channel);
                self.consumers.insert(token, (id, consumer_tag.clone()));
            }
            (Waits::Call(_, (60, 70)), Reply::Message { .. } | Reply::Empty)
            | (Waits::Close(_), Reply::Closed)
            | (Waits::Confirms(_), Reply::Confirmed { .. })
            | (Waits::Secret, Reply::Method(_)) => {}
            (Waits::Call(_, asked), Reply::Method(method)) => {
                assert!(answers(asked, method), "{method:?} answers {asked:?}");
            }
            _ => panic!("{reply:?} answers {waits:?}"),
        }
        self.replies.push_back((token, reply));
        if self.replies.len() > 16
            && let Some((_, Reply::Message { delivery, .. })) = self.replies.pop_front()
        {
            self.hold(delivery.id);
        }
    }

    fn on_delivery(&mut self, consumer: Token, delivery: Delivery) {
        let known = self.consumers.get(&consumer);
        let (channel, _) = known.unwrap_or_else(|| panic!("a delivery to {consumer:?}, who is not there"));
        assert!(self.open.contains(channel), "a delivery on {channel:?}, which is closed");
        let _ = delivery.message.properties();
        self.hold(delivery.id);
    }

    fn hold(&mut self, id: Option<DeliveryId>) {
        self.held.extend(id.map(|id| Held { id, stale: false }));
    }

    fn on_returned(&self, channel: ChannelId, returned: &Returned) {
        assert!(self.channels.contains(&channel), "{returned:?} on {channel:?}, which nobody asked for");
    }

    fn resolve(&mut self, token: Token) -> Waits {
        assert!(self.done.insert(token), "{token:?} is resolved twice, or was abandoned");
        self.waiting.remove(&token).unwrap_or_else(|| panic!("{token:?} was never given"))
    }
}

/// A publish has the fate that the server gave it.
fn check_fate(number: u64, result: &Result<Confirmation, CallError>, fates: &Fates) {
    if fates.tainted {
        return;
    }
    match result {
        Ok(Confirmation::Acked) => assert!(fates.acked.contains(&number), "{number} was never acked"),
        Ok(Confirmation::Nacked) => assert!(fates.nacked.contains(&number), "{number} was never nacked"),
        Ok(Confirmation::Returned(returned)) => {
            assert!(fates.returned.contains(&number), "{number} was never returned");
            assert_eq!(returned.message.routing_key(), format!("k{number}"), "another message came back");
        }
        Ok(Confirmation::Unsent(_)) => assert!(!fates.seen.contains(&number), "{number} was sent"),
        Err(_) => {}
    }
}

/// Whether a method is the answer to one that was asked.
fn answers(asked: (u16, u16), answer: &Method) -> bool {
    let (class, method) = asked;
    let ok = if asked == (40, 40) { 51 } else { method + 1 };
    answer.id() == (class, ok)
}
