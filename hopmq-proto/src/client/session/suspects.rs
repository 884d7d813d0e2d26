use alloc::string::String;
use alloc::vec::Vec;

use super::life::Life;
use super::{Entity, Session};
use crate::Instant;
use crate::client::{Connection, Token};

/// What the server has left without an answer since the session was away, each time until the connection was given up.
///
/// Once may be the network's doing. Twice in a row, while the server said other things, is the entity's: a quorum queue
/// without a leader is one that no server answers for. It is left out then, as if it was refused. A server that says nothing
/// at all meanwhile may stand still as a whole, or be cut off, so that it takes [twice as many](GUILTY).
#[derive(Debug, Default)]
pub(super) struct Suspects {
    entity: Option<Suspect<Entity>>,
    consumers: Vec<Suspect<Token>>,
    /// The connection that is about to be lost is lost over them.
    are_the_cause: bool,
}

/// Who was not answered, and how much speaks against it.
#[derive(Debug)]
struct Suspect<T> {
    who: T,
    weight: u8,
}

/// What speaks against an entity when the server has said other things since it was asked, and when it has not.
const WHILE_ALIVE: u8 = 2;
const WHILE_SILENT: u8 = 1;
/// With so much against it, an entity is left out.
const GUILTY: u8 = 4;

impl<T: PartialEq> Suspect<T> {
    /// Not answered once more, or for the first time.
    fn again(who: T, weight: u8, before: &[Self]) -> Self {
        let before = before.iter().find(|suspect| suspect.who == who).map_or(0, |suspect| suspect.weight);
        Self { who, weight: before.saturating_add(weight) }
    }

    const fn is_guilty(&self) -> bool {
        self.weight >= GUILTY
    }
}

impl Suspects {
    /// The connection is lost. If that has another cause, what was not answered before was not so twice in a row.
    pub(super) fn on_lost(&mut self) {
        if !core::mem::take(&mut self.are_the_cause) {
            *self = Self::default();
        }
    }

    /// Every entity is decided: the server has answered.
    pub(super) fn on_restored(&mut self) {
        self.entity = None;
    }
}

impl Session {
    /// The server did not answer in time what was to be brought back: the connection is given up.
    pub(super) fn on_unanswered(&mut self, now: Instant) {
        let Self { connection, life, suspects, .. } = self;
        match life.state_mut() {
            Life::Restoring { restore, deadline, .. } => {
                let weight = connection.weight_of_silence(*deadline);
                let before = suspects.entity.take();
                let again = |entity| Suspect::again(entity, weight, before.as_slice());
                suspects.entity = restore.unanswered().cloned().map(again);
                if suspects.entity.as_ref().is_some_and(Suspect::is_guilty) {
                    restore.leave_out_unanswered();
                }
            }
            Life::Resuming { deadline } => {
                let weight = connection.weight_of_silence(*deadline);
                let before = core::mem::take(&mut suspects.consumers);
                let unanswered = connection.unanswered_consumers().into_iter();
                suspects.consumers = unanswered.map(|who| Suspect::again(who, weight, &before)).collect();
                let guilty = suspects.consumers.iter().filter(|suspect| suspect.is_guilty());
                guilty.for_each(|suspect| connection.leave_out_unanswered(suspect.who));
            }
            _ => {}
        }
        suspects.are_the_cause = true;
        let why = String::from("the server did not answer what was to be brought back");
        connection.handle_transport_error(why, now);
    }
}

impl Connection {
    /// How much it speaks against somebody that there was no answer until `deadline`, which was set when it was asked.
    fn weight_of_silence(&self, deadline: Instant) -> u8 {
        let is_alive = self.last_received() + self.config().call_timeout > deadline;
        if is_alive { WHILE_ALIVE } else { WHILE_SILENT }
    }
}
