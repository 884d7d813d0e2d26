//! The session against the broker engine: what comes back after a loss, and what does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::disallowed_types)] // a test may share what it has seen

mod auto_delete;
mod blame;
mod edges;
mod net;
mod other;
mod publishes;
mod returns;
mod script;
#[path = "../support/mod.rs"]
mod support;
mod topology;
mod twin;
