//! The seeded world: several client engines and one broker engine, in memory, under one virtual clock.
//!
//! | | |
//! |---|---|
//! | [`run`], [`check`], [`replay`] | a world from its seed; twice, with equal traces; with its trace printed |
//! | [`run_script`] | a world whose choices a fuzzer makes |
//! | `world`, `line` | the clock, what happens next, and one connection: a client, the broker's end, two pipes |
//! | `pipe`, `rng`, `trace`, `tally` | a bad network, the seed's choices, the hash of everything that happened, and how often what did |
//! | `config`, `finish` | what a seed sets up, and the liveness that is demanded in the end |
//! | `client`, `workload`, `ledger` | what clients are owed and hold, what they do, and every message made |
//! | `model`, `tap` | the second broker, which only checks, and the ears it has |
//! | `sessions` | another world: clients that come back, and what they promise |
//!
//! Nothing here reads a clock, draws from anywhere but the seed, or starts a thread, and time never ticks: the world
//! jumps to the next arrival or deadline. Where several things could come next, the seed chooses.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_debug_implementations
)] // a world fails by panicking

mod client;
mod config;
mod finish;
mod ledger;
mod line;
mod model;
mod pipe;
pub(crate) mod rng;
mod run;
mod sessions;
mod tally;
pub(crate) mod tap;
mod trace;
mod workload;
#[allow(clippy::module_inception)]
mod world;

pub use run::{Summary, check, replay, run, run_script};
pub use sessions::{SessionTally, check_session, replay_session, run_session, run_session_script};
pub use tally::Tally;
pub use trace::Lines;
