//! AMQP 0-9-1 for programs without an async runtime: the same client, whose calls block.
//!
//! [`connect`] gives a [`Connection`] and its [`Io`], which is to be run on a thread that you own. Nothing else runs:
//! there is no hidden thread and no runtime.
//!
//! The handles are those of every other adapter, and what one awaits there, one [waits](Wait::wait) for here:
//!
//! ```no_run
//! use hopmq_blocking::{Iterate, Wait, connect};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (connection, io) = connect("amqp://localhost")?;
//! let io = io.spawn()?; // or run it where you like: `io.run()`
//!
//! let channel = connection.open_channel().wait()?;
//! channel.declare_queue("orders").durable().wait()?;
//!
//! let publisher = channel.publisher().wait()?; // confirm mode
//! publisher.publish("orders", "hello").wait()?; // Ok: the broker has it
//!
//! let mut deliveries = channel.consume("orders").prefetch(100).wait()?;
//! for delivery in deliveries.iter() {
//!     println!("{}", String::from_utf8_lossy(delivery.body()));
//!     delivery.ack()?;
//!     # break;
//! }
//!
//! connection.close().wait()?;
//! io.join().map_err(|_| "the thread has panicked")??;
//! # Ok(())
//! # }
//! ```
//!
//! Handles can go to other threads, and each thread waits for its own. While no thread runs the [`Io`] nothing moves,
//! deadlines neither: run it as soon as you have it, and never wait on its own thread. Once it is dropped, everything
//! ends with [`Lost::Transport`].
//!
//! [`Broker`] needs a runtime, which is not here: a test can start hopmq-tokio's on another thread.
//!
//! TLS is as in the other adapters: `amqps://`, and [`ConnectOptions::tls`]; feature `tls`, on by default.

#![deny(missing_docs)]

mod connect;
mod run;
mod runtime;
mod tcp;
mod timers;
mod wait;

pub use connect::{connect, connect_with};
pub use hopmq::*;
pub use run::Io;
pub use wait::{Iter, Iterate, TimedOut, Wait};
