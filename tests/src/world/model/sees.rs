//! What the broker says, held against what it must say.

use hopmq_proto::amqp::{Method, basic};

use super::{Channel, Expected, HandedOut, Model, Phase, Slot, Unacked};
use crate::world::ledger::{Fate, Ledger, LinkNo, MessageNo};
use crate::world::tap::{Message, Said};

impl Model {
    /// The broker has queued this for a client.
    pub(in crate::world) fn sees(&mut self, link: LinkNo, said: Said, ledger: &mut Ledger) {
        match said {
            Said::ProtocolHeader => panic!("the broker says that it speaks no AMQP 0-9-1"),
            Said::Heartbeat | Said::Part => {}
            Said::Method(number, Method::BasicAck(ack)) => self.sees_confirm(link, number, &ack),
            Said::Method(0, method) if self.link(link).phase == Phase::Handshake => match method {
                Method::ConnectionStart(_) | Method::ConnectionTune(_) => {}
                Method::ConnectionOpenOk(_) => self.link(link).phase = Phase::Open,
                // A login that is refused.
                Method::ConnectionClose(_) => self.link(link).phase = Phase::Ended,
                method => panic!("{method:?} in the handshake"),
            },
            Said::Method(number, method) => self.sees_method(link, number, method),
            Said::Message(message) => self.sees_message(link, &message, ledger),
        }
    }

    fn sees_confirm(&mut self, link: LinkNo, number: u16, ack: &basic::Ack) {
        let channel = self.channel(link, number);
        let channel = channel.unwrap_or_else(|| panic!("a confirm on channel {number}, which is not open"));
        let confirms = channel.confirms.as_mut();
        let confirms = confirms.unwrap_or_else(|| panic!("a confirm on a channel without confirms"));
        let tag = ack.delivery_tag;
        assert!(tag <= confirms.published, "a confirm of publish {tag}, which has not come");
        assert!(tag > confirms.confirmed, "publish {tag} is confirmed twice");
        assert!(ack.multiple || tag == confirms.confirmed + 1, "publish {tag} is confirmed out of order");
        confirms.confirmed = tag;
        if let Some((Some(publish), message)) = channel.returns.front() {
            assert!(*publish > tag, "message {message} is confirmed before it comes back");
        }
    }

    fn sees_method(&mut self, link: LinkNo, number: u16, method: Method) {
        let expected = self.link(link).expected.pop_front();
        match (expected, method) {
            (Some(Expected::Exactly(channel, expected)), method) => {
                assert_eq!((number, method), (channel, expected), "what the broker says");
            }
            (Some(Expected::DeclareOk { channel, queue, ready, consumers }), Method::QueueDeclareOk(ok))
                if channel == number =>
            {
                let name = ok.queue.to_string();
                if let Some(queue_state) = self.queues.get_mut(&queue) {
                    if queue_state.name.is_empty() {
                        queue_state.name.clone_from(&name);
                        let known = self.names.insert(name.clone(), queue);
                        assert_eq!(known, None, "a name was given twice");
                    }
                    assert_eq!(queue_state.name, name);
                }
                let counts = (ok.message_count as usize, ok.consumer_count as usize);
                assert_eq!(counts, (ready, consumers), "messages and consumers of '{name}'");
            }
            (Some(Expected::ConsumeOk { channel, mut consumer, exclusive }), Method::BasicConsumeOk(ok))
                if channel == number =>
            {
                let tag = ok.consumer_tag.to_string();
                assert!(consumer.tag.is_empty() || consumer.tag == tag, "the tag of a consumer");
                consumer.tag.clone_from(&tag);
                let (no, queue) = (self.no(), consumer.queue);
                self.changed.insert(queue);
                if let Some(queue) = self.queues.get_mut(&queue) {
                    queue.exclusive = exclusive;
                }
                self.consumers.insert(no, consumer);
                if let Some(channel) = self.channel(link, number) {
                    assert_eq!(channel.consumers.insert(tag, no), None, "a tag is given twice");
                }
            }
            (Some(Expected::ChannelClose { channel, code }), Method::ChannelClose(close)) => {
                assert_eq!((number, close.reply_code), (channel, code), "{}", close.reply_text);
            }
            (Some(Expected::ConnectionClose { code }), Method::ConnectionClose(close)) => {
                assert_eq!(close.reply_code, code, "{}", close.reply_text);
            }
            (expected, method) => {
                panic!("link {link} channel {number}: {method:?} where {expected:?} was expected");
            }
        }
    }

    fn sees_message(&mut self, link: LinkNo, message: &Message, ledger: &mut Ledger) {
        let (exchange, key) = match &message.method {
            Method::BasicDeliver(deliver) => (&deliver.exchange, &deliver.routing_key),
            Method::BasicGetOk(ok) => (&ok.exchange, &ok.routing_key),
            Method::BasicReturn(back) => (&back.exchange, &back.routing_key),
            method => panic!("the broker sends content with {method:?}"),
        };
        let no = ledger.identify(exchange.as_bytes(), key.as_bytes(), &message.properties, &message.body);
        assert!(ledger.record(no).fate.is_some(), "message {no} goes out before it came in");
        match &message.method {
            Method::BasicDeliver(deliver) => self.sees_delivery(link, message.channel, deliver, no),
            Method::BasicGetOk(ok) => self.sees_get(link, message.channel, ok, no),
            Method::BasicReturn(back) => {
                assert_eq!(back.reply_code, 312);
                assert_eq!(ledger.record(no).fate, Some(Fate::Unroutable));
                let channel = self.channel(link, message.channel);
                let next = channel.and_then(|channel| channel.returns.pop_front());
                assert_eq!(next.map(|(_, next)| next), Some(no), "the next message to come back");
            }
            _ => {}
        }
    }

    fn sees_delivery(&mut self, link: LinkNo, number: u16, deliver: &basic::Deliver, no: MessageNo) {
        let tag = deliver.consumer_tag.to_string();
        let channel = self.channel(link, number);
        let channel = channel.unwrap_or_else(|| panic!("a delivery on channel {number}, not open"));
        let consumer_no = channel.consumers.get(&tag).copied();
        let consumer_no = consumer_no.unwrap_or_else(|| panic!("a delivery to consumer {tag}, not there"));
        let (window, consumed) = (usize::from(channel.window), channel.consumed());
        let Some(consumer) = self.consumers.get_mut(&consumer_no) else { return };
        let (queue, no_ack) = (consumer.queue, consumer.no_ack);
        if !no_ack {
            assert!(consumed < self.ceiling, "beyond the ceiling of {}", self.ceiling);
            assert!(window == 0 || consumed < window, "beyond the channel's prefetch of {window}");
            let prefetch = usize::from(consumer.prefetch);
            assert!(prefetch == 0 || consumer.unacked < prefetch, "beyond the prefetch of {prefetch}");
            consumer.unacked += 1;
        }
        let handed_out = HandedOut { message: no, redelivered: deliver.redelivered, consumer: Some(tag) };
        self.hand_out(link, number, deliver.delivery_tag, queue, no_ack, Some(consumer_no), handed_out);
    }

    fn sees_get(&mut self, link: LinkNo, number: u16, ok: &basic::GetOk, no: MessageNo) {
        match self.link(link).expected.pop_front() {
            Some(Expected::GetOk { channel, queue, no_ack, left }) if channel == number => {
                assert_eq!(ok.message_count as usize, left, "messages behind the one got");
                let handed_out = HandedOut { message: no, redelivered: ok.redelivered, consumer: None };
                self.hand_out(link, number, ok.delivery_tag, queue, no_ack, None, handed_out);
            }
            expected => panic!("a message was got where {expected:?} was expected"),
        }
    }

    #[allow(clippy::too_many_arguments)] // a delivery has so many sides
    fn hand_out(
        &mut self,
        link: LinkNo,
        number: u16,
        tag: u64,
        queue_no: u64,
        no_ack: bool,
        consumer: Option<u64>,
        handed_out: HandedOut,
    ) {
        self.changed.insert(queue_no);
        let queue = self.queues.get_mut(&queue_no);
        let queue = queue.unwrap_or_else(|| panic!("a message of a queue that is gone"));
        let message = handed_out.message;
        let place = queue.take(message, handed_out.redelivered);
        if !no_ack {
            queue.unacked += 1;
        }
        let Some(channel) = self.channel(link, number) else { return };
        channel.last_tag += 1;
        assert_eq!(tag, channel.last_tag, "the next delivery tag of channel {number}");
        if !no_ack {
            let consumed = consumer.is_some();
            channel.unacked.insert(tag, Unacked { queue: queue_no, place, message, consumer, consumed });
        }
        self.tally.deliveries += 1;
        self.tally.redelivered += u64::from(handed_out.redelivered);
        let at = self.channel_at(link, number);
        self.handed_out.insert((at, tag), handed_out);
    }

    /// A new channel, with its place in the history of its number.
    pub(super) fn open_channel(&mut self, link: LinkNo, number: u16) {
        let link = self.link(link);
        link.incarnations.entry(number).and_modify(|last| *last += 1).or_insert(0);
        let known = link.channels.insert(number, Slot::Open(Channel::default()));
        assert!(known.is_none(), "channel {number} is opened twice");
    }
}
