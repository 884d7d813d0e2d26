//! AMQP 0-9-1 for smol: a client for RabbitMQ, and a broker that starts inside a test or a program.
//!
//! ```no_run
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     smol::block_on(async {
//!         let connection = hopmq_smol::connect("amqp://localhost").await?;
//!         let channel = connection.open_channel().await?;
//!         channel.declare_queue("orders").durable().await?;
//!
//!         let publisher = channel.publisher().await?; // confirm mode
//!         publisher.publish("orders", "hello").await?; // Ok: the broker has it
//!         Ok(connection.close().await?)
//!     })
//! }
//! ```
//!
//! For async-std there is the module `async_std`, with the feature of its name.

#![deny(missing_docs)]

#[cfg(feature = "async-std")]
pub mod async_std;
mod broker;
mod connect;
mod dial;
mod runtime;
mod tcp;

pub use broker::Broker;
pub use connect::{connect, connect_with};
pub use dial::TcpDialer;
pub use hopmq::*;
pub use runtime::{Smol, SmolClock, SmolTimer};
pub use tcp::{Stream, TcpAcceptor};
