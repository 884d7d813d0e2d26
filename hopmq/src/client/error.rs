use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hopmq_proto::amqp::WireError;
use hopmq_proto::client::{CallError, CloseReason, CommandError, Returned};
use thiserror::Error;

/// Why an operation on a connection or channel has no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// It was refused before anything was sent.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// It was sent, and has no answer. It may have taken effect.
    #[error(transparent)]
    Failed(#[from] CallError),
    /// An argument is not one that AMQP can carry.
    #[error("{argument}: {error}")]
    Argument {
        /// Which one.
        argument: &'static str,
        /// What is wrong with it.
        error: WireError,
    },
    /// A number or a time is too large for AMQP's 64 bits with a sign; a time is in milliseconds.
    #[error("{argument} is larger than 64 bits with a sign can say")]
    TooLarge {
        /// Which argument.
        argument: &'static str,
    },
}

impl Error {
    /// Why the channel or connection ended, where that is the cause.
    #[must_use]
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match self {
            Self::Refused(CommandError::Closed(reason)) | Self::Failed(CallError::Closed(reason)) => {
                Some(reason)
            }
            _ => None,
        }
    }
}

/// Why a publish is not known to be on the broker.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// It was not sent. The body comes back.
    #[error("not sent: {error}")]
    NotSent {
        /// Why.
        error: CommandError,
        /// The body.
        body: Bytes,
    },
    /// It was not sent, because there is no room for it now. The body comes back. Only from
    /// [`try_send`](super::Publish::try_send).
    #[error("not sent: too much waits to be written or confirmed")]
    Full {
        /// The body.
        body: Bytes,
    },
    /// The broker could not take it, or a full queue refused it.
    #[error("the broker refused the message")]
    Nacked,
    /// It was mandatory and no queue took it, so it came back.
    #[error("the message came back: {} ({})", .0.code, .0.text)]
    Returned(Box<Returned>),
    /// It was sent, but no confirm came: the broker may or may not have it.
    #[error("sent but not confirmed: {0}")]
    Unconfirmed(CallError),
}

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URI says something that cannot be.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// The server cannot be reached.
    #[error("cannot connect to {address}: {error}")]
    Dial {
        /// Host and port.
        address: String,
        /// What the system said.
        error: io::Error,
    },
    /// The server did not accept the transport in time.
    #[error("cannot connect to {address}: no answer in time")]
    DialTimeout {
        /// Host and port.
        address: String,
    },
    /// The server was reached, and the connection did not open.
    #[error("cannot connect to {address}: {reason}")]
    Refused {
        /// Host and port.
        address: String,
        /// Why not.
        reason: Arc<CloseReason>,
    },
}

/// What is wrong with a URI.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// It is no URI.
    #[error("invalid URI: {0}")]
    Syntax(String),
    /// Its scheme is not `amqp`.
    #[error("invalid URI: the scheme is \"{0}\", not \"amqp\"")]
    Scheme(String),
    /// It has no host.
    #[error("invalid URI: the host is missing")]
    NoHost,
    /// Its port is not a number from 1 to 65535.
    #[error("invalid URI: \"{0}\" is not a port")]
    Port(String),
    /// Its path has more than one segment. A slash in a virtual host's name is written `%2f`.
    #[error("invalid URI: the path \"{0}\" has more than one segment (a slash in a virtual host is %2f)")]
    Path(String),
    /// Its user, password or virtual host, decoded, is not UTF-8 or too long.
    #[error("invalid URI: the {0} is not UTF-8 or longer than 255 bytes")]
    Text(&'static str),
    /// A query parameter that is not known, or has a value that is not.
    #[error("invalid URI: the parameter \"{name}\" {problem}")]
    Parameter {
        /// The name of the parameter.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}
