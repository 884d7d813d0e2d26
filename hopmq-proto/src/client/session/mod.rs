//! What outlives one life of a connection.

mod aliases;
mod bindings;
mod consumers;
mod entity;
mod restore;
mod topology;

#[cfg(test)]
mod tests;

pub use entity::Entity;
pub use restore::{EntityOutcome, Refused};
#[allow(unused_imports)] // until the session is driven by them
pub(crate) use restore::{Renamed, Restore, RestoreConfig, Step};
#[allow(unused_imports)]
pub(crate) use topology::{Topology, Unrecorded};
