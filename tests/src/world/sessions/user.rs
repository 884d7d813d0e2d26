use std::collections::BTreeMap;

use bytes::BytesMut;
use hopmq_proto::amqp::{Method, ShortStr};
use hopmq_proto::client::{
    CallError, ChannelId, CloseReason, Config, Confirmation, DeliveryId, Event, Recovery, RecoveryMode,
    Reply, Session, Token,
};
use hopmq_proto::{Engine, Instant};

use super::promises::{MessageNo, Promises};
use super::tally::SessionTally;

/// A session, with everything that its owner knows of it.
#[derive(Debug)]
pub(super) struct User {
    pub(super) no: usize,
    pub(super) session: Session,
    pub(super) inbox: BytesMut,
    pub(super) config: Config,
    /// The transport that it has.
    pub(super) wire: Option<usize>,
    /// The attempt that is under way, and when it ends; never, when nobody answers.
    pub(super) dial: Option<(u32, Option<Instant>)>,
    pub(super) opened: bool,
    /// Its recovery has limits, or the first connect may fail.
    pub(super) may_give_up: bool,
    pub(super) ended: Option<CloseReason>,
    pub(super) next_act: Option<Instant>,
    owed: BTreeMap<Token, Owed>,
    pub(super) channels: BTreeMap<ChannelId, Channel>,
    pub(super) consumers: BTreeMap<Token, Consumer>,
    /// Queues that the server named, for this session only.
    pub(super) own: Vec<ShortStr>,
    pub(super) held: Vec<(DeliveryId, bool)>,
    pub(super) away: bool,
    /// Nothing new is begun.
    pub(super) resting: bool,
    pub(super) tally: SessionTally,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Channel {
    pub(super) open: bool,
    pub(super) confirms: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Consumer {
    pub(super) channel: ChannelId,
    pub(super) queue: ShortStr,
    pub(super) tag: ShortStr,
}

#[derive(Debug, Clone)]
struct Owed {
    what: What,
    channel: Option<ChannelId>,
    due: Option<Instant>,
}

/// What a token stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    OpenChannel,
    Close,
    Consume(ShortStr),
    Declare { named_by_server: bool },
    Confirms,
    Call,
    Publish(MessageNo),
}

impl User {
    pub(super) fn new(no: usize, config: Config, recovery: Recovery, seed: u64, now: Instant) -> Self {
        Self {
            no,
            may_give_up: recovery.mode != RecoveryMode::Always
                || recovery.max_rounds.is_some()
                || recovery.max_elapsed.is_some(),
            session: Session::new(config.clone(), recovery, 2, seed, now),
            inbox: BytesMut::new(),
            config,
            wire: None,
            dial: None,
            opened: false,
            ended: None,
            next_act: Some(now),
            owed: BTreeMap::new(),
            channels: BTreeMap::new(),
            consumers: BTreeMap::new(),
            own: Vec::new(),
            held: Vec::new(),
            away: false,
            resting: false,
            tally: SessionTally::default(),
        }
    }

    pub(super) fn owe(&mut self, token: Token, what: What, channel: Option<ChannelId>, now: Instant) {
        let due = match what {
            What::Publish(_) | What::Confirms => None, // while the connection is away their time stands still
            What::Close if channel.is_none() => Some(now + self.config.close_timeout),
            _ => Some(now + self.config.call_timeout),
        };
        let known = self.owed.insert(token, Owed { what, channel, due });
        assert!(known.is_none(), "{token:?} is given twice");
    }

    fn resolve(&mut self, token: Token) -> Owed {
        self.owed.remove(&token).unwrap_or_else(|| panic!("{token:?} is resolved twice, or was never given"))
    }

    pub(super) fn owes_nothing(&self) -> bool {
        self.owed.is_empty()
    }

    pub(super) fn owed(&self) -> String {
        format!("{:?}", self.owed)
    }

    /// Nothing waits beyond its deadline, and what waits has one.
    pub(super) fn check_deadlines(&self, now: Instant) {
        let Some(due) = self.owed.values().filter_map(|owed| owed.due).min() else { return };
        assert!(due >= now, "something was due at {due:?}: {:?}", self.owed);
        let next = self.session.poll_timeout();
        assert!(next.is_some_and(|next| next <= due), "no deadline for {:?}: {next:?}", self.owed);
    }

    pub(super) fn open_channels(&self) -> Vec<ChannelId> {
        self.channels.iter().filter(|(_, channel)| channel.open).map(|(id, _)| *id).collect()
    }

    /// Takes an event, which must be one that can come now.
    pub(super) fn on_event(&mut self, event: Event, promises: &mut Promises, now: Instant) {
        assert!(self.ended.is_none(), "{event:?} after the terminal event");
        match event {
            Event::Opened(_) => self.opened = true,
            Event::Reply { token, result } => self.on_reply(token, result, now),
            Event::Confirmed { token, result } => {
                let owed = self.resolve(token);
                let What::Publish(no) = owed.what else { panic!("a confirm for {owed:?}") };
                let has = matches!(result, Ok(Confirmation::Acked));
                self.tally.confirmed += u64::from(has);
                self.tally.unconfirmed += u64::from(!has);
                if let Ok(Confirmation::Unsent(unsent)) = &result {
                    promises.on_unsent(no, &unsent.body);
                    self.tally.unsent += 1;
                }
                let promise = promises.of(no);
                assert!(promise.fate.is_none(), "message {no} has two fates");
                promise.fate = Some(has);
            }
            Event::Delivery { consumer, delivery } => {
                assert!(self.consumers.contains_key(&consumer), "a delivery to a consumer that is not there");
                self.tally.delivered += 1;
                let duplicate =
                    promises.on_delivery(self.no, consumer, &delivery.message, delivery.redelivered);
                self.tally.duplicates += u64::from(duplicate);
                self.held.extend(delivery.id.map(|id| (id, false)));
            }
            Event::Lost { .. } => {
                self.tally.losses += 1;
                promises.on_lost(self.no);
                self.away = true;
                self.held.iter_mut().for_each(|(_, stale)| *stale = true);
            }
            Event::AttemptFailed { .. } => self.tally.failed_attempts += 1,
            Event::Recovered { outcomes, .. } => {
                assert!(self.away, "it comes back without having been away");
                self.away = false;
                self.tally.recovered += 1;
                drop(outcomes);
            }
            Event::ConsumerResumed { consumer } => {
                assert!(self.consumers.contains_key(&consumer), "an unknown consumer is resumed");
                self.tally.resumed += 1;
            }
            Event::QueueRenamed { old, new } => {
                self.tally.renamed += 1;
                // One whose declare was not answered in time is nobody's.
                self.own.iter_mut().filter(|own| **own == old).for_each(|own| *own = new.clone());
                self.consumers.values_mut().filter(|c| c.queue == old).for_each(|c| c.queue = new.clone());
            }
            Event::Degraded { .. } => self.tally.degraded += 1,
            Event::ConsumerCancelled { consumer } | Event::ConsumerNotRestored { consumer, .. } => {
                self.tally.cancelled += 1;
                assert!(self.consumers.remove(&consumer).is_some(), "an unknown consumer is cancelled");
            }
            Event::ChannelClosed { channel, .. } => {
                let known = self.channels.get_mut(&channel);
                known.unwrap_or_else(|| panic!("an unknown {channel:?} closes")).open = false;
                self.consumers.retain(|_, consumer| consumer.channel != channel);
            }
            Event::Closed { reason } => {
                assert!(self.owed.is_empty(), "closed, and nobody told {:?}", self.owed);
                self.ended = Some((*reason).clone());
            }
            Event::Writable => {}
            event => panic!("the broker has no cause for {event:?}"),
        }
    }

    fn on_reply(&mut self, token: Token, result: Result<Reply, CallError>, now: Instant) {
        let owed = self.resolve(token);
        match (owed.what, result) {
            (What::OpenChannel, Ok(Reply::Channel(id))) => {
                assert_eq!(owed.channel, Some(id));
                self.channels.entry(id).or_default().open = true;
            }
            (What::Close, Ok(Reply::Closed)) => {}
            (What::Consume(queue), Ok(Reply::Consumer { channel, consumer_tag: tag })) => {
                self.consumers.insert(token, Consumer { channel, queue, tag });
            }
            (What::Declare { named_by_server: true }, Ok(Reply::Method(method))) => {
                let Method::QueueDeclareOk(ok) = *method else { panic!("{method:?} answers a declare") };
                self.own.push(ok.queue);
            }
            (What::Confirms, Ok(Reply::Confirmed { .. }))
            | (What::Declare { .. } | What::Call, Ok(Reply::Method(_))) => {}
            (what, Err(CallError::TimedOut)) => {
                self.tally.timeouts += 1;
                assert!(owed.due.is_some_and(|due| due <= now), "{what:?} times out early");
                if let (What::OpenChannel, Some(id)) = (what, owed.channel) {
                    self.channels.remove(&id);
                }
            }
            (_, Err(_)) => {}
            (what, reply) => panic!("{reply:?} answers {what:?}"),
        }
    }
}
