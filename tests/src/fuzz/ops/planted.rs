//! Faults that are planted into an engine, so that a run which finds nothing is known to look.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Bytes, BytesMut};
use hopmq_proto::amqp::{HEARTBEAT_FRAME, Method, Secret, ShortStr};
use hopmq_proto::client::{
    ChannelId, CommandError, Connection, Delivery, DeliveryId, Event, PublishError, Reply, Settle,
    SettleError, Token,
};
use hopmq_proto::{Engine, Instant, Outbox, Want};

use super::super::script::Script;
use super::engine::{Client, Outgoing, Published, alike};
use super::looks::{Cuts, Looks};
use super::run::{Run, Setup};
use crate::world::rng::Rng;

/// What is wrong with an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Every third reply is lost.
    ForgetsReplies,
    /// Every other reply comes with the answer to the one before it.
    MixesReplies,
    /// Whatever waits, it has no deadline.
    HasNoDeadlines,
    /// Whoever asks for the outbox, puts something into it.
    WritesWhenLookedAt,
    /// A call that is refused has been sent.
    SendsWhatItRefuses,
    /// It goes on when it is over.
    GoesOn,
}

#[derive(Debug)]
struct Planted {
    connection: Connection,
    fault: Fault,
    replies: usize,
    kept: Option<Event>,
}

impl Engine for Planted {
    type Event = Event;

    fn handle_input(&mut self, input: &mut BytesMut, now: Instant) {
        self.connection.handle_input(input, now);
    }

    fn handle_eof(&mut self, now: Instant) {
        self.connection.handle_eof(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.connection.handle_timeout(now);
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.connection.poll_event()?;
        let Event::Reply { token, result } = event else { return Some(event) };
        self.replies += 1;
        match self.fault {
            Fault::ForgetsReplies if self.replies.is_multiple_of(3) => self.poll_event(),
            Fault::MixesReplies if !self.replies.is_multiple_of(2) => {
                self.kept = Some(Event::Reply { token, result });
                self.poll_event()
            }
            Fault::MixesReplies => match self.kept.take() {
                Some(Event::Reply { result: other, .. }) => Some(Event::Reply { token, result: other }),
                _ => Some(Event::Reply { token, result }),
            },
            _ => Some(Event::Reply { token, result }),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.fault == Fault::HasNoDeadlines { None } else { self.connection.poll_timeout() }
    }

    fn outbox(&mut self) -> &mut Outbox {
        if self.fault == Fault::WritesWhenLookedAt {
            self.connection.outbox().push_urgent(Bytes::from_static(&HEARTBEAT_FRAME));
        }
        self.connection.outbox()
    }

    fn want(&self) -> Want {
        if self.fault == Fault::GoesOn { Want::ReadWrite } else { self.connection.want() }
    }
}

impl Client for Planted {
    alike!(connection);

    fn publish(&mut self, channel: ChannelId, message: &Outgoing<'_>, now: Instant) -> Published {
        let published =
            self.connection.publish(channel, &message.publish, &message.properties, &message.body, now);
        if self.fault == Fault::SendsWhatItRefuses && published.is_err() {
            self.connection.outbox().push_urgent(Bytes::from_static(&HEARTBEAT_FRAME));
        }
        published
    }

    fn look(&self) {}

    fn disconnected(&mut self, now: Instant) {
        self.connection.handle_eof(now);
    }

    fn abandoned(&mut self, now: Instant) {
        self.connection.handle_eof(now);
    }
}

/// Runs a script of a seed; returns whether all that must hold holds.
fn holds(seed: u64, fault: Fault) -> bool {
    let mut rng = Rng::new(seed);
    let data: Vec<u8> =
        (0..rng.between(20, 400)).map(|_| u8::try_from(rng.below(256)).unwrap_or(0)).collect();
    let run = |curious| {
        let mut script = Script::new(&data);
        let (setup, now) = (Setup::read(&mut script, true), Instant::from_nanos(1 << 40));
        let connection = Connection::new(setup.config.clone(), now);
        let engine = Planted { connection, fault, replies: 0, kept: None };
        Run::new(engine, setup, now, Looks::new(curious, Cuts::Curious)).run(&mut script)
    };
    catch_unwind(AssertUnwindSafe(|| run(false).assert_same(&run(true)))).is_ok()
}

#[test]
fn without_a_fault_nothing_is_found() {
    assert!((0..100).all(|seed| holds(seed, Fault::None)));
}

#[test]
fn every_planted_fault_is_found() {
    for fault in [
        Fault::ForgetsReplies,
        Fault::MixesReplies,
        Fault::HasNoDeadlines,
        Fault::WritesWhenLookedAt,
        Fault::SendsWhatItRefuses,
        Fault::GoesOn,
    ] {
        assert!((0..200).any(|seed| !holds(seed, fault)), "{fault:?} is not found");
    }
}
