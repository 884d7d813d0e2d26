//! The AMQP 0-9-1 codec, by property: what is written is read as the same, and nothing that is read can do harm.
//!
//! A name such as `trap_22_…` cites a well-known mistake of AMQP implementations; `known_bytes` has the octets that the
//! specification and its errata print.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod arbitrary;
mod content;
mod frames;
mod known_bytes;
mod methods;
mod properties;
mod sasl;
mod tables;
