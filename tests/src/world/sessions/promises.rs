use std::collections::BTreeMap;

use bytes::Bytes;
use hopmq_proto::amqp::{Properties, ShortStr};
use hopmq_proto::client::{Message, Token, WhenLost};

use super::super::rng::Rng;

/// The number of a message, which its body begins with.
pub(super) type MessageNo = usize;

/// Who publishes: a user, a channel's number, and which of the channels that had it.
pub(super) type Source = (usize, u16, u32);

/// Who consumes.
type Consumer = (usize, Token);

/// A message that was published.
#[derive(Debug)]
pub(super) struct Promise {
    /// Which channel of which user published it.
    pub(super) source: Source,
    /// How often its publisher's connection had been lost by then.
    epoch: u32,
    pub(super) when_lost: WhenLost,
    /// Its queue outlives connections, and nobody deletes it.
    pub(super) lasts: bool,
    /// The fate that was told: whether the broker has it.
    pub(super) fate: Option<bool>,
    /// It was given back, as never sent.
    unsent: bool,
    /// How often it was delivered for the first time, as the broker says, and without a mark.
    pub(super) firsts: u32,
    pub(super) deliveries: u32,
    size: usize,
}

/// Every message of a world.
#[derive(Debug, Default)]
pub(super) struct Promises {
    all: Vec<Promise>,
    /// How often each user's connection was lost.
    epochs: BTreeMap<usize, u32>,
    /// The last message that a consumer got for the first time from each source.
    last: BTreeMap<(Consumer, Source), MessageNo>,
}

impl Promises {
    /// Makes up a message.
    pub(super) fn make(
        &mut self,
        rng: &mut Rng,
        source: Source,
        lasts: bool,
    ) -> (MessageNo, Bytes, Properties) {
        let no = self.all.len();
        let size = match rng.below(30) {
            0..=20 => rng.between(8, 100),
            21..=24 => rng.between(400, 600),
            25..=28 => rng.between(4000, 9000),
            _ => rng.between(10_000, 200_000),
        } as usize;
        let mut body = no.to_be_bytes().to_vec();
        body.resize(size, no as u8);
        let mut properties = Properties::new().persistent();
        properties.message_id = ShortStr::new(no.to_string()).ok();
        self.all.push(Promise {
            source,
            epoch: self.epoch(source),
            when_lost: WhenLost::Resend,
            lasts,
            fate: None,
            unsent: false,
            firsts: 0,
            deliveries: 0,
            size,
        });
        (no, body.into(), properties)
    }

    /// A user's connection is lost.
    pub(super) fn on_lost(&mut self, user: usize) {
        *self.epochs.entry(user).or_default() += 1;
    }

    fn epoch(&self, source: Source) -> u32 {
        self.epochs.get(&source.0).copied().unwrap_or_default()
    }

    pub(super) fn of(&mut self, no: MessageNo) -> &mut Promise {
        &mut self.all[no]
    }

    /// A message is given back, as never sent.
    pub(super) fn on_unsent(&mut self, no: MessageNo, body: &[u8]) {
        let promise = self.of(no);
        assert_eq!(promise.deliveries, 0, "message {no} was delivered, and is given back as never sent");
        assert_eq!(body.first_chunk(), Some(&no.to_be_bytes()), "message {no} comes back with another body");
        assert_eq!(body.len(), promise.size, "message {no} comes back changed");
        promise.unsent = true;
    }

    pub(super) fn made(&self) -> usize {
        self.all.len()
    }

    /// A message has come to a consumer. Says whether it is a duplicate.
    pub(super) fn on_delivery(
        &mut self,
        user: usize,
        consumer: Token,
        message: &Message,
        redelivered: bool,
    ) -> bool {
        let properties = message.properties().unwrap_or_else(|fault| panic!("{fault}"));
        let marked =
            properties.headers.as_ref().is_some_and(|headers| headers.get("x-possible-duplicate").is_some());
        let head = message.body().first_chunk().unwrap_or_else(|| panic!("a body from nowhere"));
        let no = usize::from_be_bytes(*head);
        let promise = self.all.get_mut(no).unwrap_or_else(|| panic!("message {no} was never made"));
        assert_eq!(message.body().len(), promise.size, "message {no} has changed");
        assert_eq!(properties.message_id, ShortStr::new(no.to_string()).ok(), "message {no} has changed");
        assert!(!promise.unsent, "message {no} was given back as never sent, and comes");
        let duplicate = promise.deliveries > 0;
        promise.deliveries += 1;
        if marked {
            assert_eq!(promise.when_lost, WhenLost::Resend, "message {no} was sent twice against its policy");
        }
        if !marked && !redelivered {
            promise.firsts += 1;
            assert_eq!(promise.firsts, 1, "message {no} is there twice, and nothing says so");
            let (source, epoch) = (promise.source, promise.epoch);
            let last = self.last.get(&((user, consumer), source)).copied();
            // The broker may read a connection late that its client has given up already.
            let was_lost = self.epoch(source) > epoch;
            assert!(was_lost || last.is_none_or(|last| last < no), "message {no} comes behind {last:?}");
            self.last.insert(((user, consumer), source), last.map_or(no, |last| last.max(no)));
        }
        duplicate
    }

    /// What was promised and not kept: confirmed, and never delivered.
    pub(super) fn broken(&self) -> Vec<MessageNo> {
        let broken =
            |promise: &Promise| promise.lasts && promise.fate == Some(true) && promise.deliveries == 0;
        self.all.iter().enumerate().filter(|(_, promise)| broken(promise)).map(|(no, _)| no).collect()
    }
}
