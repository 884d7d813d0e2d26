use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hopmq_proto::amqp::WireError;
use hopmq_proto::client::{CallError, CloseReason, CommandError, Returned};
use thiserror::Error;

use super::{Endpoint, ProviderError, UriError};
use crate::tls::TlsError;

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
    /// It was not sent. The body comes back. With [`CommandError::Disconnected`] because the connection is lost, and the
    /// publisher does not [wait](super::NewPublisher::when_lost) for it; with [`CommandError::Closed`] because its channel or
    /// connection has ended, also when that was while it waited for a lost connection to come back.
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
    /// It was not sent, because there was no room for it within
    /// [`publish_timeout`](crate::Config::publish_timeout): too many confirms are missing, the broker does not read, or
    /// [takes no publishes](super::Connection::is_blocked). The body comes back.
    #[error("not sent: there was no room for it in time")]
    TimedOut {
        /// The body.
        body: Bytes,
    },
    /// The broker could not take it, or a full queue refused it.
    #[error("the broker refused the message")]
    Nacked,
    /// It was mandatory and no queue took it, so it came back.
    #[error("{0}")]
    Returned(Box<Returned>),
    /// It was sent, but no confirm came: the broker may or may not have it. Its channel or connection has ended; or the
    /// connection was lost, and the publisher does not [send it again](super::NewPublisher::when_lost); or the confirm did
    /// not come within [`confirm_timeout`](crate::Config::confirm_timeout) from when it was sent last.
    #[error("sent but not confirmed: {0}")]
    Unconfirmed(CallError),
}

impl PublishError {
    /// Why the channel or connection ended, where that is the cause.
    #[must_use]
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match self {
            Self::NotSent { error: CommandError::Closed(reason), .. }
            | Self::Unconfirmed(CallError::Closed(reason)) => Some(reason),
            _ => None,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URI says something that cannot be.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// An option is not one that AMQP can carry.
    #[error("{option}: {error}")]
    Option {
        /// Which one.
        option: &'static str,
        /// What is wrong with it.
        error: WireError,
    },
    /// The [`CredentialsProvider`](super::CredentialsProvider) has none.
    #[error("no credentials: {0}")]
    Credentials(ProviderError),
    /// The [`CredentialsProvider`](super::CredentialsProvider) did not answer within `connect_timeout`.
    #[error("no credentials: the provider did not answer in time")]
    CredentialsTimeout,
    /// The server cannot be reached.
    #[error("cannot connect to {endpoint}: {error}")]
    Dial {
        /// Where.
        endpoint: Endpoint,
        /// What the system said.
        error: io::Error,
    },
    /// The server can be reached, but not with TLS.
    #[error("cannot connect to {endpoint}: {error}")]
    Tls {
        /// Where.
        endpoint: Endpoint,
        /// Why not.
        error: TlsError,
    },
    /// The server did not accept the transport, or not finish the TLS handshake, in time.
    #[error("cannot connect to {endpoint}: no answer in time")]
    DialTimeout {
        /// Where.
        endpoint: Endpoint,
    },
    /// The server was reached, and the connection did not open.
    #[error("cannot connect to {endpoint}: {reason}")]
    Refused {
        /// Where.
        endpoint: Endpoint,
        /// Why not.
        reason: Arc<CloseReason>,
    },
    /// None of several endpoints let us in.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Endpoints(Vec<ConnectError>),
}

impl ConnectError {
    /// Why the connection did not open, where a server was reached: of several, the last one that was.
    #[must_use]
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            Self::Endpoints(errors) => errors.iter().rev().find_map(Self::close_reason),
            _ => None,
        }
    }
}
