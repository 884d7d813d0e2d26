use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use crate::amqp::{ReplyCode, ShortStr, WireError, channel, connection};

/// Why a channel or connection ended. Every token that was pending is resolved with it, and every later command on
/// that channel or connection is refused with it: the first cause, not what followed from it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed it.
    #[error("closed by this client")]
    Requested,
    /// We ended it, without a word to the server.
    #[error("aborted by this client")]
    Aborted,
    /// The server closed it.
    #[error(transparent)]
    Server(ServerClose),
    /// The server broke the protocol, and we closed the connection.
    #[error("the server broke the protocol: {0}")]
    PeerMisbehaved(PeerMisbehaved),
    /// The server sent a message with a body larger than `max_body_size`, and we closed the channel.
    #[error("a message of {size} bytes is larger than the limit of {max} bytes")]
    BodyTooLarge {
        /// The size of the body in bytes.
        size: u64,
        /// The limit in bytes.
        max: usize,
    },
    /// The connection never opened.
    #[error(transparent)]
    Handshake(HandshakeError),
    /// The network or the server went away.
    #[error("the connection was lost: {0}")]
    Lost(Lost),
    /// The server cannot be reached.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// After a loss the server takes fewer channels than before, and this one's number is too high.
    #[error("the server takes no more than {0} channels now")]
    TooManyChannels(u16),
    /// A message that was to be sent again after a loss does not fit what the server takes now. This is the end of that
    /// message only.
    #[error("it cannot be sent again: {0}")]
    Unsendable(WireError),
}

/// A close that the server sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("closed by the server: {}", Explained { code: *code, text })]
pub struct ServerClose {
    /// Why.
    pub code: ReplyCode,
    /// Why, in the server's words.
    pub text: ShortStr,
    /// The class of the method that caused it, or 0.
    pub class_id: u16,
    /// The method that caused it, or 0.
    pub method_id: u16,
}

/// A code and a text, which in RabbitMQ's words begins with the code's name: that is said once.
pub(super) struct Explained<'a> {
    pub(super) code: ReplyCode,
    pub(super) text: &'a ShortStr,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, text } = self;
        match code.name() {
            Some(name) if text.as_bytes().starts_with(name.as_bytes()) => write!(f, "{} {text}", code.0),
            _ if text.is_empty() => write!(f, "{code}"),
            _ => write!(f, "{code} ({text})"),
        }
    }
}

macro_rules! from_close {
    ($($close:ty),*) => {
        $(impl From<$close> for ServerClose {
            fn from(close: $close) -> Self {
                Self {
                    code: ReplyCode(close.reply_code),
                    text: close.reply_text,
                    class_id: close.class_id,
                    method_id: close.method_id,
                }
            }
        })*
    };
}

from_close!(connection::Close, channel::Close);

/// How a connection can be lost.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Lost {
    /// The server closed the stream without a word.
    #[error("the server closed the stream")]
    Eof,
    /// The transport failed.
    #[error("{0}")]
    Transport(String),
    /// Nothing came for two heartbeat intervals.
    #[error("no heartbeat from the server for {seconds} s")]
    Heartbeat {
        /// How long the server was silent.
        seconds: u64,
    },
    /// While a session was coming back, an auto-delete queue went that it had just declared again, before its consumers were
    /// there. The session gave the connection up itself, to declare everything once more.
    #[error("an auto-delete queue went with its last consumer as it was brought back")]
    QueueGone,
}

/// Why a connection never opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The handshake took longer than `connect_timeout`.
    #[error("the server did not complete the handshake in time, it is silent {0}")]
    Timeout(HandshakeStep),
    /// The server closed the stream in the middle of the handshake.
    #[error("the server closed the stream {0}{hint}", hint = .0.hint())]
    Eof(HandshakeStep),
    /// The transport failed in the middle of the handshake.
    #[error("the connection failed {0}: {1}")]
    Transport(HandshakeStep, String),
    /// The server speaks another version of AMQP.
    #[error("the server speaks {0}, not AMQP 0-9-1")]
    ProtocolVersion(ProtocolVersion),
    /// The server does not speak AMQP.
    #[error("the server does not speak AMQP, it says {}{hint}", Excerpt(.0), hint = tls_hint(.0))]
    NotAmqp(Vec<u8>),
    /// The server offers no login mechanism that fits the credentials.
    #[error("the server offers no login mechanism that fits the credentials, only {0}")]
    NoMechanism(String),
    /// The server's limits cannot be met.
    #[error("the server proposes a frame-max of {0} bytes, less than 4096")]
    FrameMax(u32),
    /// The login, which is credentials and client properties, is longer than what the server takes.
    #[error(
        "the login takes {bytes} bytes: before they agree on more, servers take 4096, RabbitMQ 4.1 and later 8192"
    )]
    LoginTooLong {
        /// The size of its frame.
        bytes: usize,
    },
    /// The greeting or the open cannot be encoded: a name is too long for one frame.
    #[error("the handshake cannot be encoded: {0}")]
    Encode(WireError),
}

/// The version in a server's protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolVersion(pub [u8; 4]);

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [id, 1, 0, 0] => write!(f, "AMQP 1.0 (protocol id {id})"),
            [_, major, minor, revision] => write!(f, "AMQP {major}-{minor}-{revision}"),
        }
    }
}

/// Where in the handshake something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeStep {
    /// We sent the protocol header and wait for `connection.start`.
    Greeting,
    /// We sent the credentials and wait for `connection.tune`.
    Login,
    /// We sent the limits and the virtual host and wait for `connection.open-ok`.
    Opening,
}

impl HandshakeStep {
    const fn hint(self) -> &'static str {
        match self {
            Self::Greeting => "",
            Self::Login => ", probably because it refused the credentials",
            Self::Opening => ", probably because it refused the limits or the virtual host",
        }
    }
}

impl fmt::Display for HandshakeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "before its greeting",
            Self::Login => "after the login",
            Self::Opening => "after the tuning",
        })
    }
}

/// What the server did that AMQP 0-9-1 forbids.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// Bytes that cannot be decoded.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A method that may not come now.
    #[error("unexpected {method} on channel {channel}")]
    UnexpectedMethod {
        /// The method's name.
        method: &'static str,
        /// The channel it came on.
        channel: u16,
    },
    /// A header or body frame that may not come now, or a method amid a message.
    #[error("unexpected {frame} frame on channel {channel}")]
    UnexpectedFrame {
        /// What the frame carried.
        frame: &'static str,
        /// The channel it came on.
        channel: u16,
    },
    /// A frame on a channel that is not open.
    #[error("a frame on channel {0}, which is not open")]
    UnknownChannel(u16),
    /// It has started a consumer with the name of one that runs.
    #[error("two consumers with one name on channel {0}")]
    DuplicateConsumer(u16),
    /// The body is longer than its header said.
    #[error("a body on channel {0} is longer than its header said")]
    BodyTooLong(u16),
    /// It asks on and on, and does not read the answers.
    #[error("the server does not read the answers to what it sends, {0} bytes wait")]
    AnswersUnread(usize),
    /// A confirm for a publish that never was.
    #[error("a confirm for publish {tag} on channel {channel}, which has not been made")]
    UnknownPublish {
        /// The channel.
        channel: u16,
        /// The number in the confirm.
        tag: u64,
    },
}

impl PeerMisbehaved {
    /// The reply code for the `connection.close` that answers it.
    #[must_use]
    pub const fn reply_code(&self) -> ReplyCode {
        match self {
            Self::Wire(error) => error.reply_code(),
            Self::UnexpectedMethod { .. } | Self::UnknownPublish { .. } | Self::DuplicateConsumer(_) => {
                ReplyCode::COMMAND_INVALID
            }
            Self::UnexpectedFrame { .. } => ReplyCode::UNEXPECTED_FRAME,
            Self::UnknownChannel(_) => ReplyCode::CHANNEL_ERROR,
            Self::BodyTooLong(_) => ReplyCode::FRAME_ERROR,
            Self::AnswersUnread(_) => ReplyCode::RESOURCE_ERROR,
        }
    }
}

/// What a TLS server says to a client without TLS begins with the head of an alert: type 21, version 3.x (RFC 8446, 5.1).
fn tls_hint(said: &[u8]) -> &'static str {
    if said.starts_with(&[21, 3]) { ", which is TLS: amqps:// may be what it wants" } else { "" }
}

/// The first bytes of something, printable.
struct Excerpt<'a>(&'a [u8]);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
