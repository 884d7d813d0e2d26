//! A seeded world in virtual time, for tests of services that use AMQP.
//!
//! Hosts, a network with faults, a broker, a clock: all inside one thread of the test, all following from a seed. An
//! hour passes in well under a second, and a failure can be replayed. [`Connection`], [`Consumer`], [`Broker`] and your own service run in it
//! as they run on an adapter.
//!
//! ```
//! use std::time::Duration;
//! use hopmq_sim::{BrokerConfig, Connection, Error, Sim};
//!
//! /// A service, which knows of no simulator.
//! async fn echo(connection: Connection) -> Result<(), Error> {
//!     let channel = connection.open_channel().await?;
//!     let mut requests = channel.consume("requests").await?;
//!     let publisher = channel.publisher().await?;
//!     while let Some(request) = requests.next().await {
//!         publisher.publish("replies", request.body().to_vec()).await.ok();
//!         request.ack().ok();
//!     }
//!     Ok(())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sim = Sim::new(42);
//! sim.run(async {
//!     let (rabbit, service, user) = (sim.host("rabbit"), sim.host("service"), sim.host("user"));
//!     rabbit.broker(BrokerConfig::default())?;
//!     let connection = user.connect("amqp://rabbit").await?;
//!     let channel = connection.open_channel().await?;
//!     for queue in ["requests", "replies"] {
//!         channel.declare_queue(queue).durable().await?;
//!     }
//!     service.start(|host| async move {
//!         let connection = host.connect("amqp://rabbit?recovery=always").await.expect("a connection");
//!         echo(connection).await.ok();
//!     });
//!     channel.publisher().await?.publish("requests", "hello").await?;
//!     rabbit.crash(); // the power goes
//!     sim.sleep(Duration::from_secs(3)).await;
//!     rabbit.restart(); // with what it had on its disk
//!     let mut replies = channel.consume("replies").await?;
//!     assert_eq!(replies.next().await.expect("a reply").body(), b"hello");
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })??;
//! # Ok(())
//! # }
//! ```
//!
//! # What is simulated
//!
//! * **Time.** It stands still while anybody has something to do, and jumps to the next timer then. Computing takes no time.
//! * **The order** in which tasks run that could run: drawn from the seed, among all hosts. One runs at a time, from one
//!   await to the next.
//! * **The network**, at the level of TCP: ordered streams that take their time ([`Link`]: latency, jitter, bandwidth, windows, how much one
//!   read gets), are [cut](Host::cut) at any byte, [half open](Host::lose), held by a [partition](Host::partition); dials that are
//!   [refused](Host::refuse_dials) or [swallowed](Host::swallow_dials). Names of hosts are looked up at once.
//! * **Hosts** that [crash](Host::crash), are [killed](Host::kill), [restart](Host::restart), [freeze](Host::freeze).
//! * **The broker's disk**: durable queues, exchanges, bindings and persistent messages outlive a crash, or [do not](Host::wipe).
//!   A message is on the disk before it is confirmed, and at the latest when anybody can see it.
//! * **Randomness** of HopMQ: jitter of pauses, names of queues. [`Sim::random`] is for yours.
//!
//! # What is not
//!
//! * Other clocks, sockets, random numbers, and iteration over `HashMap`s with std's hasher: they work, and make
//!   runs of one seed differ. [`Sim::trace_hash`] tells whether that has happened.
//! * Threads: the world does not wait for them. It is over, or hours later, when one has done its work.
//! * Other runtimes' timers and sockets: tokio's panic here, but inside of `#[tokio::test]`, where they hang: use `#[test]`. smol's and
//!   async-std's hang anywhere. [`io::Runtime`] sleeps on all of them, and here. Locks and channels of any library are fine,
//!   as long as they block no thread.
//! * Your own disk: what a program is to find again after a restart belongs outside of the closure given to [`Host::start`]. Nothing there is
//!   lost or torn.
//! * Packets: none is lost, doubled or reordered, as TCP hides that; it shows as latency. Clocks of hosts do not drift.
//! * Acknowledgements of TCP: that a reader has made room, its writer knows at once, also through a partition and over a slow link. So a
//!   [partition in one direction](Host::partition_to) does not hold back the other, as it would once a window is full.
//! * Kernels that give up: a connection through a partition lives as long as both ends want it, and a dial waits as long as who dials.
//! * Discarded input: bytes that have arrived can be read, also when a reset comes behind them. Linux does that too, other systems do not.
//! * RabbitMQ: the broker is HopMQ's own, which answers as RabbitMQ does as far as it goes; clusters, quorum queues and streams it does not
//!   have. Test against the real one too.
//! * TLS, with the feature `tls`, works, but its bytes are random, so runs of one seed differ.

#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod broker;
mod check;
mod host;
mod network;
mod random;
mod settings;
mod sim;
mod tasks;
mod timers;
mod trace;
mod wakers;
mod watches;
mod world;

pub use broker::Broker;
pub use check::{Calm, Check, Does, Failure, Fault, FaultKind, Moment, Outcome, Trouble, check};
pub use hopmq::*;
pub use host::Host;
pub use network::{Link, Listener, Stream};
pub use random::Random;
pub use settings::Builder;
pub use sim::{RunError, Sim};
pub use tasks::{JoinError, JoinHandle};
pub use timers::{Elapsed, SimClock, SimTimer, Sleep};

// The examples in it are compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/simulation.md")]
struct Simulation;
