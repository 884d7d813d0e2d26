use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use bytes::BytesMut;
use hopmq_proto::amqp::{
    FieldTable, LongStr, Method, Properties, ShortStr, basic, channel, confirm, connection, exchange, queue,
    tx,
};

use super::peer;
use crate::world::tap::{Message, Said, Tap};

/// What a server has done with the publishes it knows by their numbers, in all its lives.
#[derive(Default)]
pub(super) struct Fates {
    pub(super) seen: HashSet<u64>,
    pub(super) acked: HashSet<u64>,
    pub(super) nacked: HashSet<u64>,
    pub(super) returned: HashSet<u64>,
    /// How many queues it has named.
    named: u64,
    /// It has said something that no server says, so nothing can be expected of its clients.
    pub(super) tainted: bool,
}

/// A server's end of one connection. What it hears, it understands, or the client is wrong.
pub(super) struct Server {
    tap: Tap,
    unheard: BytesMut,
    tune: connection::Tune,
    /// `None` is the protocol header.
    questions: VecDeque<(u16, Option<Method>)>,
    channels: BTreeMap<u16, Channel>,
    /// Those whose opening is not answered: what was asked on them comes before its answer.
    opening: BTreeMap<u16, Channel>,
    /// Channels that it has closed, and waits for close-ok.
    closing: BTreeSet<u16>,
    /// The publishes that it has heard.
    heard: HashSet<u64>,
    /// It has sent `connection.close`, or `connection.close-ok`.
    over: bool,
}

#[derive(Default)]
struct Channel {
    confirms: bool,
    published: VecDeque<Publish>,
    publishes: u64,
    consumers: Vec<(ShortStr, bool)>,
    delivered: u64,
    unacked: BTreeSet<u64>,
}

struct Publish {
    tag: u64,
    number: u64,
    message: Box<Message>,
}

impl Server {
    pub(super) fn new(tune: connection::Tune) -> Self {
        Self {
            tap: Tap::default(),
            unheard: BytesMut::new(),
            tune,
            questions: VecDeque::new(),
            channels: BTreeMap::new(),
            opening: BTreeMap::new(),
            closing: BTreeSet::new(),
            heard: HashSet::new(),
            over: false,
        }
    }

    /// Hears what the client has written.
    pub(super) fn hear(&mut self, bytes: &[u8], fates: &mut Fates) {
        self.unheard.extend_from_slice(bytes);
        while let Some(frame) = self.tap.peek(&self.unheard) {
            let said = self.tap.take(&self.unheard.split_to(frame.len));
            match said {
                Said::ProtocolHeader => self.questions.push_back((0, None)),
                Said::Method(number, method) => self.hear_method(number, method, fates),
                Said::Message(message) => self.hear_publish(message, fates),
                Said::Heartbeat | Said::Part => {}
            }
        }
    }

    fn hear_method(&mut self, number: u16, method: Method, fates: &Fates) {
        if let Method::ChannelCloseOk(_) = method {
            self.closing.remove(&number);
            return;
        }
        if self.over && !matches!(method, Method::ConnectionClose(_)) {
            return;
        }
        if self.closing.contains(&number) && !matches!(method, Method::ChannelClose(_)) {
            return;
        }
        let opening = &mut self.opening;
        let channel = self.channels.get_mut(&number).unwrap_or_else(|| opening.entry(number).or_default());
        match &method {
            Method::BasicAck(ack) => return channel.on_settled(ack.delivery_tag, ack.multiple, fates),
            Method::BasicNack(nack) => return channel.on_settled(nack.delivery_tag, nack.multiple, fates),
            Method::BasicReject(reject) => return channel.on_settled(reject.delivery_tag, false, fates),
            Method::BasicRecover(_) => channel.unacked.clear(),
            Method::ConfirmSelect(_) if !channel.confirms => {
                channel.confirms = true;
                channel.published.clear();
            }
            _ => {}
        }
        self.questions.push_back((number, Some(method)));
    }

    fn hear_publish(&mut self, message: Box<Message>, fates: &mut Fates) {
        let Method::BasicPublish(publish) = &message.method else { panic!("{message:?} from a client") };
        let number = publish.routing_key.as_str().ok().and_then(|key| key.strip_prefix('k')?.parse().ok());
        let number = number.unwrap_or_else(|| panic!("nobody published {message:?}"));
        fates.seen.insert(number);
        self.heard.insert(number);
        if self.over {
            return;
        }
        let Self { channels, opening, .. } = self;
        let channel = channels.get_mut(&message.channel).or_else(|| opening.get_mut(&message.channel));
        let Some(channel) = channel else { return };
        if channel.confirms {
            channel.publishes += 1;
        } else {
            channel.published.clear();
        }
        channel.published.push_back(Publish { tag: channel.publishes, number, message });
    }

    /// Whether a publish has come or is on its way, with `outbox` behind what came last.
    pub(super) fn is_told(&self, number: u64, outbox: &[u8]) -> bool {
        let key = format!("k{number}");
        let key = [&[u8::try_from(key.len()).unwrap_or(0)], key.as_bytes()].concat();
        self.heard.contains(&number)
            || [&self.unheard, outbox].concat().windows(key.len()).any(|bytes| bytes == key)
    }

    /// It takes no publishes for now, or takes them again.
    pub(super) fn block(&self, blocks: bool) -> BytesMut {
        match blocks {
            true => self.say(0, connection::Blocked { reason: ShortStr::from_static("low on memory") }),
            false => self.say(0, connection::Unblocked {}),
        }
    }

    /// Whether somebody waits for an answer.
    pub(super) fn is_asked(&self) -> bool {
        !self.questions.is_empty() || self.channels.values().any(|it| it.confirms && !it.published.is_empty())
    }

    /// Answers the oldest question on a channel.
    pub(super) fn answer(&mut self, number: u16, how: u8, fates: &mut Fates) -> BytesMut {
        let at = self.questions.iter().position(|(asked, _)| *asked == number);
        self.answer_at(at, how, fates)
    }

    /// Answers everything that it was asked, and confirms everything that was published.
    pub(super) fn answer_all(&mut self, fates: &mut Fates) -> BytesMut {
        let mut out = BytesMut::new();
        while !self.questions.is_empty() {
            out.unsplit(self.answer_at(Some(0), 0, fates));
        }
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for number in numbers {
            out.unsplit(self.confirm(number, 255, true, true, fates));
        }
        out
    }

    fn answer_at(&mut self, at: Option<usize>, how: u8, fates: &mut Fates) -> BytesMut {
        let mut out = BytesMut::new();
        let question = at.and_then(|at| self.questions.remove(at));
        let Some((number, question)) = question else { return out };
        match question {
            None => peer::method(&mut out, 0, start()),
            Some(question) if number == 0 => self.answer_connection(&question, &mut out),
            Some(Method::ChannelOpen(_)) => {
                self.channels.insert(number, self.opening.remove(&number).unwrap_or_default());
                peer::method(&mut out, number, channel::OpenOk {});
            }
            Some(Method::ChannelClose(_)) => {
                self.channels.remove(&number);
                peer::method(&mut out, number, channel::CloseOk {});
            }
            Some(question) => self.answer_call(number, &question, how, fates, &mut out),
        }
        out
    }

    fn answer_connection(&mut self, question: &Method, out: &mut BytesMut) {
        let answer: Method = match question {
            Method::ConnectionStartOk(_) => self.tune.clone().into(),
            Method::ConnectionOpen(_) => connection::OpenOk {}.into(),
            Method::ConnectionUpdateSecret(_) => connection::UpdateSecretOk {}.into(),
            Method::ConnectionClose(_) => {
                self.over = true;
                connection::CloseOk {}.into()
            }
            _ => return,
        };
        peer::method(out, 0, answer);
    }

    fn answer_call(
        &mut self,
        number: u16,
        question: &Method,
        how: u8,
        fates: &mut Fates,
        out: &mut BytesMut,
    ) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let answer: Option<Method> = match question {
            Method::ConfirmSelect(it) => (!it.no_wait).then(|| confirm::SelectOk {}.into()),
            Method::QueueDeclare(it) => {
                let named = it.queue.is_empty();
                let queue = if named { fates.name() } else { it.queue.clone() };
                (!it.no_wait).then(|| queue::DeclareOk { queue, ..Default::default() }.into())
            }
            Method::BasicConsume(it) => {
                let tag = if it.consumer_tag.is_empty() { fates.name() } else { it.consumer_tag.clone() };
                channel.consumers.push((tag.clone(), it.no_ack));
                (!it.no_wait).then(|| basic::ConsumeOk { consumer_tag: tag }.into())
            }
            Method::BasicCancel(it) => {
                channel.consumers.retain(|(tag, _)| *tag != it.consumer_tag);
                (!it.no_wait).then(|| basic::CancelOk { consumer_tag: it.consumer_tag.clone() }.into())
            }
            Method::BasicGet(_) if how & 1 == 0 => Some(basic::GetEmpty {}.into()),
            Method::BasicGet(it) => {
                let delivery_tag = channel.next_tag(it.no_ack);
                let got = basic::GetOk { delivery_tag, redelivered: how & 2 != 0, ..Default::default() };
                peer::content(out, number, got, &Properties::new(), &[9; 300]);
                None
            }
            Method::BasicQos(_) => Some(basic::QosOk {}.into()),
            Method::BasicRecover(_) => Some(basic::RecoverOk {}.into()),
            Method::ExchangeDeclare(it) => (!it.no_wait).then(|| exchange::DeclareOk {}.into()),
            Method::ExchangeDelete(it) => (!it.no_wait).then(|| exchange::DeleteOk {}.into()),
            Method::ExchangeBind(it) => (!it.no_wait).then(|| exchange::BindOk {}.into()),
            Method::ExchangeUnbind(it) => (!it.no_wait).then(|| exchange::UnbindOk {}.into()),
            Method::QueueBind(it) => (!it.no_wait).then(|| queue::BindOk {}.into()),
            Method::QueueUnbind(_) => Some(queue::UnbindOk {}.into()),
            Method::QueuePurge(it) => (!it.no_wait).then(|| queue::PurgeOk { message_count: 1 }.into()),
            Method::QueueDelete(it) => (!it.no_wait).then(|| queue::DeleteOk { message_count: 1 }.into()),
            Method::TxSelect(_) => Some(tx::SelectOk {}.into()),
            Method::TxCommit(_) => Some(tx::CommitOk {}.into()),
            Method::TxRollback(_) => Some(tx::RollbackOk {}.into()),
            Method::ChannelFlowOk(_) | Method::BasicCancelOk(_) => None, // they are answers
            other => panic!("a client does not say {other:?}"),
        };
        if let Some(answer) = answer {
            peer::method(out, number, answer);
        }
    }

    /// Confirms one of the publishes on a channel, or all up to it.
    pub(super) fn confirm(
        &mut self,
        number: u16,
        which: u8,
        multiple: bool,
        ack: bool,
        fates: &mut Fates,
    ) -> BytesMut {
        let mut out = BytesMut::new();
        let Some(channel) = self.channels.get_mut(&number).filter(|it| it.confirms) else { return out };
        let Some(last) = channel.published.len().checked_sub(1) else { return out };
        let at = if which == 255 { last } else { usize::from(which) % channel.published.len() };
        let delivery_tag = channel.published[at].tag;
        let first = if multiple { 0 } else { at };
        let known = if ack { &mut fates.acked } else { &mut fates.nacked };
        known.extend(channel.published.drain(first..=at).map(|publish| publish.number));
        if ack {
            peer::method(&mut out, number, basic::Ack { delivery_tag, multiple });
        } else {
            peer::method(&mut out, number, basic::Nack { delivery_tag, multiple, requeue: false });
        }
        out
    }

    /// Gives a mandatory publish back that is not confirmed.
    pub(super) fn give_back(&self, number: u16, which: u8, fates: &mut Fates) -> BytesMut {
        let mut out = BytesMut::new();
        let Some(channel) = self.channels.get(&number) else { return out };
        if channel.published.is_empty() {
            return out;
        }
        let publish = &channel.published[usize::from(which) % channel.published.len()];
        let Method::BasicPublish(method) = &publish.message.method else { return out };
        if method.mandatory && fates.returned.insert(publish.number) {
            let back = basic::Return {
                reply_code: 312,
                reply_text: ShortStr::from_static("NO_ROUTE"),
                exchange: method.exchange.clone(),
                routing_key: method.routing_key.clone(),
            };
            peer::content(&mut out, number, back, &publish.message.properties, &publish.message.body);
        }
        out
    }

    /// Delivers a message to one of a channel's consumers.
    pub(super) fn deliver(&mut self, number: u16, which: u8, len: usize) -> BytesMut {
        let mut out = BytesMut::new();
        let Some(channel) = self.channels.get_mut(&number).filter(|it| !it.consumers.is_empty()) else {
            return out;
        };
        let (consumer_tag, no_ack) = channel.consumers[usize::from(which) % channel.consumers.len()].clone();
        let deliver = basic::Deliver {
            consumer_tag,
            delivery_tag: channel.next_tag(no_ack),
            redelivered: which & 128 != 0,
            exchange: ShortStr::empty(),
            routing_key: ShortStr::from_static("d"),
        };
        peer::content(&mut out, number, deliver, &Properties::new(), &vec![which; len]);
        out
    }

    /// Closes a channel for a fault of its client, or with a whim.
    pub(super) fn close_channel(&mut self, number: u16, code: u16, blames: (u16, u16)) -> BytesMut {
        let mut out = BytesMut::new();
        if self.channels.remove(&number).is_none() || self.over {
            return out;
        }
        self.closing.insert(number);
        self.questions
            .retain(|(asked, method)| *asked != number || matches!(method, Some(Method::ChannelClose(_))));
        let close = channel::Close {
            reply_code: code,
            reply_text: ShortStr::from_static("a whim"),
            class_id: blames.0,
            method_id: blames.1,
        };
        peer::method(&mut out, number, close);
        out
    }

    /// The oldest method on a channel that is not answered, as one blames it.
    pub(super) fn oldest(&self, number: u16) -> (u16, u16) {
        let mut asked = self.questions.iter().filter(|(asked, _)| *asked == number);
        asked.find_map(|(_, method)| method.as_ref()).map_or((0, 0), Method::id)
    }

    /// Ends a consumer, whose queue is gone.
    pub(super) fn cancel(&mut self, number: u16, which: u8) -> BytesMut {
        let mut out = BytesMut::new();
        if let Some(channel) = self.channels.get_mut(&number).filter(|it| !it.consumers.is_empty()) {
            let at = usize::from(which) % channel.consumers.len();
            let (consumer_tag, _) = channel.consumers.swap_remove(at);
            peer::method(&mut out, number, basic::Cancel { consumer_tag, no_wait: true });
        }
        out
    }

    /// Closes the connection.
    pub(super) fn close(&mut self, code: u16, blames: (u16, u16)) -> BytesMut {
        let mut out = BytesMut::new();
        if !self.over {
            self.over = true;
            self.questions.clear();
            self.channels.clear();
            let reply_text = ShortStr::from_static("a whim");
            let close =
                connection::Close { reply_code: code, reply_text, class_id: blames.0, method_id: blames.1 };
            peer::method(&mut out, 0, close);
        }
        out
    }

    /// Says something on a channel that is open.
    pub(super) fn say(&self, number: u16, method: impl Into<Method>) -> BytesMut {
        let mut out = BytesMut::new();
        if number == 0 || self.channels.contains_key(&number) {
            peer::method(&mut out, number, method);
        }
        out
    }
}

impl Channel {
    fn next_tag(&mut self, no_ack: bool) -> u64 {
        self.delivered += 1;
        if !no_ack {
            self.unacked.insert(self.delivered);
        }
        self.delivered
    }

    /// The client has settled a delivery: one that it has, and has not settled before.
    fn on_settled(&mut self, tag: u64, multiple: bool, fates: &Fates) {
        let known = if multiple {
            let later = self.unacked.split_off(&(tag + 1));
            !std::mem::replace(&mut self.unacked, later).is_empty()
        } else {
            self.unacked.remove(&tag)
        };
        assert!(known || fates.tainted, "delivery {tag} is settled twice, or never was");
    }
}

impl Fates {
    fn name(&mut self) -> ShortStr {
        self.named += 1;
        ShortStr::truncated(&format!("amq.gen-{}", self.named - 1))
    }
}

fn start() -> connection::Start {
    connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: FieldTable::new(),
        mechanisms: LongStr::from_static("PLAIN"),
        locales: LongStr::from_static("en_US"),
    }
}
