//! Every message that was ever made, and how far it is known to have come.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hopmq_proto::amqp::{FieldTable, Properties};

use super::rng::Rng;

/// The number of a message, which its `message_id` says.
pub(super) type MessageNo = usize;

/// One life of one connection; never used twice.
pub(super) type LinkNo = usize;

/// A channel of a connection: its number, and how many channels had that number before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChannelAt {
    pub(super) link: LinkNo,
    pub(super) number: u16,
    pub(super) incarnation: u32,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) exchange: &'static str,
    pub(super) key: String,
    pub(super) mandatory: bool,
    pub(super) properties: Properties,
    pub(super) body: Bytes,
    /// What the broker did with it, once it has it.
    pub(super) fate: Option<Fate>,
    pub(super) returned: bool,
    /// It was published on a channel with confirms.
    pub(super) to_confirm: bool,
}

/// What the broker did with a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Routed,
    Unroutable,
}

/// All messages of a world.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    records: Vec<Record>,
    /// What each channel has sent and the broker has not seen, in order.
    under_way: BTreeMap<ChannelAt, VecDeque<MessageNo>>,
}

impl Ledger {
    /// Makes up a message. It counts only once it is [sent](Ledger::sent).
    pub(super) fn make(
        &mut self,
        rng: &mut Rng,
        exchange: &'static str,
        key: String,
        large: bool,
    ) -> MessageNo {
        let no = self.records.len();
        let size = match rng.below(20) {
            0..=1 => 0,
            2..=13 => rng.between(1, 120),
            14..=16 => rng.between(4000, 4200),
            17..=18 => rng.between(8000, 8400),
            _ if large => rng.between(60_000, 140_000),
            _ => rng.between(8192, 30_000),
        };
        let mut properties = Properties::new();
        properties.message_id = hopmq_proto::amqp::ShortStr::new(no.to_string()).ok();
        if rng.percent(40) {
            properties = properties.persistent();
        }
        if rng.percent(40) {
            let value = i32::from(rng.percent(50));
            properties = properties.with_headers(FieldTable::new().with("h", value).with("other", "text"));
        }
        let record = Record {
            exchange,
            key,
            mandatory: rng.percent(30),
            properties,
            body: body(no, size as usize),
            fate: None,
            returned: false,
            to_confirm: false,
        };
        self.records.push(record);
        no
    }

    /// How many messages there are.
    pub(super) fn made(&self) -> usize {
        self.records.len()
    }

    pub(super) fn record(&self, no: MessageNo) -> &Record {
        &self.records[no]
    }

    pub(super) fn record_mut(&mut self, no: MessageNo) -> &mut Record {
        &mut self.records[no]
    }

    /// A client has accepted the message for this channel.
    pub(super) fn sent(&mut self, channel: ChannelAt, no: MessageNo, to_confirm: bool) {
        self.records[no].to_confirm = to_confirm;
        self.under_way.entry(channel).or_default().push_back(no);
    }

    /// The message has come to the broker: the next one of its channel, and no other.
    pub(super) fn arrived(&mut self, channel: ChannelAt, no: MessageNo) {
        let next = self.under_way.get_mut(&channel).and_then(VecDeque::pop_front);
        assert_eq!(next, Some(no), "publishes of {channel:?} come out of order");
    }

    /// The number of a message, whose every part is as it was made.
    pub(super) fn identify(
        &self,
        exchange: &[u8],
        key: &[u8],
        properties: &Properties,
        body: &[u8],
    ) -> MessageNo {
        let name = properties.message_id.as_ref().and_then(|id| id.as_str().ok()?.parse::<usize>().ok());
        let no = name.unwrap_or_else(|| panic!("a message from nowhere: {properties:?}"));
        let record = self.records.get(no).unwrap_or_else(|| panic!("message {no} was never made"));
        assert_eq!(record.exchange.as_bytes(), exchange, "the exchange of message {no}");
        assert_eq!(record.key.as_bytes(), key, "the routing key of message {no}");
        assert_eq!(record.properties, *properties, "the properties of message {no}");
        assert!(record.body == body, "the body of message {no} has changed");
        no
    }
}

fn body(no: MessageNo, size: usize) -> Bytes {
    let step = (no as u8) | 1;
    (0..size)
        .scan(no as u8, |octet, _| {
            *octet = octet.wrapping_mul(5).wrapping_add(step);
            Some(*octet)
        })
        .collect::<Vec<u8>>()
        .into()
}
