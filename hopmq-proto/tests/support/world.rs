//! A client among random commands, with a server that mostly answers what it is asked, and a ledger of every token.

#![allow(dead_code, unreachable_pub)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hopmq_proto::Engine;
use hopmq_proto::amqp::{
    FrameKind, Method, Properties, Publish, ShortStr, basic, channel, confirm, connection, queue, tx,
};
use hopmq_proto::client::{ChannelId, Config, Connection, DeliveryId, Event, Reply, Settle, Token};

use crate::support::{
    Client, Sent, ack, channel_close, connection_close, consume, content, decode, deliver, frame, get,
    get_ok, method, nack, returned, start,
};

/// Something that happens, by numbers that a generator makes up.
#[derive(Debug, Clone)]
pub enum Op {
    // Commands.
    OpenChannel,
    CloseChannel(usize),
    Call(usize, u8),
    Publish(usize, bool, u16),
    AwaitConfirms(usize),
    Settle(usize, u8),
    Abandon(usize),
    /// From here on replies are given back, or kept.
    GiveBack(bool),
    Close,
    Pause(bool),
    // The server.
    /// It reads so many bytes, and knows what it has to answer.
    Read(u32),
    /// It answers the oldest question on a channel.
    Answer(u16),
    /// It reads everything and answers everything.
    Serve,
    Deliver(u16, u64, u16),
    Return(u16, u16),
    /// It confirms some of what was published.
    Confirm(u16, u64, bool, bool),
    CloseFrom(u16),
    Flow(u16, bool),
    Cancel(u16, bool),
    Blocked(bool),
    Heartbeat,
    /// A method that may have nothing to do with anything.
    Method(u16, u8),
    Bytes(Vec<u8>),
    // The world.
    Pass(u32),
    Eof,
    TransportError,
}

/// What a run shows to the outside.
#[derive(Debug, Default, PartialEq)]
pub struct Trace {
    pub events: Vec<String>,
    pub written: Vec<u8>,
}

pub struct World {
    client: Client,
    /// How many bytes of the server come at once.
    chunk: usize,
    channels: Vec<ChannelId>,
    deliveries: Vec<DeliveryId>,
    /// Tokens that must be resolved yet, and the channel of those that can be abandoned.
    waiting: Vec<(Token, Option<ChannelId>)>,
    resolved: HashSet<Token>,
    give_back: bool,
    ended: bool,
    unread: BytesMut,
    server: Server,
    trace: Trace,
}

impl World {
    /// A client whose handshake the server has begun, or finished.
    pub fn new(config: Config, tune: connection::Tune, open: bool, chunk: usize) -> Self {
        let mut world = Self {
            client: Client::new(config),
            chunk,
            channels: Vec::new(),
            deliveries: Vec::new(),
            waiting: Vec::new(),
            resolved: HashSet::new(),
            give_back: false,
            ended: false,
            unread: BytesMut::new(),
            server: Server::default(),
            trace: Trace::default(),
        };
        if open {
            world.come(
                &[method(0, start("PLAIN")), method(0, tune), method(0, connection::OpenOk {})].concat(),
            );
        }
        world.step(&Op::Read(u32::MAX));
        if open {
            // A channel with confirms, and one with a consumer.
            use Op::{Call, OpenChannel, Serve};
            [OpenChannel, OpenChannel, Serve, Call(0, 0), Call(1, 1), Serve]
                .iter()
                .for_each(|op| world.step(op));
        }
        world
    }

    /// Runs it all, then ends the stream: nothing may be left.
    pub fn run(mut self, ops: &[Op]) -> Trace {
        ops.iter().for_each(|op| self.step(op));
        self.step(&Op::Pass(u32::MAX));
        assert!(self.waiting.is_empty(), "after all deadlines {:?} wait", self.waiting);
        self.step(&Op::Eof);
        assert!(self.ended, "there was no terminal event");
        self.step(&Op::Pass(u32::MAX));
        assert_eq!(self.engine().poll_timeout(), None);
        self.trace
    }

    pub fn step(&mut self, op: &Op) {
        self.command(op);
        self.serve(op);
        self.settle_events();
        if !self.waiting.is_empty() {
            assert!(self.engine().poll_timeout().is_some(), "{:?} wait without a deadline", self.waiting);
        }
    }

    fn engine(&mut self) -> &mut Connection {
        &mut self.client.engine
    }

    /// One of the channels opened last; those before them have ended, most likely.
    fn pick(&self, at: usize) -> Option<ChannelId> {
        self.channels.iter().rev().nth(at % self.channels.len().clamp(1, 5)).copied()
    }

    fn command(&mut self, op: &Op) {
        let now = self.client.now;
        match *op {
            Op::OpenChannel => {
                if let Ok((id, token)) = self.engine().open_channel(now) {
                    self.channels.push(id);
                    self.waiting.push((token, Some(id)));
                }
            }
            Op::CloseChannel(at) => self.on_channel(at, |engine, id| engine.close_channel(id, now).ok()),
            Op::Call(at, kind) => self.on_channel(at, |engine, id| engine.call(id, call(kind), now).ok()),
            Op::Publish(at, mandatory, len) => {
                let publish = Publish { routing_key: b"k", mandatory, ..Default::default() };
                let body = Bytes::from(vec![7; len.into()]);
                let Some(id) = self.pick(at) else { return };
                let token =
                    self.engine().publish(id, &publish, &Properties::new(), &body, now).ok().flatten();
                self.waiting.extend(token.map(|token| (token, None)));
            }
            Op::AwaitConfirms(at) => self.on_channel(at, |engine, id| engine.await_confirms(id).ok()),
            Op::Settle(at, kind) => self.settle(at, kind),
            Op::Abandon(at) => self.abandon(at),
            Op::GiveBack(give_back) => self.give_back = give_back,
            Op::Close => {
                let token = self.engine().close(now).ok();
                self.waiting.extend(token.map(|token| (token, None)));
            }
            Op::Pause(paused) => self.engine().set_paused(paused, now),
            _ => {}
        }
    }

    fn on_channel(&mut self, at: usize, call: impl FnOnce(&mut Connection, ChannelId) -> Option<Token>) {
        let Some(id) = self.pick(at) else { return };
        let token = call(self.engine(), id);
        self.waiting.extend(token.map(|token| (token, Some(id))));
    }

    fn settle(&mut self, at: usize, kind: u8) {
        if self.deliveries.is_empty() {
            return;
        }
        let id = self.deliveries.swap_remove(at % self.deliveries.len());
        let (multiple, requeue) = (kind & 1 != 0, kind & 2 != 0);
        let settle = match kind % 3 {
            0 => Settle::Ack { multiple },
            1 => Settle::Nack { multiple, requeue },
            _ => Settle::Reject { requeue },
        };
        let now = self.client.now;
        let _ = self.engine().settle(id, settle, now);
    }

    /// Nobody waits for a call any more: no event may resolve it.
    fn abandon(&mut self, at: usize) {
        let at = at % self.waiting.len().max(1);
        if let Some(&(token, Some(id))) = self.waiting.get(at) {
            self.engine().abandon(id, token);
            let _ = self.waiting.remove(at);
            self.resolved.insert(token);
        }
    }

    fn serve(&mut self, op: &Op) {
        match *op {
            Op::Read(len) => self.read(len as usize),
            Op::Answer(channel) => self.come_if_some(|server| server.answer(channel)),
            Op::Serve => {
                self.read(usize::MAX);
                (1..=9).for_each(|channel| (0..9).for_each(|_| self.serve(&Op::Answer(channel))));
            }
            Op::Deliver(channel, tag, len) => self.say_content(channel, deliver("c", tag), 1, len),
            Op::Return(channel, len) => self.say_content(channel, returned("k"), 7, len),
            Op::Confirm(channel, tag, multiple, ack) => {
                self.come_if_some(|server| server.confirm(channel, tag, multiple, ack));
            }
            Op::CloseFrom(0) => self.come(&method(0, connection_close(320))),
            Op::CloseFrom(channel) => self.come_if_some(|server| server.close(channel)),
            Op::Flow(channel, active) => self.say(channel, channel::Flow { active }),
            Op::Cancel(channel, no_wait) => {
                self.say(channel, basic::Cancel { consumer_tag: ShortStr::from_static("c"), no_wait });
            }
            Op::Blocked(true) => self.come(&method(0, connection::Blocked::default())),
            Op::Blocked(false) => self.come(&method(0, connection::Unblocked {})),
            Op::Heartbeat => self.come(&frame(FrameKind::Heartbeat, 0, b"")),
            Op::Method(channel, at) => {
                let all = Method::all();
                self.come(&method(channel, all[usize::from(at) % all.len()].clone()));
            }
            Op::Bytes(ref bytes) => self.come(bytes),
            Op::Pass(u32::MAX) => {
                self.client.now = self.client.now + Duration::from_secs(1 << 32);
                let now = self.client.now;
                self.engine().handle_timeout(now);
            }
            Op::Pass(millis) => self.client.pass(Duration::from_millis(millis.into())),
            Op::Eof => self.client.eof(),
            Op::TransportError => {
                let now = self.client.now;
                self.engine().handle_transport_error("reset".into(), now);
            }
            _ => {}
        }
    }

    /// The server says something on a channel, if it thinks that it is open.
    fn say(&mut self, channel: u16, method_: impl Into<Method>) {
        if self.server.open.contains(&channel) {
            self.come(&method(channel, method_));
        }
    }

    fn say_content(&mut self, channel: u16, method: impl Into<Method>, octet: u8, len: u16) {
        if self.server.open.contains(&channel) {
            self.come(&content(channel, method, &Properties::new(), &vec![octet; len.into()], 9000));
        }
    }

    fn come_if_some(&mut self, say: impl FnOnce(&mut Server) -> Option<BytesMut>) {
        if let Some(bytes) = say(&mut self.server) {
            self.come(&bytes);
        }
    }

    fn come(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(self.chunk) {
            self.client.feed(chunk);
        }
    }

    fn read(&mut self, len: usize) {
        let outbox = self.client.engine.outbox();
        let bytes: Vec<u8> = outbox.chunks().flatten().copied().take(len).collect();
        outbox.consume(bytes.len());
        self.trace.written.extend(&bytes);
        self.unread.extend_from_slice(&bytes);
        if outbox.is_empty() && !self.ended {
            for sent in decode(&mut self.unread) {
                if let Sent::Method(channel, method) = sent {
                    self.server.read(channel, method);
                }
            }
        }
    }

    fn settle_events(&mut self) {
        while let Some(event) = self.client.engine.poll_event() {
            assert!(!self.ended, "after the terminal event: {event:?}");
            self.trace.events.push(format!("{event:?}"));
            match event {
                Event::Reply { token, result } => {
                    self.resolve(token);
                    if let Ok(reply) = result {
                        self.take_reply(reply);
                    }
                }
                Event::Confirmed { token, .. } => self.resolve(token),
                Event::Delivery { delivery, .. } => self.deliveries.extend(delivery.id),
                Event::Closed { .. } => {
                    assert!(self.waiting.is_empty(), "at the end {:?} wait", self.waiting);
                    self.ended = true;
                }
                _ => {}
            }
        }
    }

    fn take_reply(&mut self, reply: Reply) {
        if self.give_back {
            let now = self.client.now;
            self.engine().give_back(reply, now);
        } else if let Reply::Message { delivery, .. } = reply {
            self.deliveries.extend(delivery.id);
        }
    }

    fn resolve(&mut self, token: Token) {
        assert!(self.resolved.insert(token), "{token:?} is resolved twice, or was abandoned");
        let at = self
            .waiting
            .iter()
            .position(|(t, _)| *t == token)
            .unwrap_or_else(|| panic!("{token:?} was never given"));
        let _ = self.waiting.swap_remove(at);
    }
}

fn call(kind: u8) -> Method {
    match kind % 12 {
        0 | 8 | 9 => confirm::Select { no_wait: false }.into(),
        1 => consume("q").into(),
        2 => basic::Consume { no_ack: true, ..consume("q") }.into(),
        3 => get("q").into(),
        4 => basic::Cancel { consumer_tag: ShortStr::from_static("c"), no_wait: false }.into(),
        5 => basic::Qos::default().into(),
        6 => queue::Declare::default().into(),
        10 => tx::Commit {}.into(),
        11 => tx::Rollback {}.into(),
        _ => basic::Publish::default().into(), // not a call
    }
}

/// What a server knows that keeps to the protocol.
#[derive(Default)]
struct Server {
    questions: VecDeque<(u16, Method)>,
    /// Channels that it may send on.
    open: BTreeSet<u16>,
    /// Channels that it has closed, and waits for close-ok.
    closing: BTreeSet<u16>,
    /// Publishes since `confirm.select`.
    published: BTreeMap<u16, u64>,
}

impl Server {
    fn read(&mut self, channel: u16, method: Method) {
        match method {
            Method::ChannelCloseOk(_) => {
                self.closing.remove(&channel);
                self.questions.retain(|(c, m)| *c != channel || matches!(m, Method::ChannelClose(_)));
            }
            Method::ConfirmSelect(_) => {
                self.published.entry(channel).or_default();
                self.questions.push_back((channel, method));
            }
            Method::BasicPublish(_) => {
                self.published.entry(channel).and_modify(|n| *n += 1);
            }
            method => self.questions.push_back((channel, method)),
        }
    }

    /// Answers the oldest question on a channel.
    fn answer(&mut self, channel: u16) -> Option<BytesMut> {
        let at = self.questions.iter().position(|(c, _)| *c == channel)?;
        if self.closing.contains(&channel) {
            return None;
        }
        let (_, question) = self.questions.remove(at)?;
        let consumer_tag = ShortStr::from_static("c");
        let answer: Method = match question {
            Method::ConnectionClose(_) => connection::CloseOk {}.into(),
            Method::ChannelOpen(_) => {
                self.open.insert(channel);
                channel::OpenOk {}.into()
            }
            Method::ChannelClose(_) => {
                self.forget(channel);
                channel::CloseOk {}.into()
            }
            Method::ConfirmSelect(_) => confirm::SelectOk {}.into(),
            Method::BasicConsume(_) => basic::ConsumeOk { consumer_tag }.into(),
            Method::BasicCancel(_) => basic::CancelOk { consumer_tag }.into(),
            Method::BasicGet(_) if channel.is_multiple_of(2) => basic::GetEmpty {}.into(),
            Method::BasicGet(_) => {
                return Some(content(channel, get_ok(1), &Properties::new(), &[9; 20_000], 9000));
            }
            Method::BasicQos(_) => basic::QosOk {}.into(),
            Method::QueueDeclare(_) => queue::DeclareOk::default().into(),
            Method::TxCommit(_) => tx::CommitOk {}.into(),
            Method::TxRollback(_) => tx::RollbackOk {}.into(),
            _ => return None,
        };
        Some(method(channel, answer))
    }

    /// Confirms what was published, in any order.
    fn confirm(&self, channel: u16, tag: u64, multiple: bool, acked: bool) -> Option<BytesMut> {
        let published = self.published.get(&channel).filter(|_| self.open.contains(&channel))?;
        let tag = tag % (published + 1);
        match (tag > 0 || multiple, acked) {
            (false, _) => None,
            (true, true) => Some(method(channel, ack(tag, multiple))),
            (true, false) => Some(method(channel, nack(tag, multiple))),
        }
    }

    fn close(&mut self, channel: u16) -> Option<BytesMut> {
        if !self.open.contains(&channel) {
            return None;
        }
        self.forget(channel);
        self.closing.insert(channel);
        Some(method(channel, channel_close(404)))
    }

    fn forget(&mut self, channel: u16) {
        self.open.remove(&channel);
        self.published.remove(&channel);
    }
}
