//! The swarm: worlds of `hopmq-sim` with everything of HopMQ inside, and a workload and troubles that follow from the seed.
//!
//! | | |
//! |---|---|
//! | [`run`], [`check`], [`replay`] | a world from its seed; twice, with equal traces; with its trace printed |
//! | `plan` | what a seed has: clients, queues, publishers, consumers, each feature or none of it, kinds of trouble |
//! | `world`, `finish` | one world, and the liveness that is demanded in the end |
//! | `client`, `publish`, `consume`, `meddle`, `rpc` | what its programs do |
//! | `seat` | a consumer that is alone, and what it may expect next |
//! | `trouble` | what happens to the network and to hosts |
//! | `mangler` | a transport that does what is legal and seldom, frame by frame |
//! | `ledger`, `tally` | what has happened, as the checker of [`chaos`](crate::chaos::checker) is told, and how often |
//!
//! A seed that has everything at once finds less than many that each have something (Groce et al., Swarm Testing, ISSTA
//! 2012): so each feature is there or not, and what is there has room.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_debug_implementations
)] // a world fails by panicking

mod client;
mod consume;
mod finish;
mod ledger;
mod mangler;
mod meddle;
mod phase;
mod plan;
mod publish;
mod rpc;
mod run;
mod seat;
mod tally;
mod trouble;
mod world;

pub use run::{Report, Sweep, check, judge, replay, run, sweep};
pub use tally::SwarmTally;
