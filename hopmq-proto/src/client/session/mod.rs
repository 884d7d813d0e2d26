//! What outlives one life of a connection.

mod aliases;
mod bindings;
mod consumers;
mod entity;
mod topology;

#[cfg(test)]
mod tests;

pub use entity::Entity;
#[allow(unused_imports)] // until the session is driven by them
pub(crate) use topology::{Topology, Unrecorded};
