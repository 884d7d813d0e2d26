use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hopmq_proto::amqp::{
    FieldTable, LongStr, Method, Properties, Publish, Secret, ShortStr, basic, channel, confirm, connection,
    queue, tx, write_method,
};
use hopmq_proto::client::{
    ChannelId, Config, Confirmation, Connection, DeliveryId, Event, Reply, Settle, Token,
};
use hopmq_proto::{Engine, Instant, Want};

use super::script::Script;

/// The largest body that the client accepts.
const MAX_BODY: usize = 20_000;
/// The longest method that the script below sends, or a frame of a publish around its body.
const MAX_FRAMES: usize = 600;

/// A client, open or in its handshake, among commands, time and whatever the server sends.
///
/// The first octet says how the client starts, and how many octets of the server come at once. Then come steps: an
/// octet that says what happens, and what it needs of the octets behind it. See `Run::step`.
///
/// Nothing panics; each token is resolved once, the terminal event comes once and last; what waits has a deadline;
/// messages and outbox keep within their bounds.
pub fn client_input(data: &[u8]) {
    client_input_watched(data, true, |_| ());
}

/// The same, by an owner who takes events at once, or only when it is told to read no more; `watch` looks on.
pub fn client_input_watched(data: &[u8], takes_events: bool, watch: impl FnMut(Watched)) {
    let Some((&how, script)) = data.split_first() else { return };
    let mut run = Run::new(how, data.len(), takes_events, watch);
    let mut script = Script::new(script);
    while let Some(step) = script.octet() {
        run.step(step, &mut script);
        run.check();
    }
    run.end();
}

/// What state a script brings the client to, in words.
pub fn client_input_state(data: &[u8]) -> String {
    let Some((&how, script)) = data.split_first() else { return String::new() };
    let mut run = Run::new(how, data.len(), true, |_| ());
    let mut script = Script::new(script);
    while let Some(step) = script.octet() {
        run.step(step, &mut script);
        run.check();
    }
    format!("{:?}", run.engine)
}

/// What a watcher cannot see from outside.
#[derive(Debug, Clone, Copy)]
pub enum Watched {
    /// Everything is set up, the client in its handshake.
    Start,
    /// Something has happened, and octets wait to be written.
    Step {
        /// How many.
        outbox: usize,
    },
}

/// The configuration of the client.
pub fn client_input_config() -> Config {
    Config {
        max_body_size: MAX_BODY,
        max_event_bytes: 10_000,
        max_outbox: 4000,
        max_calls: 4,
        max_unconfirmed: 4,
        ..Config::default()
    }
}

struct Run<W> {
    watch: W,
    takes_events: bool,
    engine: Connection,
    now: Instant,
    input: BytesMut,
    /// How many octets of the server come at once.
    chunk: usize,
    channels: Vec<ChannelId>,
    deliveries: VecDeque<DeliveryId>,
    /// Tokens that must be resolved yet, and the channel of those that can be abandoned.
    waiting: Vec<(Token, Option<ChannelId>)>,
    done: HashSet<Token>,
    opened: bool,
    ended: bool,
    /// The most that the outbox can hold: what was commanded, and an answer to each octet that came.
    outbox_bound: usize,
}

impl<W: FnMut(Watched)> Run<W> {
    /// All that grows with `steps` is reserved now, so that a watcher of the memory sees the client alone.
    fn new(how: u8, steps: usize, takes_events: bool, watch: W) -> Self {
        let now = Instant::from_nanos(1 << 40);
        let mut run = Self {
            watch,
            takes_events,
            engine: Connection::new(client_input_config(), now),
            now,
            input: BytesMut::new(),
            chunk: [1, 2, 3, 7, 8, 64, 4096, usize::MAX][usize::from(how >> 5)],
            channels: Vec::with_capacity(steps + 1),
            deliveries: VecDeque::with_capacity(steps),
            waiting: Vec::with_capacity(steps + 1),
            done: HashSet::with_capacity(steps + 1),
            opened: false,
            ended: false,
            outbox_bound: 1000,
        };
        (run.watch)(Watched::Start);
        let heartbeat = u16::from(how >> 3 & 3);
        let opening: [Method; 3] = [
            connection::Start {
                version_major: 0,
                version_minor: 9,
                server_properties: FieldTable::new(),
                mechanisms: LongStr::from_static("PLAIN"),
                locales: LongStr::from_static("en_US"),
            }
            .into(),
            connection::Tune { channel_max: 3, frame_max: 8192, heartbeat }.into(),
            connection::OpenOk {}.into(),
        ];
        opening.into_iter().take((how & 3).into()).for_each(|method| run.send(0, method));
        if how & 7 == 7 {
            run.command(0, 0);
            run.send(1, channel::OpenOk {});
        }
        run
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        let detail = step >> 3;
        match step & 7 {
            0 => {
                let n = script.next();
                self.receive(script.take(n.into()));
            }
            1 => self.command(detail, script.next()),
            2 => self.answer(u16::from(detail & 3), script.next()),
            3 => self.content(u16::from(detail & 3), detail >> 2, script.next()),
            4 => self.pass(Duration::from_millis(u64::from(script.next()) << detail.min(10))),
            5 => {
                let outbox = self.engine.outbox();
                outbox.consume(usize::from(script.next()) << detail.min(10));
            }
            6 => self.engine.set_paused(detail & 1 != 0, self.now),
            _ if detail == 0 => self.engine.handle_eof(self.now),
            _ if detail == 1 => self.engine.handle_transport_error("reset".to_owned(), self.now),
            _ => self.receive(&[script.next()]),
        }
    }

    /// The owner of the client does something.
    fn command(&mut self, what: u8, detail: u8) {
        let now = self.now;
        self.outbox_bound += MAX_FRAMES;
        let id = self.channels.get(usize::from(detail) % self.channels.len().max(1)).copied();
        let token = match (what % 8, id) {
            (0, _) => self.engine.open_channel(now).ok().map(|(id, token)| {
                self.channels.push(id);
                (token, Some(id))
            }),
            (1, Some(id)) => self.engine.close_channel(id, now).ok().map(|token| (token, Some(id))),
            (2 | 3, Some(id)) => self.engine.call(id, call(detail), now).ok().map(|token| (token, Some(id))),
            (4, Some(id)) => self.publish(id, detail).map(|token| (token, None)),
            (5, _) => {
                self.settle(detail);
                None
            }
            (6, _) => {
                self.abandon(detail);
                None
            }
            (7, _) if detail == 0 => self.engine.close(now).ok().map(|token| (token, None)),
            (7, _) if detail == 255 => {
                self.engine.abort(now);
                None
            }
            (7, _) if detail & 1 == 0 => {
                let (secret, reason) =
                    (Secret::new(LongStr::from_static("new")), ShortStr::from_static("a test"));
                self.engine.update_secret(secret, reason, now).ok().map(|token| (token, None))
            }
            (7, Some(id)) => self.engine.await_confirms(id).ok().map(|token| (token, Some(id))),
            _ => None,
        };
        self.waiting.extend(token);
    }

    fn publish(&mut self, id: ChannelId, detail: u8) -> Option<Token> {
        let publish = Publish { routing_key: b"k", mandatory: detail & 1 != 0, ..Default::default() };
        let body = Bytes::from(vec![7; usize::from(detail) * 40]);
        let room = self.engine.outbox().len();
        let published = self.engine.publish(id, &publish, &Properties::new(), &body, self.now);
        self.outbox_bound += body.len() + body.len() / 1000 * 8;
        assert!(published.is_err() || room < 4000, "a publish into a full outbox");
        published.ok().flatten()
    }

    fn settle(&mut self, detail: u8) {
        let Some(id) = self.deliveries.pop_front() else { return };
        let (multiple, requeue) = (detail & 1 != 0, detail & 2 != 0);
        let settle = match detail >> 2 & 3 {
            0 | 1 => Settle::Ack { multiple },
            2 => Settle::Nack { multiple, requeue },
            _ => Settle::Reject { requeue },
        };
        let _ = self.engine.settle(id, settle, self.now);
    }

    fn abandon(&mut self, detail: u8) {
        let at = usize::from(detail) % self.waiting.len().max(1);
        if !self.takes_events {
            return; // its event may wait already
        }
        if let Some(&(token, Some(id))) = self.waiting.get(at) {
            self.engine.abandon(id, token);
            let _ = self.waiting.swap_remove(at);
            self.done.insert(token);
        }
    }

    /// The server sends a method that may well fit.
    fn answer(&mut self, channel: u16, which: u8) {
        let consumer_tag = ShortStr::from_static("c");
        let (delivery_tag, multiple) = (u64::from(which >> 5), which & 16 != 0);
        let method: Method = match which % 16 {
            0 => channel::OpenOk {}.into(),
            1 => channel::CloseOk {}.into(),
            2 => basic::ConsumeOk { consumer_tag }.into(),
            3 => basic::CancelOk { consumer_tag }.into(),
            4 => basic::Cancel { consumer_tag, no_wait: multiple }.into(),
            5 => confirm::SelectOk {}.into(),
            6 | 7 => basic::Ack { delivery_tag, multiple }.into(),
            8 => basic::Nack { delivery_tag, multiple, requeue: false }.into(),
            9 => queue::DeclareOk::default().into(),
            10 if multiple => basic::QosOk {}.into(),
            10 => basic::GetEmpty {}.into(),
            11 => channel::Flow { active: multiple }.into(),
            12 if multiple => channel::Close::default().into(),
            12 => connection::Blocked::default().into(),
            13 => connection::Unblocked {}.into(),
            14 if multiple => connection::Close::default().into(),
            14 => connection::CloseOk {}.into(),
            _ => match which >> 5 {
                1 => tx::SelectOk {}.into(),
                2 => tx::CommitOk {}.into(),
                3 => tx::RollbackOk {}.into(),
                4 => connection::UpdateSecretOk {}.into(),
                _ => connection::OpenOk {}.into(),
            },
        };
        self.send(channel, method);
    }

    /// The server begins a message, and ends it when its size is small.
    fn content(&mut self, channel: u16, what: u8, size: u8) {
        let consumer_tag = ShortStr::from_static("c");
        let routing_key = ShortStr::from_static("k");
        let delivery_tag = u64::from(size);
        let method: Method = match what & 3 {
            0 | 1 => basic::Deliver { consumer_tag, delivery_tag, routing_key, ..Default::default() }.into(),
            2 => basic::GetOk { delivery_tag, routing_key, ..Default::default() }.into(),
            _ => basic::Return { reply_code: 312, routing_key, ..Default::default() }.into(),
        };
        self.send(channel, method);
        let [c1, c0] = channel.to_be_bytes();
        let len = usize::from(size) * 40;
        let mut header = vec![2, c1, c0, 0, 0, 0, 14, 0, 60, 0, 0];
        header.extend((len as u64).to_be_bytes());
        header.extend([0, 0, 0xce]);
        self.receive(&header);
        for piece in vec![7; len].chunks(8100).filter(|_| size < 250) {
            let mut body = vec![3, c1, c0];
            body.extend(u32::try_from(piece.len()).unwrap_or(0).to_be_bytes());
            body.extend(piece);
            body.push(0xce);
            self.receive(&body);
        }
    }

    fn send(&mut self, channel: u16, method: impl Into<Method>) {
        let mut frame = BytesMut::new();
        let written = write_method(&mut frame, channel, 8192, &method.into());
        assert_eq!(written, Ok(()));
        self.receive(&frame);
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.outbox_bound += bytes.len() + MAX_FRAMES * usize::from(!self.waiting.is_empty());
        for chunk in bytes.chunks(self.chunk) {
            self.input.extend_from_slice(chunk);
            self.engine.handle_input(&mut self.input, self.now);
            self.check();
        }
    }

    /// Time goes on, from deadline to deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.now);
            self.check();
        }
        self.now = end;
    }

    /// Takes the events, and looks at what must always hold.
    fn check(&mut self) {
        let queued = self.engine.outbox().len();
        (self.watch)(Watched::Step { outbox: queued });
        if self.takes_events || self.engine.want() != Want::ReadWrite {
            self.take_events();
        }
        assert!(queued <= self.outbox_bound, "{queued} octets queued, {} explained", self.outbox_bound);
        assert!(self.input.len() <= 8192, "more than a frame is left");
        if self.takes_events && !self.waiting.is_empty() {
            assert!(self.engine.poll_timeout().is_some(), "{:?} wait without a deadline", self.waiting);
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            assert!(!self.ended, "after the terminal event: {event:?}");
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Reply { token, result } => {
                self.resolve(token);
                if let Ok(Reply::Message { delivery, .. }) = result {
                    assert!(delivery.message.size() <= MAX_BODY + 8192);
                    self.deliveries.extend(delivery.id);
                }
            }
            Event::Confirmed { token, result } => {
                self.resolve(token);
                if let Ok(Confirmation::Returned(returned)) = result {
                    assert!(returned.message.body().len() <= MAX_BODY);
                }
            }
            Event::Delivery { delivery, .. } => {
                assert!(delivery.message.size() <= MAX_BODY + 8192);
                let _ = delivery.message.properties();
                self.deliveries.extend(delivery.id);
            }
            Event::Opened(_) => self.opened = true,
            Event::Closed { .. } => {
                assert!(self.waiting.is_empty(), "at the end {:?} wait", self.waiting);
                self.ended = true;
            }
            _ => {}
        }
    }

    fn resolve(&mut self, token: Token) {
        assert!(self.done.insert(token), "{token:?} is resolved twice, or was abandoned");
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == token);
        let _ = at.map_or_else(|| panic!("{token:?} was never given"), |at| self.waiting.swap_remove(at));
    }

    /// All deadlines pass, then the stream ends.
    fn end(&mut self) {
        self.now = self.now + Duration::from_secs(1 << 20);
        self.engine.handle_timeout(self.now);
        self.check();
        self.take_events();
        assert!(self.waiting.is_empty(), "after all deadlines {:?} wait", self.waiting);
        assert!(self.opened || self.ended, "after all deadlines the handshake goes on");
        self.engine.handle_eof(self.now);
        self.check();
        self.take_events();
        assert!(self.ended, "there was no terminal event");
        assert!(self.engine.outbox().is_empty(), "there is nobody to write to");
    }
}

fn call(kind: u8) -> Method {
    let queue = ShortStr::from_static("q");
    match kind % 8 {
        0 => confirm::Select { no_wait: false }.into(),
        1 => basic::Consume { queue, ..Default::default() }.into(),
        2 => basic::Consume { queue, no_ack: true, ..Default::default() }.into(),
        3 => basic::Get { queue, no_ack: kind & 8 != 0 }.into(),
        4 => basic::Cancel { consumer_tag: ShortStr::from_static("c"), no_wait: false }.into(),
        5 => basic::Qos::default().into(),
        6 => queue::Declare { queue, ..Default::default() }.into(),
        _ => match kind >> 3 & 3 {
            1 => tx::Select {}.into(),
            2 => tx::Commit {}.into(),
            3 => tx::Rollback {}.into(),
            _ => basic::Ack::default().into(), // not a call
        },
    }
}
