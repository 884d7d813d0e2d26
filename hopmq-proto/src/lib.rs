#![no_std]
#![doc = "placeholder"]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod amqp;
pub mod broker;
pub mod client;
mod engine;

pub use engine::{Chunks, Deadlines, Engine, Instant, Outbox, Want};
