//! The client: one AMQP connection as an [`Engine`](crate::Engine).
//!
//! [`Connection`] is one life of one connection, from the protocol header to the last close. It starts with
//! [`Config`], takes commands, and tells what happened as [`Event`]s. Commands that get an answer return a [`Token`],
//! and each token is resolved by exactly one event.

mod close;
mod config;
mod connection;
mod event;
mod message;
mod session;

pub use close::{
    CloseReason, HandshakeError, HandshakeStep, Lost, PeerMisbehaved, ProtocolVersion, ServerClose,
};
pub use config::{Config, Heartbeat};
pub use connection::{CommandError, Connection, PublishError, Settle, SettleError};
pub use event::{
    CallError, ChannelId, ConfirmFailures, Confirmation, DeliveryId, Event, Reply, ServerInfo, Token, Unsent,
};
pub use message::{Delivery, Message, Returned};
pub use session::{
    Backoff, Entity, EntityFilter, EntityOutcome, Recovery, RecoveryMode, Refused, Session, Unrecorded,
    WhenLost,
};
