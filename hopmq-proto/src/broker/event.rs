use alloc::string::String;

use crate::amqp::{FieldTable, ReplyCode};

/// What the transport knows of the other side of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// It is on this machine, so users who are limited to that may log in.
    pub loopback: bool,
    /// What to call it, such as its address and port.
    pub name: String,
}

/// What the owner of a [`Broker`](super::Broker) learns of one connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A user has logged in and opened a virtual host.
    Opened {
        /// The user.
        user: String,
        /// The virtual host.
        vhost: String,
        /// What the client says of itself; `connection_name` is in here.
        client_properties: FieldTable,
    },
    /// The connection has ended. Comes once, and last.
    Closed {
        /// Why.
        reason: Closed,
    },
}

/// Why a connection has ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Closed {
    /// The client closed it.
    ByClient {
        /// The code it gave.
        code: ReplyCode,
        /// The text it gave.
        text: String,
    },
    /// The broker closed it, for a fault of the client or at a shutdown.
    ByBroker {
        /// The code that was sent.
        code: ReplyCode,
        /// The text that was sent.
        text: String,
    },
    /// The client was turned away before it had opened a virtual host.
    Refused {
        /// The code that says why; the client may not have been told.
        code: ReplyCode,
        /// Why, in words.
        text: String,
    },
    /// The client did not speak AMQP 0-9-1.
    WrongProtocol,
    /// The client took too long to log in and open a virtual host.
    HandshakeTimeout,
    /// Nothing came from the client for two heartbeat intervals and more.
    HeartbeatTimeout,
    /// The transport ended without a close.
    Eof,
}
