use std::collections::BTreeMap;
use std::time::Duration;

use bytes::BytesMut;
use hopmq_proto::amqp::{Method, ShortStr, basic, channel, connection};
use hopmq_proto::broker::{Broker, Config, Connection, ConnectionId, Disk, Event, Peer};
use hopmq_proto::{Engine, Instant, Want};

use super::super::broker_input::login;
use super::super::script::Script;
use super::disk::{self, Before, Published};
use super::ear::{self, Ear, Over, Settled};
use super::looks::{Cuts, Looks, Trace};
use super::{peer, words};

const LINKS: usize = 3;
/// What clients and broker have agreed on, in octets.
const FRAME_MAX: u32 = 8192;
/// Small, so that an outbox that is full is not rare.
const MAX_OUTBOX: usize = 8000;
/// What one call may add to an outbox that was within its bounds: the answers to a chunk, all of whose messages may come
/// back, and one message.
const ONE_CALL: usize = 192 * 1024;
/// How often a connection may be due at one and the same time.
const DUE_AT_ONCE: usize = 16;
/// How often all have to read until nothing waits any more.
const ROUNDS: usize = 100;
/// More than a frame, of which a beginning may wait for ever.
const FRAME: usize = 10_000;

/// Three clients of a broker, who do what the script says: methods with arguments of all kinds, publishes, settlements,
/// time, a reader who does not read, raw bytes, the end of the stream.
///
/// Each question is answered once, by its own answer, or its channel or connection is closed; a publish is confirmed once,
/// and before the end; tags go up by one; a delivery goes to a consumer that is there; what was settled does not come
/// again; outboxes keep their bounds; every end is told once and last, and leaves nothing unsettled; of a crash durable
/// queues are left with their persistent messages, in order and marked. And all of it is the same, whoever looks, and however a method is cut.
///
/// # Panics
///
/// When it does not hold.
pub fn broker_ops(data: &[u8]) {
    let [once, again] = [false, true].map(|curious| {
        let mut script = Script::new(data);
        Run::new(script.next(), curious).run(&mut script)
    });
    once.assert_same(&again);
}

/// A link that is not at rest.
#[derive(Debug)]
struct Waits {
    /// Its number.
    #[expect(dead_code, reason = "for who reads of it")]
    at: usize,
    /// It has a close to answer.
    answers: bool,
    /// Octets that the broker has not read.
    unread: usize,
    /// Octets that nobody has read whom it has written to.
    unheard: usize,
}

struct Run {
    broker: Broker,
    links: Vec<Link>,
    now: Instant,
    published: Published,
    settled: Settled,
    /// Somebody has sent raw bytes: which messages there are, and who has settled them, is not known.
    tainted: bool,
    how: u8,
    looks: Looks,
    trace: Trace,
}

struct Link {
    id: ConnectionId,
    input: BytesMut,
    ear: Ear,
    /// How much of the outbox has been heard.
    heard: usize,
    opened: bool,
    closed: bool,
    /// It has sent raw bytes: what it is told is not looked at.
    tainted: bool,
    /// It is released, and another connection can take its place.
    gone: bool,
}

impl Link {
    fn new(broker: &mut Broker, now: Instant) -> Self {
        Self {
            id: broker.accept(Peer { loopback: true, name: "ops".into() }, now),
            input: BytesMut::new(),
            ear: Ear::new(),
            heard: 0,
            opened: false,
            closed: false,
            tainted: false,
            gone: false,
        }
    }
}

impl Run {
    fn new(how: u8, curious: bool) -> Self {
        let config = Config {
            max_outbox_bytes: MAX_OUTBOX,
            max_message_size: 1 << 16,
            max_unacked_per_channel: if how & 1 == 0 { 4 } else { 1_000_000 },
            max_consumers_per_channel: 3,
            max_queues_per_vhost: 6,
            max_bindings_per_vhost: 20,
            ..Config::default()
        };
        let mut broker = Broker::new(config);
        let now = Instant::from_nanos(1 << 40);
        let links = (0..LINKS).map(|_| Link::new(&mut broker, now)).collect();
        let (looks, trace) = (Looks::new(curious, Cuts::Curious), Trace::default());
        let (published, settled, tainted) = (Published::default(), Settled::new(), false);
        Self { broker, links, now, published, settled, tainted, how, looks, trace }
    }

    fn run(mut self, script: &mut Script<'_>) -> Trace {
        (0..LINKS).for_each(|at| self.feed(at, &login(FRAME_MAX, self.heartbeat(), true)));
        while let Some(step) = script.octet() {
            self.step(usize::from(step & 3) % LINKS, step >> 2 & 15, step >> 6, script);
            self.end_step();
        }
        self.finish();
        self.trace
    }

    fn step(&mut self, at: usize, what: u8, number: u8, script: &mut Script<'_>) {
        let number = u16::from(number) + 1;
        match what {
            0 => self.open_channel(at, number),
            1..=4 => {
                let kind = script.next();
                let method = words::call(kind, kind & 0xE0 == 0xE0, script);
                self.ask(at, number, method);
            }
            5 | 6 => self.publish(at, number, script),
            7 | 8 => self.settle(at, number, script),
            9 => self.burst(at, number, script),
            10 => self.drain(at, script.next()),
            11 => self.pass(Duration::from_millis(u64::from(script.next()) << (number * 3))),
            12 => self.raw(at, number, script),
            13 => self.end(at, script.next()),
            14 => self.close_channel(at, number, script.next()),
            _ => {
                self.drain(at, 0);
                self.answer_closes(at);
            }
        }
    }

    // What clients do.

    /// Seconds, or none.
    const fn heartbeat(&self) -> u16 {
        if self.how & 4 == 0 { 0 } else { 10 }
    }

    fn may_ask(&mut self, at: usize) -> bool {
        let link = &self.links[at];
        let reads = self.broker.connection(link.id).is_some_and(|it| it.want() == Want::ReadWrite);
        reads && link.opened && !link.closed && link.ear.over.is_none() && link.input.is_empty()
    }

    fn open_channel(&mut self, at: usize, number: u16) {
        let ear = &self.links[at].ear;
        let is_free = !ear.channels.contains_key(&number) && !ear.closing.contains(&number);
        let method = if is_free { channel::Open {}.into() } else { basic::Qos::default().into() };
        self.ask(at, number, method);
    }

    /// Sends a method on a channel, whether it is open or not.
    fn ask(&mut self, at: usize, number: u16, method: Method) {
        let mut bytes = BytesMut::new();
        let method = words::with_tag(method);
        if !self.may_ask(at) || method.id().0 < 20 {
            return;
        }
        peer::method(&mut bytes, number, method.clone());
        if bytes.len() > FRAME_MAX as usize {
            return self.send_raw(at, &bytes); // behind such a frame the broker is deaf
        }
        let no_wait = says_no_wait(&method);
        let ear = &mut self.links[at].ear;
        if matches!(method, Method::ChannelOpen(_)) && !ear.closing.contains(&number) {
            ear.channels.entry(number).or_default(); // one that is open is closed for it
        }
        let known = self.links[at].ear.channels.get_mut(&number);
        let Some(channel) = known else {
            // The broker drops it on a channel that it has closed; otherwise that is a fault.
            return self.feed(at, &bytes);
        };
        if !no_wait && is_question(&method) {
            channel.questions.push_back(method.clone());
        }
        if no_wait {
            channel.on_no_wait(&method); // of one that fails nothing is left
        }
        self.feed(at, &bytes);
    }

    fn publish(&mut self, at: usize, number: u16, script: &mut Script<'_>) {
        let mut bytes = BytesMut::new();
        let persistent = self.message(number, script, &mut bytes);
        if !self.may_ask(at) {
            return;
        }
        self.published.add(self.links[at].id, persistent);
        if let Some(channel) = self.links[at].ear.channels.get_mut(&number) {
            channel.on_publish();
        }
        self.feed(at, &bytes);
    }

    /// Several at once, whose confirms may be one.
    fn burst(&mut self, at: usize, number: u16, script: &mut Script<'_>) {
        let mut bytes = BytesMut::new();
        let count = script.next() % 8;
        for _ in 0..count {
            let persistent = self.message(number, script, &mut bytes);
            self.published.add(self.links[at].id, persistent);
        }
        if !self.may_ask(at) {
            return;
        }
        if let Some(channel) = self.links[at].ear.channels.get_mut(&number) {
            (0..count).for_each(|_| channel.on_publish());
        }
        self.feed_whole(at, &bytes);
    }

    /// Writes the next message; returns whether it is to be kept on the disk.
    fn message(&mut self, number: u16, script: &mut Script<'_>, out: &mut BytesMut) -> bool {
        let (how, len) = (script.next(), words::body_len(script.next()));
        let exchange = if how & 16 == 0 { ShortStr::empty() } else { words::exchange(script) };
        let publish = basic::Publish {
            exchange,
            routing_key: words::key(script),
            mandatory: how & 8 != 0,
            immediate: how == 255,
        };
        let (properties, body) = (words::properties(how), ear::body(self.published.count(), len));
        peer::content(out, number, publish, &properties, &body);
        properties.delivery_mode == Some(2)
    }

    fn settle(&mut self, at: usize, number: u16, script: &mut Script<'_>) {
        let (which, how) = (script.next(), script.next());
        let (multiple, requeue) = (how & 1 != 0, how & 2 != 0);
        let Some(channel) = self.links[at].ear.channels.get(&number).filter(|it| it.open) else { return };
        let all: Vec<u64> = channel.unacked.keys().copied().collect();
        let known = all.get(usize::from(which) % all.len().max(1)).copied();
        if !self.may_ask(at) {
            return;
        }
        let delivery_tag = if which == 255 { 1000 } else { known.unwrap_or(1000) }; // that is a fault
        let mut bytes = BytesMut::new();
        let requeues = match how >> 2 & 3 {
            0 | 1 => {
                peer::method(&mut bytes, number, basic::Ack { delivery_tag, multiple });
                false
            }
            2 => {
                peer::method(&mut bytes, number, basic::Nack { delivery_tag, multiple, requeue });
                requeue
            }
            _ => {
                peer::method(&mut bytes, number, basic::Reject { delivery_tag, requeue });
                requeue
            }
        };
        let multiple = multiple && how >> 2 & 3 < 3;
        // What it makes the broker deliver comes behind it.
        if let Some(channel) = self.links[at].ear.channels.get_mut(&number)
            && delivery_tag != 1000
        {
            channel.on_settled(delivery_tag, multiple, requeues, &mut self.settled);
        }
        self.feed(at, &bytes);
    }

    fn close_channel(&mut self, at: usize, number: u16, how: u8) {
        if how & 3 != 0 {
            self.answer_closes(at);
        } else if self.links[at].ear.channels.contains_key(&number) {
            self.ask(at, number, channel::Close::default().into());
        }
    }

    /// Answers the broker's closes.
    fn answer_closes(&mut self, at: usize) {
        let link = &mut self.links[at];
        let mut bytes = BytesMut::new();
        for number in std::mem::take(&mut link.ear.closing) {
            peer::method(&mut bytes, number, channel::CloseOk {});
        }
        if link.ear.over == Some(Over::ByBroker) {
            peer::method(&mut bytes, 0, connection::CloseOk {});
        }
        self.feed_whole(at, &bytes);
    }

    /// Bytes that mean anything or nothing.
    fn raw(&mut self, at: usize, number: u16, script: &mut Script<'_>) {
        let len = script.next();
        let bytes = script.take(usize::from(len >> 2));
        let mut out = BytesMut::new();
        match len & 3 {
            0 => out.extend_from_slice(bytes),
            kind => peer::frame(&mut out, kind, number - 1, bytes),
        }
        self.send_raw(at, &out);
    }

    fn send_raw(&mut self, at: usize, bytes: &[u8]) {
        self.links[at].tainted = true;
        self.tainted = true;
        self.feed(at, bytes);
    }

    /// A connection ends, in one way or another, or another one takes the place of one that has.
    fn end(&mut self, at: usize, how: u8) {
        if self.links[at].gone {
            self.links[at] = Link::new(&mut self.broker, self.now);
            return self.feed(at, &login(FRAME_MAX, self.heartbeat(), true));
        }
        match how % 8 {
            0 => self.with(at, |connection, _, now| connection.handle_eof(now)),
            1 if self.may_ask(at) => {
                let mut bytes = BytesMut::new();
                peer::method(&mut bytes, 0, connection::Close { reply_code: 200, ..Default::default() });
                self.feed(at, &bytes);
            }
            2 if self.links[at].closed => self.release(at),
            3 => self.release(at),
            4 if how & 0x70 == 0 => {
                self.broker.shutdown(self.now);
                self.hear_all();
            }
            7 if how & 0x70 == 0x70 => self.crash(if how & 0x80 == 0 { Disk::Kept } else { Disk::Lost }),
            _ => {}
        }
    }

    /// The broker is killed and started again: nobody is told, and what it had on its disk is there.
    fn crash(&mut self, disk: Disk) {
        let mut held: BTreeMap<ShortStr, Vec<u64>> = BTreeMap::new();
        for channel in self.links.iter().filter(|it| !it.closed).flat_map(|it| it.ear.channels.values()) {
            for (queue, number) in channel.unacked.values() {
                held.entry(queue.clone()).or_default().extend(number);
            }
        }
        let before = Before::new(&self.broker, disk, held);
        self.broker.crash(disk);
        assert_eq!(self.broker.connections(), 0, "a connection has outlived the broker");
        for link in &mut self.links {
            assert!(self.broker.connection(link.id).is_none(), "{:?} has outlived the broker", link.id);
            (link.gone, link.closed) = (true, true);
        }
        let left = disk::left(&mut self.broker, FRAME_MAX, self.now);
        self.trace.note(format!("{left:?}"));
        if !self.tainted {
            self.published.check(&before, &left, &self.broker, &mut self.settled);
        }
    }

    fn release(&mut self, at: usize) {
        self.broker.release(self.links[at].id, self.now);
        (self.links[at].gone, self.links[at].closed) = (true, true);
        self.hear_all();
    }

    // The engine.

    fn feed(&mut self, at: usize, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(self.looks.piece(rest.len()));
            self.feed_whole(at, piece);
            rest = behind;
        }
    }

    fn feed_whole(&mut self, at: usize, bytes: &[u8]) {
        self.links[at].input.extend_from_slice(bytes);
        self.with(at, |connection, input, now| {
            if connection.want() == Want::ReadWrite {
                connection.handle_input(input, now);
            }
        });
    }

    /// Does something with a connection, and hears what comes of it.
    fn with(&mut self, at: usize, work: impl FnOnce(&mut Connection<'_>, &mut BytesMut, Instant)) {
        let link = &mut self.links[at];
        let Some(mut connection) = self.broker.connection(link.id) else { return };
        work(&mut connection, &mut link.input, self.now);
        self.hear_all();
        self.look();
    }

    /// Hears what is newly queued.
    fn hear_all(&mut self) {
        for link in &mut self.links {
            let Some(mut connection) = self.broker.connection(link.id) else { continue };
            while let Some(event) = connection.poll_event() {
                self.trace.note(format!("{event:?}"));
                assert!(!link.closed, "{event:?} after the terminal event");
                match event {
                    Event::Opened { .. } => link.opened = true,
                    Event::Closed { .. } => link.closed = true,
                }
            }
            assert_eq!(link.closed, connection.want() == Want::Shutdown);
            let outbox = connection.outbox();
            let len = outbox.len();
            assert!(len <= 4 * MAX_OUTBOX + ONE_CALL, "an outbox without bound: {len}");
            if link.closed || link.tainted {
                link.heard = len; // in front of the last word, what waits may be dropped
                continue;
            }
            assert!(len >= link.heard, "the broker takes back what it has queued");
            let new: Vec<u8> = outbox.chunks().flatten().copied().skip(link.heard).collect();
            link.heard = len;
            if self.tainted {
                self.settled.clear();
            }
            link.ear.hear(&new, &mut self.settled);
        }
    }

    /// Reads what waits for a client, or some of it.
    fn drain(&mut self, at: usize, some: u8) {
        let link = &mut self.links[at];
        let Some(mut connection) = self.broker.connection(link.id) else { return };
        let outbox = connection.outbox();
        let len = if some == 0 { outbox.len() } else { outbox.len().min(usize::from(some) * 16) };
        outbox.consume(len);
        link.heard -= len.min(link.heard);
        let resumes = connection.poll_timeout().is_some_and(|due| due <= self.now);
        if resumes {
            self.with(at, |connection, _, now| connection.handle_timeout(now));
        }
        self.feed_whole(at, &[]);
    }

    /// Time goes on, from deadline to deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut at_once = 0;
        while let Some((due, at)) = self.next_due().filter(|(due, _)| *due <= end) {
            at_once = if due > self.now { 0 } else { at_once + 1 };
            assert!(at_once < DUE_AT_ONCE * LINKS, "{due:?} is due, and stays so");
            self.now = self.now.max(due);
            self.with(at, |connection, _, now| connection.handle_timeout(now));
        }
        self.now = end;
    }

    fn next_due(&mut self) -> Option<(Instant, usize)> {
        let all = self.links.iter().enumerate();
        all.filter_map(|(at, link)| Some((self.broker.connection(link.id)?.poll_timeout()?, at))).min()
    }

    fn look(&mut self) {
        for _ in 0..self.looks.draw(3) {
            let at = usize::try_from(self.looks.draw(LINKS as u64)).unwrap_or(0);
            let Some(mut connection) = self.broker.connection(self.links[at].id) else { continue };
            match self.looks.draw(4) {
                0 => assert_eq!(connection.want(), connection.want()),
                1 => {
                    let outbox = connection.outbox();
                    assert_eq!(outbox.chunks().map(<[u8]>::len).sum::<usize>(), outbox.len());
                }
                2 if connection.poll_timeout().is_none_or(|due| due > self.now) => {
                    connection.handle_timeout(self.now);
                }
                _ => {
                    let _ = (self.broker.queue("/", "q0"), self.broker.connections());
                }
            }
        }
    }

    fn end_step(&mut self) {
        self.hear_all();
        while self.broker.poll_touched().is_some() {}
        for link in &self.links {
            if let Some(mut connection) = self.broker.connection(link.id) {
                self.trace.note((connection.outbox().len(), connection.poll_timeout(), connection.want()));
            }
        }
        self.trace.end_step();
    }

    // The end.

    /// Who has something to read, to be heard, or to answer.
    fn who_waits(&mut self) -> Vec<Waits> {
        let all = self.links.iter().enumerate().filter_map(|(at, link)| {
            let ear = &link.ear;
            let answers = !link.closed && (!ear.closing.is_empty() || ear.over == Some(Over::ByBroker));
            let mut connection = self.broker.connection(link.id)?;
            let unread = if connection.want() == Want::ReadWrite { link.input.len() } else { 0 };
            let (answers, unheard) = (answers && !link.tainted, connection.outbox().len());
            Some(Waits { at, answers, unread, unheard })
        });
        all.filter(|it| it.answers || it.unread >= FRAME || it.unheard > 0).collect()
    }

    /// Whoever is there reads everything, and is told everything; then all go.
    fn finish(&mut self) {
        let mut rounds = 0;
        loop {
            let waits = self.who_waits();
            if waits.is_empty() {
                break;
            }
            rounds += 1;
            assert!(rounds < ROUNDS, "there is always more: {waits:?}");
            for at in 0..LINKS {
                self.drain(at, 0);
                self.answer_closes(at);
            }
        }
        self.end_step();
        for link in self.links.iter().filter(|link| link.opened && !link.closed && !link.tainted) {
            for (number, channel) in &link.ear.channels {
                let (asked, unconfirmed) = (&channel.questions, &channel.unconfirmed);
                assert!(asked.is_empty(), "nobody answers {asked:?} on {number}");
                assert!(unconfirmed.is_empty(), "nobody confirms {unconfirmed:?} on {number}");
            }
        }
        if self.how & 2 != 0 {
            self.broker.shutdown(self.now);
            self.pass(Duration::from_secs(1000));
            let open = self.links.iter().filter(|link| !link.closed).count();
            assert_eq!(open, 0, "after a shutdown and all deadlines");
        }
        for at in 0..LINKS {
            self.with(at, |connection, _, now| connection.handle_eof(now));
            assert!(self.links[at].closed, "there was no terminal event");
            self.release(at);
        }
        assert_eq!(self.broker.connections(), 0);
        for queue in ["q0", "q1", "q2", "amq.gen-0"] {
            let stats = self.broker.queue("/", queue);
            assert!(stats.is_none_or(|it| it.unacked + it.consumers == 0), "{stats:?} without a connection");
        }
    }
}

/// Whether the broker answers a method, or would without `no_wait`.
fn is_question(method: &Method) -> bool {
    let (class, number) = method.id();
    match class {
        20 => matches!(number, 10 | 20 | 40),
        30 => number == 10,
        40 | 50 => matches!(number, 10 | 20 | 30 | 40 | 50),
        60 => matches!(number, 10 | 20 | 30 | 70 | 110),
        _ => matches!(number, 10 | 20 | 30), // of confirm and tx
    }
}

fn says_no_wait(method: &Method) -> bool {
    match method {
        Method::ExchangeDeclare(it) => it.no_wait,
        Method::ExchangeDelete(it) => it.no_wait,
        Method::ExchangeBind(it) => it.no_wait,
        Method::ExchangeUnbind(it) => it.no_wait,
        Method::QueueDeclare(it) => it.no_wait,
        Method::QueueBind(it) => it.no_wait,
        Method::QueuePurge(it) => it.no_wait,
        Method::QueueDelete(it) => it.no_wait,
        Method::BasicConsume(it) => it.no_wait,
        Method::BasicCancel(it) => it.no_wait,
        Method::ConfirmSelect(it) => it.no_wait,
        _ => false,
    }
}
