//! What outlives one life of a connection.

mod aliases;
mod bindings;
mod commands;
mod consumers;
mod dialing;
mod engine;
mod entity;
mod life;
mod recovery;
mod restore;
mod suspects;
mod topology;

#[cfg(test)]
mod tests;

pub use engine::Session;
pub use entity::Entity;
pub use recovery::{Backoff, EntityFilter, Recovery, RecoveryMode, WhenLost};
pub use restore::{EntityOutcome, Refused};
use restore::{Renamed, Restore, RestoreConfig, Step, may_blame};
pub(crate) use topology::Topology;
pub use topology::Unrecorded;
