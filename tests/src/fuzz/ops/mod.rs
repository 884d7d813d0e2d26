//! Structured operations on engines: commands, bytes, time and faults, in any order.
//!
//! | | |
//! |---|---|
//! | [`client_ops`], [`session_ops`], [`broker_ops`] | the bodies |
//! | `run` | a client or session, its server and its transport, step by step |
//! | `engine` | what both are to a run |
//! | `commands`, `words` | what an owner does, and the names and arguments it does it with |
//! | `ledger` | what the owner is owed and holds, and what must hold of every event |
//! | `server` | a server that keeps to the protocol until it is told not to |
//! | `peer`, `ear` | frames for the broker's clients to write, and what they make of its own |
//! | `disk` | what a crash leaves of what a broker has |
//! | `planted` | faults that a run must find |
//! | `looks` | an owner who looks at everything all the time, which must change nothing |

mod broker;
mod client;
mod commands;
mod disk;
mod ear;
mod engine;
mod ledger;
mod looks;
mod peer;
#[cfg(test)]
mod planted;
mod run;
mod server;
mod session;
mod words;

pub use broker::broker_ops;
pub use client::client_ops;
pub use session::session_ops;
