//! AMQP 0-9-1 for tokio: a client for RabbitMQ, and a broker that starts inside a test or a program.

#![deny(missing_docs)]

mod broker;
mod connect;
mod runtime;
mod tcp;

pub use broker::Broker;
pub use connect::{connect, connect_with};
pub use hopmq::*;
pub use runtime::{Tokio, TokioClock, TokioTimer};
pub use tcp::{Stream, TcpAcceptor};

/// The README's examples are compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
