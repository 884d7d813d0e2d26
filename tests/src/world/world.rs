//! The clock, and what happens next.

use std::collections::BTreeSet;
use std::time::Duration;

use hopmq_proto::amqp::{HEARTBEAT_FRAME, Method};
use hopmq_proto::broker::{self, Broker, Closed, Peer};
use hopmq_proto::client::{CloseReason, Config, Lost};
use hopmq_proto::{Engine, Instant, Want};

use super::client::{Client, What};
use super::config;
use super::ledger::Ledger;
use super::line::Line;
use super::model::Model;
use super::pipe::Arrival;
use super::rng::Rng;
use super::run::Summary;
use super::tally::Tally;
use super::tap::Tap;
use super::trace::{Lines, Trace};
use super::workload::{self, Actor};

/// The largest message that a workload makes, with its framing.
const LARGEST: usize = 150_000;
/// A heartbeat waits for the end of one chunk at most.
const HEARTBEAT_WAITS_FOR: usize = LARGEST + (1 << 16);
/// The length of the frame with `connection.close-ok`.
const CLOSE_OK_LEN: usize = 12;
/// More than a world of any seed needs; who needs more is stuck in a circle.
const STEPS_AT_MOST: u64 = 2_000_000;

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: Instant,
    pub(super) trace: Trace,
    pub(super) broker: Broker,
    max_broker_outbox: usize,
    pub(super) lines: Vec<Line>,
    pub(super) model: Model,
    pub(super) ledger: Ledger,
    /// How many connections may still be made in place of lost ones.
    spare: u64,
    pub(super) acts_left: u64,
    faulty: bool,
    tally: Tally,
}

/// Something that can happen on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    ToBroker,
    ToClient,
    ClientTimeout,
    BrokerTimeout,
    Act,
    Fault,
}

impl World {
    /// A world of these choices; `seed` is for the broker.
    pub(super) fn new(mut rng: Rng, seed: u64, lines: Option<Lines>) -> Self {
        let config = config::broker(&mut rng, seed);
        let (max_broker_outbox, ceiling) = (config.max_outbox_bytes, config.max_unacked_per_channel);
        Self {
            now: Instant::from_nanos(rng.below(1 << 40)),
            trace: Trace::new(lines),
            broker: Broker::new(config),
            max_broker_outbox,
            lines: Vec::new(),
            model: Model::new(ceiling),
            ledger: Ledger::default(),
            spare: rng.below(4),
            acts_left: rng.between(80, 500),
            faulty: rng.percent(85),
            tally: Tally::default(),
            rng,
        }
    }

    /// Trouble first, then a good network on which everything must come to its end.
    pub(super) fn run(mut self) -> Summary {
        for _ in 0..self.rng.between(1, 3) {
            self.connect();
        }
        while self.acts_left > 0 && !self.rng.is_over() && self.step() {}
        self.heal();
        self.until("every call is answered", |world| {
            world.lines.iter().all(|line| line.client.ended.is_some() || line.client.owes_nothing())
        });
        self.check_writable();
        self.deliver_all();
        self.check_nobody_is_idle();
        self.drain();
        self.close();
        self.summary()
    }

    fn summary(&self) -> Summary {
        let lines = self.lines.iter();
        let tally = lines.fold(self.tally.plus(self.model.tally), |all, line| all.plus(line.client.tally));
        let (connections, messages) = (self.lines.len() as u64, self.ledger.made() as u64);
        Summary {
            hash: self.trace.hash(),
            tally: Tally { steps: self.trace.steps(), connections, messages, ..tally },
        }
    }

    fn connect(&mut self) {
        let config = config::client(&mut self.rng);
        self.connect_with(config);
    }

    pub(super) fn connect_with(&mut self, config: Config) -> usize {
        let link = self.lines.len();
        let peer = Peer { loopback: true, name: format!("client {link}") };
        let connection = self.broker.accept(peer, self.now);
        let client = Client::new(link, config, self.now);
        let mut line = Line::new(&mut self.rng, client, connection);
        line.next_act = Some(self.now);
        let delay = Duration::from_millis(self.rng.between(1, 20_000));
        line.next_fault = (self.faulty && self.rng.percent(80)).then(|| self.now + delay);
        self.model.connect(link);
        self.trace.note(self.now, format_args!("client {link} connects"));
        self.lines.push(line);
        link
    }

    // What happens next.

    /// Lets the next thing happen; returns whether there was one.
    pub(super) fn step(&mut self) -> bool {
        assert!(self.trace.steps() < STEPS_AT_MOST, "the world goes round in circles");
        self.write_all();
        let mut candidates = Vec::new();
        let mut earliest: Option<Instant> = None;
        for link in 0..self.lines.len() {
            for (at, next) in self.possible(link) {
                let at = at.max(self.now);
                if earliest.is_none_or(|earliest| at < earliest) {
                    earliest = Some(at);
                    candidates.clear();
                }
                if earliest == Some(at) {
                    candidates.push((link, next));
                }
            }
        }
        let Some(at) = earliest else { return false };
        self.now = at;
        for line in &self.lines {
            if line.client.ended.is_none() && line.client.polled {
                line.client.check_deadlines(self.now);
            }
        }
        let (link, next) = candidates[self.rng.index(candidates.len())];
        match next {
            Next::ToBroker => self.broker_hears(link),
            Next::ToClient => self.client_hears(link),
            Next::ClientTimeout => self.client_timeout(link),
            Next::BrokerTimeout => self.broker_timeout(link),
            Next::Act => self.act(link),
            Next::Fault => self.fault(link),
        }
        // Calling it early is harmless.
        match self.rng.below(100) {
            0..=2 => self.client_timeout(link),
            3 => self.broker_timeout(link),
            _ => {}
        }
        self.look_at_client(link);
        if self.rng.percent(2) {
            self.check_nobody_is_idle();
        }
        true
    }

    /// No message waits for a consumer whose connection has been written all there was, and resumed since.
    pub(super) fn check_nobody_is_idle(&mut self) {
        let mut free = BTreeSet::new();
        for (link, line) in self.lines.iter().enumerate() {
            if let Some(mut connection) = line.connection.and_then(|id| self.broker.connection(id)) {
                let resumes = connection.poll_timeout() == Some(Instant::ZERO);
                free.extend((connection.outbox().is_empty() && !resumes).then_some(link));
            }
        }
        self.model.check_nobody_is_idle(|link| free.contains(&link));
    }

    fn possible(&mut self, link: usize) -> Vec<(Instant, Next)> {
        let line = &mut self.lines[link];
        let mut all = Vec::new();
        let mut may = |at: Option<Instant>, next: Next| all.extend(at.map(|at| (at, next)));
        if line.is_over() {
            return all;
        }
        let client_open = line.client.engine.want() != Want::Shutdown;
        if line.client.engine.want() == Want::ReadWrite {
            may(line.to_client.next_at(), Next::ToClient);
        }
        // A client whose engine is done is still owed the deadline for what it has to write.
        if client_open || !line.client.engine.outbox().is_empty() {
            may(line.client.engine.poll_timeout(), Next::ClientTimeout);
        }
        if let Some(mut connection) = line.connection.and_then(|id| self.broker.connection(id)) {
            if connection.want() == Want::ReadWrite {
                may(line.to_broker.next_at(), Next::ToBroker);
            }
            if connection.want() != Want::Shutdown || !connection.outbox().is_empty() {
                may(connection.poll_timeout(), Next::BrokerTimeout);
            }
        }
        if line.client.ended.is_none() {
            may(line.next_act, Next::Act);
            may(line.next_fault, Next::Fault);
        }
        all
    }

    fn broker_hears(&mut self, link: usize) {
        match self.lines[link].to_broker.pop() {
            Some(Arrival::Bytes(bytes)) => {
                self.trace.bytes(self.now, format_args!("broker hears from {link}"), &bytes);
                self.lines[link].pending.extend_from_slice(&bytes);
                self.feed_broker(link);
            }
            Some(Arrival::Eof | Arrival::Reset) => {
                self.trace.note(self.now, format_args!("broker sees {link} end"));
                self.model.end_link(link);
                self.with_broker(link, |connection, _, now| connection.handle_eof(now));
            }
            None => {}
        }
    }

    /// Hands over what has come, cut so that the model can tell what came first: in one piece there are publishes and
    /// acknowledgements, and at its front at most one frame of another kind.
    fn feed_broker(&mut self, link: usize) {
        while self.lines[link].connection.is_some() {
            let mut taken = 0;
            let mut refused = None;
            while let Some(frame) = self.lines[link].heard.peek(&self.lines[link].pending[taken..]) {
                let line = &mut self.lines[link];
                let publish = match &frame.method {
                    None => line.heard.publish_under_way(frame.channel).cloned(),
                    Some(_) => None,
                };
                let refusal = publish.is_some_and(|publish| !self.model.takes(&publish));
                let plain = match &frame.method {
                    None => !refusal || refused == Some(frame.channel),
                    Some(method) => self.model.is_plain(link, frame.channel, method),
                };
                if taken > 0 && !plain {
                    break;
                }
                if let Some(Method::BasicPublish(_)) = frame.method
                    && !plain
                {
                    refused = Some(frame.channel);
                }
                let said = line.heard.take(&line.pending[taken..taken + frame.len]);
                taken += frame.len;
                self.model.hears(link, said, &mut self.ledger);
            }
            if taken == 0 {
                break;
            }
            let line = &mut self.lines[link];
            let piece = line.pending.split_to(taken);
            line.input.extend_from_slice(&piece[std::mem::take(&mut line.handed_over)..]);
            self.with_broker(link, |connection, input, now| connection.handle_input(input, now));
        }
        // The beginning of a frame can be handed over at once: it must not matter.
        if self.lines[link].connection.is_some() && !self.lines[link].pending.is_empty() {
            self.hand_over_beginning(link);
        }
    }

    fn hand_over_beginning(&mut self, link: usize) {
        let line = &mut self.lines[link];
        line.input.extend_from_slice(&line.pending[line.handed_over..]);
        line.handed_over = line.pending.len();
        self.with_broker(link, |connection, input, now| connection.handle_input(input, now));
    }

    fn broker_timeout(&mut self, link: usize) {
        self.trace.note(self.now, format_args!("broker's deadline for {link}"));
        self.with_broker(link, |connection, _, now| connection.handle_timeout(now));
    }

    fn client_hears(&mut self, link: usize) {
        let now = self.now;
        let line = &mut self.lines[link];
        line.client.polled = false;
        match line.to_client.pop() {
            Some(Arrival::Bytes(bytes)) => {
                self.trace.bytes(now, format_args!("client {link} hears"), &bytes);
                line.client.inbox.extend_from_slice(&bytes);
                line.client.engine.handle_input(&mut line.client.inbox, now);
            }
            Some(Arrival::Eof) => {
                self.trace.note(now, format_args!("client {link} sees the end"));
                line.client.engine.handle_eof(now);
            }
            Some(Arrival::Reset) => {
                self.trace.note(now, format_args!("client {link} sees a reset"));
                line.client.engine.handle_transport_error("reset".into(), now);
            }
            None => {}
        }
    }

    fn client_timeout(&mut self, link: usize) {
        let line = &mut self.lines[link];
        line.client.polled = false;
        let before = line.client.engine.outbox().len();
        line.client.engine.handle_timeout(self.now);
        let outbox = line.client.engine.outbox();
        if before > HEARTBEAT_WAITS_FOR && outbox.len() == before + HEARTBEAT_FRAME.len() {
            assert_ne!(tail(outbox, before), HEARTBEAT_FRAME, "a heartbeat waits behind {before} bytes");
        }
    }

    fn fault(&mut self, link: usize) {
        let line = &mut self.lines[link];
        let what = line.fault(&mut self.rng, self.now);
        let delay = Duration::from_millis(self.rng.between(1, 30_000));
        line.next_fault = Some(self.now + delay);
        self.trace.note(self.now, format_args!("network of {link}: {what}"));
    }

    fn act(&mut self, link: usize) {
        self.poll_client(link);
        let now = self.now;
        // With one connection the order in which they are closed does not matter.
        if self.rng.below(200) == 0 && self.faulty && self.model.open_links() < 2 {
            self.shutdown();
        }
        let line = &mut self.lines[link];
        let pause = if self.rng.percent(60) {
            5_000
        } else {
            self.rng.pick(&[10_000, 100_000, 100_000, 1_000_000, 9_000_000])
        };
        line.next_act = Some(now + Duration::from_micros(self.rng.below(pause)));
        if line.client.ended.is_some() {
            return;
        }
        self.acts_left = self.acts_left.saturating_sub(1);
        if !line.client.opened {
            if self.rng.percent(2) {
                close(&mut line.client, now);
            }
        } else if self.rng.percent(1) {
            close(&mut line.client, now);
        } else {
            let (client, model) = (&mut line.client, &self.model);
            Actor::new(client, &mut self.rng, &mut self.ledger, model, now).act();
        }
        line.client.polled = false;
    }

    fn shutdown(&mut self) {
        self.trace.note(self.now, format_args!("the broker closes every connection"));
        self.model.shutdown();
        self.broker.shutdown(self.now);
        for link in 0..self.lines.len() {
            self.poll_broker(link);
        }
        while self.broker.poll_touched().is_some() {}
        self.see_all();
    }

    // Both ends.

    /// Does something with the broker's end of a line, and looks at everything that came of it.
    fn with_broker(
        &mut self,
        link: usize,
        work: impl FnOnce(&mut broker::Connection<'_>, &mut bytes::BytesMut, Instant),
    ) {
        let line = &mut self.lines[link];
        let Some(id) = line.connection else { return };
        let Some(mut connection) = self.broker.connection(id) else { panic!("{id:?} is gone") };
        work(&mut connection, &mut line.input, self.now);
        self.poll_broker(link);
        let mut touched = vec![id];
        while let Some(id) = self.broker.poll_touched() {
            touched.push(id);
        }
        for line in &self.lines {
            if let Some(id) = line.connection.filter(|id| !touched.contains(id))
                && let Some(mut connection) = self.broker.connection(id)
            {
                let len = connection.outbox().len();
                assert_eq!(len, line.looked_at, "{id:?} has something to write, and nobody said so");
            }
        }
        self.see_all();
    }

    /// Takes the broker's events of a line.
    fn poll_broker(&mut self, link: usize) {
        let line = &mut self.lines[link];
        let Some(id) = line.connection else { return };
        let Some(mut connection) = self.broker.connection(id) else { return };
        while let Some(event) = connection.poll_event() {
            self.trace.note(self.now, format_args!("broker about {link}: {event:?}"));
            assert!(!line.broker_ended, "{event:?} after the terminal event");
            let broker::Event::Closed { reason } = event else { continue };
            line.broker_ended = true;
            if matches!(reason, Closed::HeartbeatTimeout | Closed::HandshakeTimeout) {
                assert!(!line.client.is_long_good(self.now), "{reason:?} on a good network");
                self.tally.silent += 1;
                self.model.end_link(link);
            }
        }
    }

    /// Holds what the broker has newly queued against the model.
    fn see_all(&mut self) {
        for link in 0..self.lines.len() {
            let line = &mut self.lines[link];
            let Some(id) = line.connection else { continue };
            let Some(mut connection) = self.broker.connection(id) else { continue };
            let outbox = connection.outbox();
            let len = outbox.len();
            if line.broker_ended {
                // Behind the last word nothing follows, and what waits in front of it may be dropped.
                if self.model.expects_close_ok(link) {
                    let last = tail(outbox, len - CLOSE_OK_LEN);
                    let said = Tap::of_frames().take(&last);
                    self.model.sees(link, said, &mut self.ledger);
                }
                line.looked_at = len;
                continue;
            }
            assert!(len >= line.looked_at, "the broker takes back what it has queued");
            let most = 4 * self.max_broker_outbox + LARGEST + (1 << 17);
            assert!(len <= most, "{len} bytes wait for client {link}");
            if len == line.looked_at {
                continue;
            }
            let new = tail(outbox, line.looked_at);
            line.looked_at = len;
            let mut at = 0;
            while let Some(frame) = line.seen.peek(&new[at..]) {
                let said = line.seen.take(&new[at..at + frame.len]);
                self.model.sees(link, said, &mut self.ledger);
                at += frame.len;
            }
            assert!(at == new.len() && line.seen.is_idle(), "the broker queues whole messages");
        }
        self.model.end_step(&self.broker);
    }

    /// Writes what there is to write, and ends what is done.
    fn write_all(&mut self) {
        for link in 0..self.lines.len() {
            self.write_client(link);
            self.write_broker(link);
        }
    }

    fn write_client(&mut self, link: usize) {
        let line = &mut self.lines[link];
        if line.to_broker.ended && line.to_client.deaf {
            return;
        }
        let (now, trace) = (self.now, &mut self.trace);
        let outbox = line.client.engine.outbox();
        line.to_broker.send(&mut self.rng, now, outbox, |piece| {
            trace.bytes(now, format_args!("client {link} writes"), piece);
        });
        if line.client.engine.want() == Want::Shutdown && line.client.engine.outbox().is_empty() {
            line.to_broker.end(&mut self.rng, now);
            line.to_client.close_reader();
            self.look_at_client(link);
        }
    }

    fn write_broker(&mut self, link: usize) {
        let line = &mut self.lines[link];
        let Some(id) = line.connection else { return };
        let Some(mut connection) = self.broker.connection(id) else { return };
        let (now, trace) = (self.now, &mut self.trace);
        let written = line.to_client.send(&mut self.rng, now, connection.outbox(), |piece| {
            trace.bytes(now, format_args!("broker writes to {link}"), piece);
        });
        line.looked_at -= written;
        if connection.want() == Want::Shutdown && connection.outbox().is_empty() {
            assert!(line.broker_ended, "the broker is done with {id:?} and does not say so");
            line.to_client.end(&mut self.rng, now);
            line.to_broker.close_reader();
            line.connection = None;
            self.trace.note(now, format_args!("broker releases {link}"));
            self.broker.release(id, now);
            self.see_all();
        }
    }

    /// Looks at what a client has to tell, now or later.
    fn look_at_client(&mut self, link: usize) {
        if self.rng.percent(80) || self.lines[link].client.engine.want() != Want::ReadWrite {
            self.poll_client(link);
        }
        let line = &mut self.lines[link];
        let most = line.client.config.max_outbox + LARGEST + (1 << 16);
        let len = line.client.engine.outbox().len();
        assert!(len <= most, "{len} bytes wait in the outbox of client {link}");
    }

    pub(super) fn poll_client(&mut self, link: usize) {
        let now = self.now;
        while let Some(event) = self.lines[link].client.engine.poll_event() {
            self.trace.note(now, format_args!("client {link}: {event:?}"));
            self.lines[link].client.on_event(event, &self.model, &mut self.ledger, now);
        }
        let client = &mut self.lines[link].client;
        if client.good_since.is_some() {
            workload::settle_all(client, &mut self.rng, now);
        }
        client.polled = true;
        let line = &mut self.lines[link];
        if let (Some(reason), Some(_)) =
            (&line.client.ended, line.next_act.take_if(|_| line.client.ended.is_some()))
        {
            self.tally.lost += u64::from(*reason != CloseReason::Requested);
            self.tally.silent += u64::from(matches!(reason, CloseReason::Lost(Lost::Heartbeat { .. })));
            if self.spare > 0 && self.acts_left > 0 {
                self.spare -= 1;
                self.connect();
            }
        }
    }
}

pub(super) fn close(client: &mut Client, now: Instant) {
    if let Ok(token) = client.engine.close(now) {
        client.owe(token, What::CloseConnection, None, now);
    }
}

/// The bytes of an outbox behind the first `skip`.
fn tail(outbox: &hopmq_proto::Outbox, mut skip: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(outbox.len() - skip);
    for chunk in outbox.chunks() {
        let skipped = skip.min(chunk.len());
        skip -= skipped;
        all.extend_from_slice(&chunk[skipped..]);
    }
    all
}
