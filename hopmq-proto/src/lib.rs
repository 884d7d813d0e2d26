//! AMQP 0-9-1, client and broker, as pure values: bytes, commands and the time go in; bytes, deadlines and events
//! come out.
//!
//! Nothing here opens a socket, reads a clock, draws randomness or spawns anything. That makes the protocol testable in
//! virtual time, embeddable in any runtime, and the same every time it is run with the same input.
//!
//! * [`Engine`] is what every protocol is to its owner; the contract is below.
//! * [`amqp`] is the wire: frames, methods, properties, tables. Both sides use it.
//! * [`client::Connection`] is one connection of a client.
//! * [`broker::Broker`] is a whole broker; each of its connections is an engine.
//! * [`fsm`] is what lifecycles are written in.
//!
//! # The contract
//!
//! 1. **Work on the way in, pop on the way out.** All work happens in `handle_*` and in commands; `poll_*` only pop.
//!    So any order of calls is correct. The one duty: after any `&mut` call, look at the outbox, the events, the
//!    deadline and the demand ([`Engine::want`]) again.
//! 2. **Time is an argument.** [`Instant`] counts nanoseconds from an epoch of the owner's choice.
//!    [`Engine::poll_timeout`] covers everything that is pending. A deadline that has passed already means that work is
//!    waiting: call [`Engine::handle_timeout`]. That is how an engine goes on once its outbox has been emptied.
//! 3. **`handle_*` never fail.** A fault of the peer becomes a close for the peer and an event for the owner.
//! 4. **Commands are refused or accepted, at once.** A refused command has changed nothing.
//! 5. **Every accepted command that has an answer returns a token, and each token is resolved by exactly one event**:
//!    by the reply, by the end of the channel or connection, or by its deadline. A caller that stops waiting leaves a
//!    tombstone, so that the replies to others stay matched. The terminal event comes exactly once, and last.
//! 6. **Everything is bounded** by a field of the configuration or by a constant. Backpressure is visible: a publish is
//!    refused, and `Writable` follows.
//! 7. **No input from the network can panic, hang, or make an engine allocate beyond its bounds.**
//!
//! # Driving an engine by hand
//!
//! An owner is a loop: bytes in, bytes out, look at the clock. Here a client and a broker are each other's network:
//!
//! ```
//! use bytes::BytesMut;
//! use hopmq_proto::broker::{self, Broker, Peer};
//! use hopmq_proto::client::{Config, Connection, Event};
//! use hopmq_proto::{Engine, Instant};
//!
//! /// Moves what one engine wants written to what the other reads.
//! fn carry(from: &mut impl Engine, to: &mut impl Engine, now: Instant) -> bool {
//!     let mut bytes = BytesMut::new();
//!     from.outbox().chunks().for_each(|chunk| bytes.extend_from_slice(chunk));
//!     from.outbox().consume(bytes.len());
//!     let moved = !bytes.is_empty();
//!     to.handle_input(&mut bytes, now); // whole frames only here; an owner keeps the tail for the next call
//!     moved
//! }
//!
//! let now = Instant::ZERO;
//! let mut broker = Broker::new(broker::Config::default());
//! let id = broker.accept(Peer { loopback: true, name: "memory".into() }, now);
//! let mut server = broker.connection(id).expect("it was just accepted");
//! let mut client = Connection::new(Config::default(), now);
//!
//! while carry(&mut client, &mut server, now) | carry(&mut server, &mut client, now) {}
//! assert!(matches!(client.poll_event(), Some(Event::Opened(_))));
//!
//! let (channel, token) = client.open_channel(now)?;
//! while carry(&mut client, &mut server, now) | carry(&mut server, &mut client, now) {}
//! match client.poll_event() {
//!     Some(Event::Reply { token: answered, result: Ok(_) }) => assert_eq!(answered, token),
//!     other => panic!("{other:?}"),
//! }
//! # let _ = channel;
//! # Ok::<(), hopmq_proto::client::CommandError>(())
//! ```
//!
//! The crate is `no_std` with `alloc`, and has no features.

#![no_std]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod amqp;
pub mod broker;
pub mod client;
mod engine;
pub mod fsm;
mod lookup;

pub use engine::{Chunks, Deadlines, Engine, Instant, Outbox, Want};
