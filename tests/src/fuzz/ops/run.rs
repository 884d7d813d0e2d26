use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hopmq_proto::amqp::{HEARTBEAT_FRAME, Method, basic, channel, connection};
use hopmq_proto::client::Config;
use hopmq_proto::{Instant, Want};

use super::super::script::Script;
use super::engine::Client;
use super::ledger::{Ledger, Waits};
use super::looks::{Looks, Trace};
use super::server::{Fates, Server};
use super::words;

/// More than a client needs to come to rest with a server that answers everything.
const ROUNDS: usize = 2000;
/// How often an engine may be due at one and the same time.
const DUE_AT_ONCE: usize = 16;

/// A client or session, its server, and the transport between them.
pub(super) struct Run<C> {
    pub(super) engine: C,
    pub(super) ledger: Ledger,
    pub(super) now: Instant,
    /// How many messages the owner has tried to publish.
    pub(super) published: u64,
    setup: Setup,
    /// What was read, and is not whole yet.
    input: BytesMut,
    /// What the server has written, and nobody has read.
    wire: BytesMut,
    /// The server's end of the transport, if there is one.
    server: Option<Server>,
    fates: Fates,
    looks: Looks,
    trace: Trace,
    paused: bool,
    /// The most that the outbox can hold: what was commanded, and an answer to each octet that came.
    explained: usize,
    /// The same, for all that may be said again by the next life.
    again: usize,
}

/// How a run begins and ends, and what its server offers.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) config: Config,
    pub(super) tune: connection::Tune,
    /// There is a transport from the beginning.
    pub(super) connected: bool,
    /// The handshake is done before the first step.
    opens: bool,
    end: u8,
}

impl Setup {
    pub(super) fn read(script: &mut Script<'_>, connected: bool) -> Self {
        let (how, server) = (script.next(), script.next());
        let seconds = Duration::from_secs;
        let small = Config {
            max_body_size: 20_000,
            max_event_bytes: 10_000,
            max_outbox: 4000,
            max_calls: 4,
            max_unconfirmed: 4,
            ..Config::default()
        };
        let config = match how & 3 {
            0 => Config { max_outbox: 1, max_calls: 1, max_unconfirmed: 1, max_event_bytes: 1, ..small },
            1 => small,
            2 => Config { call_timeout: seconds(1), confirm_timeout: seconds(1), ..small },
            _ => Config { max_body_size: 20_000, ..Config::default() },
        };
        let channel_max = [2047, 1, 3, 0][usize::from(server >> 2 & 3)];
        let frame_max = [8192, 0, 131_072, 4096][usize::from(server >> 4 & 3)];
        Self {
            config,
            tune: connection::Tune { channel_max, frame_max, heartbeat: (server & 3).into() },
            connected,
            opens: how & 4 == 0,
            end: how >> 4,
        }
    }
}

/// What an engine shows, so that a command that is refused can be seen to have changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    outbox: usize,
    due: Option<Instant>,
    want: Want,
}

impl<C: Client> Run<C> {
    pub(super) fn new(engine: C, setup: Setup, now: Instant, looks: Looks) -> Self {
        let server = setup.connected.then(|| Server::new(setup.tune.clone()));
        Self {
            engine,
            ledger: Ledger::default(),
            now,
            published: 0,
            setup,
            input: BytesMut::new(),
            wire: BytesMut::new(),
            server,
            fates: Fates::default(),
            looks,
            trace: Trace::default(),
            paused: false,
            explained: 4000,
            again: 4000,
        }
    }

    /// Runs a script to the end of the engine, and tells what came of each step.
    pub(super) fn run(mut self, script: &mut Script<'_>) -> Trace {
        if self.setup.opens {
            self.dial(0);
            (0..3).for_each(|_| self.serve());
            self.end_step();
        }
        while let Some(step) = script.octet() {
            self.step(step & 15, step >> 4, script);
            self.end_step();
        }
        self.finish();
        self.trace
    }

    fn step(&mut self, what: u8, detail: u8, script: &mut Script<'_>) {
        let number = u16::from(detail & 3) + 1;
        match what {
            0 => self.open_channel(),
            1 => self.call(script.next(), script),
            2 => self.publish(script.next(), script),
            3 => self.settle(detail, script),
            4 => self.command(detail, script),
            5 => self.write(if detail == 0 { usize::from(script.next()) } else { usize::MAX }),
            6 => {
                let number = if detail == 15 { 0 } else { number };
                self.say(|server, fates| server.answer(number, detail >> 2, fates));
            }
            7 => {
                self.dial(0);
                self.serve();
            }
            8 => {
                let (which, len) = (script.next(), words::body_len(script.next()));
                self.say(|server, _| server.deliver(number, which, len));
            }
            9 => {
                let which = script.next();
                let (multiple, ack) = (detail & 4 != 0, detail & 8 == 0);
                self.say(|server, fates| server.confirm(number, which, multiple, ack, fates));
            }
            10 => self.whim(number, detail >> 2, script.next()),
            11 => self.pass(Duration::from_millis(u64::from(script.next()) << detail.min(12))),
            12 => self.pass_to_deadline(),
            13 => self.transport(detail),
            14 => self.taint(detail, script),
            _ => {
                for _ in 0..detail {
                    self.publish(script.next(), script);
                }
            }
        }
    }

    // The server.

    fn say(&mut self, what: impl FnOnce(&mut Server, &mut Fates) -> BytesMut) {
        if let Some(server) = &mut self.server {
            let bytes = what(server, &mut self.fates);
            self.wire.unsplit(bytes);
            self.read();
        }
    }

    /// Something that servers do when they like.
    fn whim(&mut self, number: u16, what: u8, detail: u8) {
        let code = [404, 403, 405, 406, 504, 311][usize::from(detail) % 6];
        let connection = [320, 530, 403, 501, 540, 402][usize::from(detail) % 6];
        self.say(|server, fates| {
            let oldest = if detail & 64 == 0 { server.oldest(number) } else { (0, 0) };
            match what {
                0 => server.give_back(number, detail, fates),
                1 => match detail >> 6 {
                    0 | 1 => server.close_channel(number, code, oldest),
                    2 => server.cancel(number, detail),
                    _ => server.say(number, channel::Flow { active: detail & 1 == 0 }),
                },
                2 => match detail >> 5 {
                    0 => server.block(true),
                    1 | 2 => server.block(false),
                    3 => server.close(connection, oldest),
                    _ => BytesMut::from(&HEARTBEAT_FRAME[..]),
                },
                _ => server.cancel(number, detail),
            }
        });
    }

    /// The server hears all and answers all, and the client reads it.
    fn serve(&mut self) {
        self.write(usize::MAX);
        self.say(Server::answer_all);
    }

    /// It says what it must not, or what nobody has asked for.
    fn taint(&mut self, detail: u8, script: &mut Script<'_>) {
        self.fates.tainted = true;
        let mut bytes = BytesMut::new();
        match detail & 3 {
            0 => bytes.extend_from_slice(script.take(usize::from(detail >> 2) * 8)),
            1 => super::peer::frame(&mut bytes, script.pick(&[1, 2, 3, 8]), u16::from(detail >> 2), {
                let len = script.next();
                script.take(len.into())
            }),
            2 => {
                let all = Method::all();
                let method = all[usize::from(script.next()) % all.len()].clone();
                super::peer::method(&mut bytes, u16::from(detail >> 2), method);
            }
            _ => {
                let (delivery_tag, multiple) = (script.next().into(), detail & 4 != 0);
                let number = u16::from(detail >> 3) + 1;
                super::peer::method(&mut bytes, number, basic::Ack { delivery_tag, multiple });
            }
        }
        self.say(|_, _| bytes);
    }

    // The transport.

    /// Writes up to so many bytes of the outbox.
    fn write(&mut self, most: usize) {
        let outbox = self.engine.outbox();
        let bytes: Vec<u8> = outbox.chunks().flatten().copied().take(most).collect();
        match &mut self.server {
            Some(server) => {
                outbox.consume(bytes.len());
                self.trace.note(&bytes);
                server.hear(&bytes, &mut self.fates);
            }
            None => assert!(bytes.is_empty() || self.ledger.ended, "bytes for nobody"),
        }
        self.look();
    }

    /// Reads what the server has written, unless the owner is busy.
    fn read(&mut self) {
        if self.paused {
            return;
        }
        let mut bytes = std::mem::take(&mut self.wire);
        let waiting = self.ledger.owes().len() + 1;
        self.explain(bytes.len() + 600 * waiting);
        while !bytes.is_empty() {
            let piece = bytes.split_to(self.looks.piece(bytes.len()));
            self.input.extend_from_slice(&piece);
            self.engine.handle_input(&mut self.input, self.now);
            self.look();
        }
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.engine.set_paused(paused, self.now);
        self.read();
    }

    /// Opens a transport where one is wanted, or cannot.
    fn dial(&mut self, how: u8) {
        if !matches!(self.engine.want(), Want::Dial { .. }) {
            return;
        }
        self.hang_up();
        if how & 1 == 0 {
            self.server = Some(Server::new(self.setup.tune.clone()));
            self.explained += self.again;
            self.engine.connected(self.now);
        } else {
            self.engine.dial_error(self.now);
        }
    }

    /// Closes what is left of a transport.
    fn hang_up(&mut self) {
        self.server = None;
        self.wire.clear();
        self.input.clear();
    }

    fn transport(&mut self, detail: u8) {
        match (detail >> 1, self.server.is_some()) {
            (0 | 1, true) => self.engine.handle_eof(self.now),
            (2, true) => self.engine.handle_transport_error("reset".to_owned(), self.now),
            (3, true) => self.disconnect(),
            (4, true) if self.engine.want() == Want::Shutdown => self.disconnect(),
            _ => self.dial(detail),
        }
    }

    fn disconnect(&mut self) {
        self.hang_up();
        self.engine.disconnected(self.now);
    }

    // Time.

    /// Time goes on, from deadline to deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut at_once = 0;
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= end) {
            at_once = if due > self.now { 0 } else { at_once + 1 };
            assert!(at_once < DUE_AT_ONCE, "it is due at {due:?}, and stays so: {:?}", self.engine);
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.now);
            self.look();
        }
        self.now = end;
    }

    fn pass_to_deadline(&mut self) {
        if let Some(due) = self.engine.poll_timeout() {
            self.pass(due - self.now);
        }
    }

    // What must hold.

    fn look(&mut self) {
        let channel = self.ledger.channels.last().copied();
        self.looks.look(&mut self.engine, self.now, channel);
    }

    /// A command that was accepted can put so much into the outbox, now or in a later life.
    pub(super) fn explain(&mut self, bytes: usize) {
        self.explained += bytes;
        self.again += bytes;
    }

    pub(super) fn before(&mut self) -> Shown {
        let (due, want) = (self.engine.poll_timeout(), self.engine.want());
        Shown { outbox: self.engine.outbox().len(), due, want }
    }

    /// A command that was refused has changed nothing.
    pub(super) fn check_refused(&mut self, before: Shown) {
        assert_eq!(self.before(), before, "a refused command has changed something");
    }

    /// One that was refused for want of room is told when there is room, maybe at once.
    pub(super) fn check_unsent(&mut self, before: Shown) {
        assert_eq!(self.engine.outbox().len(), before.outbox, "a refused publish is sent");
    }

    /// Takes the events, and looks at what must always hold.
    fn end_step(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            self.trace.note(format!("{event:?}"));
            self.ledger.on_event(event, &self.fates);
        }
        self.look();
        let queued = self.engine.outbox().len();
        assert!(queued <= self.explained, "{queued} octets queued, {} explained", self.explained);
        assert!(self.input.len() <= self.frame_max(), "more than a frame is left");
        let (due, want) = (self.engine.poll_timeout(), self.engine.want());
        if want != Want::Shutdown {
            if due.is_none() && !self.ledger.owes().is_empty() {
                self.check_nobody_waits();
            }
            let passive = matches!(want, Want::Dial { .. } | Want::Wait);
            assert!(due.is_some() || !passive, "{want:?} without a deadline");
        }
        assert!(!self.ledger.ended || want == Want::Shutdown, "{want:?} after the end");
        self.trace.note((queued, due, want));
        self.trace.end_step();
    }

    /// Without a deadline nobody waits but for what is held until it can be sent.
    fn check_nobody_waits(&mut self) {
        let outbox = self.engine.outbox().chunks().flatten().copied().collect::<Vec<_>>();
        let is_held = |waits: &Waits| match (waits, &self.server) {
            (Waits::Publish(number), Some(server)) => {
                (self.ledger.is_blocked || !outbox.is_empty()) && !server.is_told(*number, &outbox)
            }
            (Waits::Publish(_), None) => true,
            _ => false,
        };
        let mut waiting = self.ledger.owes().clone();
        let holds = waiting.values().any(is_held);
        let is_excused = |waits: &Waits| is_held(waits) || (holds && matches!(waits, Waits::Confirms(_)));
        waiting.retain(|_, waits| !is_excused(waits));
        assert!(waiting.is_empty(), "{waiting:?} wait without a deadline");
    }

    /// The largest frame that the client lets the server write.
    fn frame_max(&self) -> usize {
        match self.setup.tune.frame_max {
            0 => 16 << 20,
            frame_max => usize::try_from(frame_max).unwrap_or(usize::MAX).max(8192),
        }
    }

    // The end.

    fn finish(&mut self) {
        match self.setup.end & 3 {
            0 => self.die(),
            1 => {
                self.heal();
                self.close_and_wait();
            }
            2 => self.close_and_wait(),
            _ => {
                self.heal();
                self.engine.abort(self.now);
            }
        }
        self.end_step();
        assert!(self.ledger.ended, "there was no terminal event");
        assert_eq!(self.engine.want(), Want::Shutdown);
        self.disconnect();
        for _ in 0..DUE_AT_ONCE {
            self.pass_to_deadline();
        }
        self.end_step();
        assert_eq!(self.engine.poll_timeout(), None, "there is nothing to wait for");
        assert!(self.engine.outbox().is_empty(), "there is nobody to write to");
    }

    /// All deadlines pass, then there is no transport any more, nor will be.
    fn die(&mut self) {
        self.now = self.now + Duration::from_secs(1 << 20);
        self.engine.handle_timeout(self.now);
        self.end_step();
        if self.setup.connected {
            assert!(self.ledger.owes().is_empty(), "after all deadlines {:?} wait", self.ledger.owes());
            assert!(self.ledger.opened || self.ledger.ended, "after all deadlines the handshake goes on");
        }
        self.engine.abandoned(self.now);
    }

    /// The server answers everything, and whoever waits is answered.
    fn heal(&mut self) {
        self.pause(false);
        self.end_step(); // that it is blocked may not have been read
        if self.ledger.is_blocked {
            self.say(|server, _| server.block(false));
        }
        self.until("everybody is answered", |run| run.ledger.owes().is_empty());
    }

    fn close_and_wait(&mut self) {
        if !self.ledger.ended {
            self.close();
        }
        self.until("it is closed", |_| false);
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        self.pause(false);
        self.end_step();
        for _ in 0..ROUNDS {
            if self.ledger.ended || done(self) {
                return;
            }
            self.go_on();
            self.end_step();
        }
        panic!("it takes too long until {what}: {:?}", self.ledger.owes());
    }

    /// What a good driver does on a good network.
    fn go_on(&mut self) {
        match self.engine.want() {
            Want::Dial { .. } => self.dial(0),
            Want::Wait => self.pass_to_deadline(),
            Want::Shutdown => self.disconnect(),
            Want::Write => self.pass_to_deadline(),
            Want::ReadWrite => {
                let moved = !self.engine.outbox().is_empty() || !self.wire.is_empty();
                let asked = self.server.as_ref().is_some_and(Server::is_asked);
                self.serve();
                if !moved && !asked {
                    let beat = Bytes::from_static(&HEARTBEAT_FRAME);
                    self.say(|_, _| BytesMut::from(&beat[..]));
                    self.pass_to_deadline();
                }
            }
        }
    }
}
