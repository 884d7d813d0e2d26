//! AMQP 0-9-1 for tokio: a client for RabbitMQ, and a broker that starts inside a test or a program.

#![deny(missing_docs)]

mod broker;
mod connect;
mod dial;
mod runtime;
mod tcp;

pub use broker::Broker;
pub use connect::{connect, connect_with};
pub use dial::TcpDialer;
pub use hopmq::*;
pub use runtime::{Tokio, TokioClock, TokioTimer};
pub use tcp::{Stream, TcpAcceptor};

// The examples in these are compiled and run as documentation tests.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../docs/from-lapin.md")]
struct FromLapin;

#[cfg(doctest)]
#[doc = include_str!("../../docs/from-amqprs.md")]
struct FromAmqprs;
