use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use hopmq_proto::amqp::{Method, ShortStr, basic};

use crate::world::tap::{Message, Said, Tap};

/// What the broker calls it was not asked.
const NAMELESS: ShortStr = ShortStr::from_static("?");

/// What has been settled for good: the queue, and the number of the message.
pub(super) type Settled = HashSet<(ShortStr, u64)>;

/// What a client of the broker makes of what it is told.
pub(super) struct Ear {
    tap: Tap,
    pub(super) channels: BTreeMap<u16, Channel>,
    /// Channels that the broker has closed, and waits for close-ok.
    pub(super) closing: BTreeSet<u16>,
    /// The broker has closed the connection, or confirmed that it is closed.
    pub(super) over: Option<Over>,
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The broker waits for close-ok.
    ByBroker,
    ByClient,
}

#[derive(Default)]
pub(super) struct Channel {
    /// What has not been answered, the oldest first.
    pub(super) questions: VecDeque<Method>,
    pub(super) open: bool,
    confirms: bool,
    publishes: u64,
    pub(super) unconfirmed: BTreeSet<u64>,
    last_tag: u64,
    /// Deliveries that are not settled, each with its queue and the number of its message.
    pub(super) unacked: BTreeMap<u64, (ShortStr, Option<u64>)>,
    consumers: BTreeMap<ShortStr, (ShortStr, bool)>,
    last_queue: ShortStr,
}

impl Ear {
    pub(super) fn new() -> Self {
        Self { tap: Tap::of_frames(), channels: BTreeMap::new(), closing: BTreeSet::new(), over: None }
    }

    /// Hears what the broker has queued: whole messages.
    pub(super) fn hear(&mut self, bytes: &[u8], settled: &mut Settled) {
        let mut at = 0;
        while let Some(frame) = self.tap.peek(&bytes[at..]) {
            let said = self.tap.take(&bytes[at..at + frame.len]);
            at += frame.len;
            match said {
                Said::Method(0, method) => self.hear_connection(&method),
                Said::Method(number, method) => self.hear_method(number, &method),
                Said::Message(message) => self.hear_message(&message, settled),
                Said::ProtocolHeader | Said::Heartbeat | Said::Part => {}
            }
        }
        assert!(at == bytes.len() && self.tap.is_idle(), "the broker queues whole messages");
    }

    fn hear_connection(&mut self, method: &Method) {
        assert_eq!(self.over, None, "{method:?} behind the end");
        match method {
            Method::ConnectionClose(_) => self.end(Over::ByBroker),
            Method::ConnectionCloseOk(_) => self.end(Over::ByClient),
            Method::ConnectionStart(_)
            | Method::ConnectionTune(_)
            | Method::ConnectionOpenOk(_)
            | Method::ConnectionUpdateSecretOk(_) => {}
            method => panic!("the broker says {method:?}"),
        }
    }

    fn end(&mut self, how: Over) {
        self.over = Some(how);
        self.channels.clear();
        self.closing.clear();
    }

    fn hear_method(&mut self, number: u16, method: &Method) {
        if matches!(method, Method::ChannelCloseOk(_)) && self.closing.contains(&number) {
            return; // both have closed it, each before it heard of the other
        }
        let channel = self.channels.get_mut(&number);
        let channel = channel.unwrap_or_else(|| panic!("{method:?} on {number}, which is not open"));
        match method {
            Method::ChannelClose(_) => {
                self.channels.remove(&number);
                self.closing.insert(number);
            }
            Method::BasicAck(ack) => channel.on_confirm(ack.delivery_tag, ack.multiple),
            Method::BasicNack(nack) => channel.on_confirm(nack.delivery_tag, nack.multiple),
            Method::BasicCancel(cancel) => {
                let known = channel.consumers.remove(&cancel.consumer_tag);
                assert!(known.is_some(), "{cancel:?} of a consumer that is not there");
            }
            answer => {
                let question = channel.questions.pop_front();
                let question = question.unwrap_or_else(|| panic!("nobody asked for {answer:?}"));
                let over = channel.on_answer(&question, answer);
                if over {
                    self.channels.remove(&number);
                }
            }
        }
    }

    fn hear_message(&mut self, message: &Message, settled: &mut Settled) {
        let channel = self.channels.get_mut(&message.channel);
        let channel = channel.unwrap_or_else(|| panic!("{message:?} on a channel that is not open"));
        let (queue, no_ack, tag) = match &message.method {
            Method::BasicReturn(_) => return,
            Method::BasicDeliver(deliver) => {
                let consumer = channel.consumers.get(&deliver.consumer_tag);
                let (queue, no_ack) = consumer.unwrap_or_else(|| panic!("a delivery to nobody: {deliver:?}"));
                (queue.clone(), *no_ack, deliver.delivery_tag)
            }
            Method::BasicGetOk(got) => {
                let Some(Method::BasicGet(get)) = channel.questions.pop_front() else {
                    panic!("nobody asked for {got:?}")
                };
                (channel.name_of(&get.queue), get.no_ack, got.delivery_tag)
            }
            method => panic!("the broker says {method:?}"),
        };
        assert_eq!(tag, channel.last_tag + 1, "tags go up by one");
        channel.last_tag = tag;
        let number = number_of(&message.body).filter(|_| queue != NAMELESS);
        if let Some(number) = number {
            let again = settled.contains(&(queue.clone(), number));
            assert!(!again, "message {number} was settled, and comes out of {queue:?} again");
            if no_ack {
                settled.insert((queue.clone(), number));
            }
        }
        if !no_ack {
            channel.unacked.insert(tag, (queue, number));
        }
    }
}

impl Channel {
    /// A publish that the broker has taken.
    pub(super) fn on_publish(&mut self) {
        if self.confirms {
            self.publishes += 1;
            self.unconfirmed.insert(self.publishes);
        }
    }

    fn on_confirm(&mut self, tag: u64, multiple: bool) {
        let known = if multiple {
            let later = self.unconfirmed.split_off(&(tag + 1));
            !std::mem::replace(&mut self.unconfirmed, later).is_empty()
        } else {
            self.unconfirmed.remove(&tag)
        };
        assert!(known, "publish {tag} is confirmed twice, or was never made");
    }

    /// Takes the answer to a question; returns whether the channel has ended with it.
    fn on_answer(&mut self, question: &Method, answer: &Method) -> bool {
        let (class, method) = question.id();
        let ok = match question {
            Method::ExchangeUnbind(_) => 51,
            Method::BasicGet(_) => 72,
            _ => method + 1,
        };
        assert_eq!(answer.id(), (class, ok), "{answer:?} answers {question:?}");
        match (question, answer) {
            (Method::ChannelOpen(_), _) => self.open = true,
            (Method::ChannelClose(_), _) => return true,
            (Method::ConfirmSelect(_), _) => self.confirms = true,
            (Method::QueueDeclare(_), Method::QueueDeclareOk(ok)) => self.last_queue = ok.queue.clone(),
            (Method::BasicConsume(consume), Method::BasicConsumeOk(ok)) => {
                self.on_consume(consume, ok.consumer_tag.clone());
            }
            (Method::BasicCancel(_), Method::BasicCancelOk(ok)) => {
                self.consumers.remove(&ok.consumer_tag);
            }
            (Method::BasicRecover(_), _) => self.unacked.clear(),
            _ => {}
        }
        false
    }

    fn on_consume(&mut self, consume: &basic::Consume, tag: ShortStr) {
        let known = self.consumers.insert(tag, (self.name_of(&consume.queue), consume.no_ack));
        assert!(known.is_none(), "two consumers with one tag");
    }

    /// A method that is not answered, and that the broker has taken.
    pub(super) fn on_no_wait(&mut self, method: &Method) {
        match method {
            Method::ConfirmSelect(_) => self.confirms = true,
            Method::QueueDeclare(declare) if declare.queue.is_empty() => self.last_queue = NAMELESS,
            Method::QueueDeclare(declare) => self.last_queue = declare.queue.clone(),
            Method::BasicConsume(consume) => {
                let queue = (self.name_of(&consume.queue), consume.no_ack);
                self.consumers.entry(consume.consumer_tag.clone()).or_insert(queue); // or it is refused
            }
            Method::BasicCancel(cancel) => {
                self.consumers.remove(&cancel.consumer_tag);
            }
            _ => {}
        }
    }

    /// The queue that a name means: no name is the queue that was declared last.
    fn name_of(&self, queue: &ShortStr) -> ShortStr {
        if queue.is_empty() { self.last_queue.clone() } else { queue.clone() }
    }

    /// A settlement that the broker has taken.
    pub(super) fn on_settled(&mut self, tag: u64, multiple: bool, requeue: bool, settled: &mut Settled) {
        let later = self.unacked.split_off(&(tag + 1));
        let mut upto = std::mem::replace(&mut self.unacked, later);
        if !multiple {
            let one = upto.remove(&tag);
            self.unacked.append(&mut upto);
            upto.extend(one.map(|one| (tag, one)));
        }
        if !requeue {
            settled.extend(upto.into_values().filter_map(|(queue, number)| Some((queue, number?))));
        }
    }
}

/// What every message of ours begins with, behind which is its number.
const MARK: &[u8; 4] = b"no. ";

/// The body of a message.
pub(super) fn body(number: u64, len: usize) -> Vec<u8> {
    let mut body = [&MARK[..], &number.to_be_bytes()].concat();
    body.resize(body.len() + len, 7);
    body
}

pub(super) fn number_of(body: &[u8]) -> Option<u64> {
    let number = body.strip_prefix(MARK)?.first_chunk()?;
    Some(u64::from_be_bytes(*number))
}
