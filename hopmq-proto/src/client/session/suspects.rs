use alloc::string::String;
use alloc::vec::Vec;

use super::life::Life;
use super::{Entity, Session};
use crate::Instant;
use crate::client::Token;

/// What the server has left without an answer since the session was away, each time until the connection was given up.
///
/// Once may be the network's doing. Twice in a row, over connections that answered everything before it, is the entity's: a
/// quorum queue without a leader is one that no server answers for. It is left out then, as if it was refused.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    entity: Option<Entity>,
    consumers: Vec<Token>,
    /// The connection that is about to be lost is lost over them.
    are_the_cause: bool,
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
        match self.life.state_mut() {
            Life::Restoring { restore, .. } => {
                let entity = restore.unanswered().cloned();
                if entity.is_some() && self.suspects.entity == entity {
                    restore.leave_out_unanswered();
                }
                self.suspects.entity = entity;
            }
            Life::Resuming { .. } => {
                let consumers = self.connection.unanswered_consumers();
                let again = consumers.iter().filter(|consumer| self.suspects.consumers.contains(consumer));
                again.for_each(|consumer| self.connection.leave_out_unanswered(*consumer));
                self.suspects.consumers = consumers;
            }
            _ => {}
        }
        self.suspects.are_the_cause = true;
        let why = String::from("the server did not answer what was to be brought back");
        self.connection.handle_transport_error(why, now);
    }
}
