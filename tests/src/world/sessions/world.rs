use std::time::Duration;

use hopmq_proto::broker::{Broker, ConnectionId, Peer};
use hopmq_proto::client::{Backoff, CloseReason, Config, Recovery, RecoveryMode};
use hopmq_proto::{Engine, Instant, Want, broker};

use super::super::config;
use super::super::pipe::Arrival;
use super::super::rng::Rng;
use super::super::trace::{Lines, Trace};
use super::acts::Actor;
use super::promises::Promises;
use super::tally::SessionTally;
use super::user::User;
use super::wire::Wire;

/// More than a world of any seed needs; who needs more is stuck in a circle.
const STEPS_AT_MOST: u64 = 2_000_000;

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: Instant,
    pub(super) trace: Trace,
    pub(super) broker: Broker,
    pub(super) users: Vec<User>,
    pub(super) wires: Vec<Wire>,
    pub(super) promises: Promises,
    pub(super) acts_left: u64,
    /// The broker takes no connections before then.
    pub(super) down_until: Instant,
    /// When something happens to the broker next.
    pub(super) next_trouble: Option<Instant>,
    pub(super) faulty: bool,
    pub(super) tally: SessionTally,
}

/// Something that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    ToBroker(usize),
    ToClient(usize),
    BrokerTimeout(usize),
    Fault(usize),
    ClientTimeout(usize),
    Dialled(usize),
    Act(usize),
    Trouble,
}

impl World {
    /// A world of these choices; `seed` is for the broker.
    pub(super) fn new(mut rng: Rng, seed: u64, lines: Option<Lines>) -> Self {
        let config =
            broker::Config { channel_max: rng.pick(&[1, 4, 2047]), ..config::broker(&mut rng, seed) };
        let now = Instant::from_nanos(rng.below(1 << 40));
        let trouble = Duration::from_millis(rng.between(1, 20_000));
        let mut world = Self {
            now,
            trace: Trace::new(lines),
            broker: Broker::new(config),
            users: Vec::new(),
            wires: Vec::new(),
            promises: Promises::default(),
            acts_left: rng.between(80, 600),
            down_until: Instant::ZERO,
            next_trouble: rng.percent(80).then_some(now + trouble),
            faulty: true,
            tally: SessionTally::default(),
            rng,
        };
        for _ in 0..world.rng.between(1, 3) {
            let config = config::client(&mut world.rng);
            let config = Config { credentials: Config::default().credentials, ..config };
            let recovery = world.recovery();
            world.add_user(config, recovery);
        }
        world
    }

    fn recovery(&mut self) -> Recovery {
        let rng = &mut self.rng;
        Recovery {
            mode: if rng.percent(70) { RecoveryMode::Always } else { RecoveryMode::AfterFirstSuccess },
            backoff: Backoff {
                initial: Duration::from_millis(rng.pick(&[0, 10, 100, 2000])),
                factor: rng.pick(&[1, 2, 3]),
                max: Duration::from_secs(rng.pick(&[1, 10])),
                jitter_percent: rng.pick(&[0, 50, 100]),
            },
            max_rounds: rng.percent(4).then_some(3),
            max_elapsed: rng.percent(4).then_some(Duration::from_secs(30)),
            stable_after: Duration::from_secs(rng.pick(&[0, 1, 30])),
            shuffle: rng.percent(30),
            max_unconfirmed_bytes: rng.pick(&[5_000, 1 << 20, 64 << 20]),
            ..Recovery::default()
        }
    }

    pub(super) fn add_user(&mut self, config: Config, recovery: Recovery) -> usize {
        let no = self.users.len();
        let seed = self.rng.below(u64::MAX);
        self.users.push(User::new(no, config, recovery, seed, self.now));
        no
    }

    /// Trouble first, then a good network on which every promise must be kept.
    pub(super) fn run(mut self) -> (u64, SessionTally) {
        while self.acts_left > 0
            && !self.rng.is_over()
            && self.users.iter().any(|user| user.ended.is_none())
            && self.step()
        {}
        self.finish();
        let mut tally = self.tally;
        self.users.iter().for_each(|user| tally += user.tally);
        tally.worlds += 1;
        tally.steps += self.trace.steps();
        tally.messages += self.promises.made() as u64;
        (self.trace.hash(), tally)
    }

    // What happens next.

    /// Lets the next thing happen; returns whether there was one.
    pub(super) fn step(&mut self) -> bool {
        assert!(self.trace.steps() < STEPS_AT_MOST, "the world goes round in circles");
        self.write_all();
        let all = self.possible();
        let Some(at) = all.iter().map(|(at, _)| (*at).max(self.now)).min() else { return false };
        self.now = at;
        for user in self.users.iter().filter(|user| user.ended.is_none()) {
            user.check_deadlines(self.now);
        }
        let due: Vec<Next> = all.into_iter().filter(|(due, _)| *due <= at).map(|(_, next)| next).collect();
        match due[self.rng.index(due.len())] {
            Next::ToBroker(wire) => self.broker_hears(wire),
            Next::ToClient(wire) => self.client_hears(wire),
            Next::BrokerTimeout(wire) => {
                self.with_broker(wire, |connection, _, now| connection.handle_timeout(now));
            }
            Next::Fault(wire) => self.fault(wire),
            Next::ClientTimeout(user) => self.users[user].session.handle_timeout(self.now),
            Next::Dialled(user) => self.dialled(user),
            Next::Act(user) => self.act(user),
            Next::Trouble => self.trouble(),
        }
        for user in 0..self.users.len() {
            self.poll_user(user);
        }
        true
    }

    fn possible(&mut self) -> Vec<(Instant, Next)> {
        let mut all = Vec::new();
        for (at, wire) in self.wires.iter().enumerate() {
            let user = &self.users[wire.user];
            if user.wire == Some(at) && user.session.want() == Want::ReadWrite {
                all.extend(wire.to_client.next_at().map(|due| (due, Next::ToClient(at))));
            }
            if let Some(connection) = wire.connection.and_then(|id| self.broker.connection(id)) {
                if connection.want() == Want::ReadWrite {
                    all.extend(wire.to_broker.next_at().map(|due| (due, Next::ToBroker(at))));
                }
                all.extend(connection.poll_timeout().map(|due| (due, Next::BrokerTimeout(at))));
            }
            all.extend(wire.next_fault.filter(|_| user.wire == Some(at)).map(|due| (due, Next::Fault(at))));
        }
        for (at, user) in self.users.iter().enumerate() {
            if user.ended.is_none() || user.wire.is_some() {
                all.extend(user.session.poll_timeout().map(|due| (due, Next::ClientTimeout(at))));
            }
            if user.ended.is_none() {
                all.extend(user.next_act.map(|due| (due, Next::Act(at))));
                all.extend(user.dial.and_then(|(_, due)| due).map(|due| (due, Next::Dialled(at))));
            }
        }
        all.extend(self.next_trouble.map(|due| (due, Next::Trouble)));
        all
    }

    fn act(&mut self, at: usize) {
        let now = self.now;
        let user = &mut self.users[at];
        let pause = self.rng.pick(&[5_000, 5_000, 50_000, 100_000, 1_000_000, 9_000_000]);
        user.next_act = Some(now + Duration::from_micros(self.rng.below(pause)));
        self.acts_left = self.acts_left.saturating_sub(1);
        if user.opened {
            Actor { user, rng: &mut self.rng, promises: &mut self.promises, broker: &self.broker, now }.act();
        }
    }

    pub(super) fn poll_user(&mut self, at: usize) {
        let (user, now) = (&mut self.users[at], self.now);
        while let Some(event) = user.session.poll_event() {
            self.trace.note(now, format_args!("user {at}: {event:?}"));
            user.on_event(event, &mut self.promises, now);
        }
        if user.resting {
            Actor { user, rng: &mut self.rng, promises: &mut self.promises, broker: &self.broker, now }
                .settle_all();
        }
        let user = &mut self.users[at];
        if let (Some(reason), true) = (&user.ended, user.next_act.take_if(|_| user.ended.is_some()).is_some())
        {
            self.tally.gave_up += u64::from(*reason != CloseReason::Requested);
        }
    }

    // The broker.

    fn trouble(&mut self) {
        let rng = &mut self.rng;
        self.next_trouble = Some(self.now + Duration::from_millis(rng.between(1, 60_000)));
        let down = Duration::from_millis(rng.pick(&[0, 50, 1_000, 10_000, 40_000]));
        self.down_until = self.now + down;
        if rng.percent(40) {
            self.tally.forced += 1;
            self.trace.note(self.now, format_args!("the broker closes every connection"));
            self.broker.shutdown(self.now);
        } else {
            self.tally.restarts += 1;
            self.trace.note(self.now, format_args!("the broker is gone, for {down:?}"));
            self.crash();
        }
    }

    /// Every connection breaks, wherever its bytes are. What was to last has lasted.
    fn crash(&mut self) {
        for at in 0..self.wires.len() {
            let wire = &mut self.wires[at];
            if let Some(id) = wire.connection.take() {
                wire.cut(&mut self.rng, self.now);
                wire.to_broker.close_reader();
                self.release(id);
            }
        }
    }

    fn release(&mut self, id: ConnectionId) {
        if let Some(mut connection) = self.broker.connection(id) {
            connection.handle_eof(self.now);
            while connection.poll_event().is_some() {}
        }
        self.broker.release(id, self.now);
        while self.broker.poll_touched().is_some() {}
    }

    fn with_broker(
        &mut self,
        at: usize,
        work: impl FnOnce(&mut broker::Connection<'_>, &mut bytes::BytesMut, Instant),
    ) {
        let wire = &mut self.wires[at];
        let Some(id) = wire.connection else { return };
        let Some(mut connection) = self.broker.connection(id) else { panic!("{id:?} is gone") };
        work(&mut connection, &mut wire.input, self.now);
        while connection.poll_event().is_some() {}
        while self.broker.poll_touched().is_some() {}
    }

    fn broker_hears(&mut self, at: usize) {
        match self.wires[at].to_broker.pop() {
            Some(Arrival::Bytes(bytes)) => {
                self.trace.bytes(self.now, format_args!("broker hears on {at}"), &bytes);
                self.wires[at].input.extend_from_slice(&bytes);
                self.with_broker(at, |connection, input, now| connection.handle_input(input, now));
            }
            Some(Arrival::Eof | Arrival::Reset) => {
                self.trace.note(self.now, format_args!("broker sees {at} end"));
                self.with_broker(at, |connection, _, now| connection.handle_eof(now));
            }
            None => {}
        }
    }

    // The clients.

    fn client_hears(&mut self, at: usize) {
        let (wire, now) = (&mut self.wires[at], self.now);
        let user = &mut self.users[wire.user];
        match wire.to_client.pop() {
            Some(Arrival::Bytes(bytes)) => {
                self.trace.bytes(now, format_args!("user {} hears", wire.user), &bytes);
                user.inbox.extend_from_slice(&bytes);
                user.session.handle_input(&mut user.inbox, now);
            }
            Some(Arrival::Eof) => {
                self.trace.note(now, format_args!("user {} sees the end", wire.user));
                user.session.handle_eof(now);
            }
            Some(Arrival::Reset) => {
                self.trace.note(now, format_args!("user {} sees a reset", wire.user));
                user.session.handle_transport_error("reset".into(), now);
            }
            None => {}
        }
    }

    fn dialled(&mut self, at: usize) {
        let user = &mut self.users[at];
        user.dial = None;
        if self.now < self.down_until || (self.faulty && self.rng.percent(10)) {
            self.trace.note(self.now, format_args!("user {at} is refused"));
            return user.session.handle_dial_error("refused".into(), self.now);
        }
        let peer = Peer { loopback: true, name: format!("user {at}") };
        let connection = self.broker.accept(peer, self.now);
        let mut wire = Wire::new(&mut self.rng, at, connection);
        let delay = Duration::from_millis(self.rng.pick(&[1, 10, 100, 20_000]));
        let delay = Duration::from_nanos(self.rng.below(delay.as_nanos() as u64));
        wire.next_fault = (self.faulty && self.rng.percent(70)).then(|| self.now + delay);
        if !self.faulty {
            wire.to_broker.heal(self.now);
            wire.to_client.heal(self.now);
        }
        user.wire = Some(self.wires.len());
        user.inbox.clear();
        self.trace.note(self.now, format_args!("user {at} is connected by {}", self.wires.len()));
        self.wires.push(wire);
        self.users[at].session.handle_connected(self.now);
    }

    fn fault(&mut self, at: usize) {
        let wire = &mut self.wires[at];
        let what = wire.fault(&mut self.rng, self.now);
        self.tally.cuts += u64::from(what == "cut");
        wire.next_fault = Some(self.now + Duration::from_millis(self.rng.between(1, 30_000)));
        self.trace.note(self.now, format_args!("network of {at}: {what}"));
    }

    // Writing.

    /// Writes what there is to write, dials where that is wanted, and ends what is done.
    fn write_all(&mut self) {
        for at in 0..self.users.len() {
            self.write_user(at);
            self.poll_user(at);
            self.dial(at);
        }
        for at in 0..self.wires.len() {
            self.write_broker(at);
        }
    }

    fn write_user(&mut self, at: usize) {
        let (user, now) = (&mut self.users[at], self.now);
        let Some(number) = user.wire else { return };
        let (wire, trace) = (&mut self.wires[number], &mut self.trace);
        wire.to_broker.send(&mut self.rng, now, user.session.outbox(), |piece| {
            trace.bytes(now, format_args!("user {at} writes"), piece);
        });
        match user.session.want() {
            Want::ReadWrite | Want::Write => {}
            Want::Shutdown if !user.session.outbox().is_empty() => {}
            _ => {
                wire.to_broker.end(&mut self.rng, now);
                wire.to_client.close_reader();
                user.wire = None;
                user.session.handle_disconnected(now);
            }
        }
    }

    fn dial(&mut self, at: usize) {
        let user = &mut self.users[at];
        match user.session.want() {
            Want::Dial { attempt, .. } => {
                if user.dial.is_none_or(|(under_way, _)| under_way != attempt) {
                    let after = Duration::from_millis(self.rng.pick(&[0, 1, 50, 3_000]));
                    let answers = !self.faulty || self.rng.percent(95);
                    user.dial = Some((attempt, answers.then(|| self.now + after)));
                }
            }
            _ => user.dial = None,
        }
    }

    fn write_broker(&mut self, at: usize) {
        let (wire, now) = (&mut self.wires[at], self.now);
        let Some(id) = wire.connection else { return };
        let Some(mut connection) = self.broker.connection(id) else { return };
        let trace = &mut self.trace;
        wire.to_client.send(&mut self.rng, now, connection.outbox(), |piece| {
            trace.bytes(now, format_args!("broker writes on {at}"), piece);
        });
        if connection.want() == Want::Shutdown && connection.outbox().is_empty() {
            wire.to_client.end(&mut self.rng, now);
            wire.to_broker.close_reader();
            wire.connection = None;
            self.trace.note(now, format_args!("broker releases {at}"));
            self.release(id);
        }
    }
}
