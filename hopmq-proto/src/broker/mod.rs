//! The embeddable broker: one deterministic engine over many connections.
//!
//! | | |
//! |---|---|
//! | [`Broker`], [`Connection`] | the engine, and the view of one connection that a transport drives |
//! | [`Config`], [`User`] | who may do what, and the bounds |
//! | [`Disk`] | what is left when it was killed |
//! | [`Event`], [`Closed`], [`Peer`] | what the owner and the broker tell each other |
//!
//! It behaves as RabbitMQ does, reply codes and texts included. A publish goes `input` → `publish` → `route` →
//! `queue` → `deliver`; an acknowledgement goes `input` → `dispatch` → `settle` → `deliver`.

mod alarm;
mod arguments;
mod basic_methods;
mod bindings;
mod close;
mod config;
mod confirms;
mod consumer;
mod content;
mod crash;
mod deliver;
mod dispatch;
mod engine;
mod event;
mod exchange;
mod exchange_methods;
mod fault;
mod handshake;
mod heartbeat;
mod id;
mod input;
mod line;
mod link;
mod message;
mod names;
mod publish;
mod queue;
mod queue_methods;
mod reply_to;
mod route;
mod session;
mod settle;
mod unacked;
mod vhost;

#[cfg(test)]
mod tests;

pub use config::{Config, User};
pub use crash::Disk;
pub use engine::{Broker, Connection, QueueStats};
pub use event::{Closed, Event, Peer};
pub use id::ConnectionId;
