//! The broker's handle, and how its connections come in.

mod accept;
mod handle;
mod listen;
mod shared;

pub use handle::Broker;
