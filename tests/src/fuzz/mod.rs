//! Fuzz bodies: each is a function of bytes that panics where a property does not hold.
//!
//! The `fuzz` crate feeds them what libFuzzer makes up, `tests/fuzz_corpus.rs` what is committed in `fuzz/corpus`.

#![allow(clippy::panic, clippy::indexing_slicing)] // a body fails by panicking

mod broker_input;
mod client_input;
mod frame;
mod method;
mod ops;
mod properties;
mod script;
mod table;
mod uri;
mod world;

pub use broker_input::broker_input;
pub use client_input::{
    Watched, client_input, client_input_config, client_input_state, client_input_watched,
};
pub use frame::frame;
pub use method::method;
pub use ops::{broker_ops, client_ops, session_ops};
pub use properties::properties;
pub use table::table;
pub use uri::uri;
pub use world::world;
