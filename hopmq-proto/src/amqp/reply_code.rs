use core::fmt;

/// The number that says why a channel or connection was closed, or a message returned.
///
/// A peer may send any number; the constants are the ones AMQP 0-9-1 and RabbitMQ define.
/// See <https://www.rabbitmq.com/amqp-0-9-1-reference#constants>.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyCode(pub u16);

macro_rules! reply_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        impl ReplyCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// The constant's name, where the number has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

reply_codes! {
    /// An orderly close.
    SUCCESS = 200,
    /// The body is larger than the peer takes.
    CONTENT_TOO_LARGE = 311,
    /// A mandatory message reached no queue.
    NO_ROUTE = 312,
    /// An immediate message reached no consumer.
    NO_CONSUMERS = 313,
    /// An operator closed the connection.
    CONNECTION_FORCED = 320,
    /// The virtual host is not valid.
    INVALID_PATH = 402,
    /// The user may not do this, or the login failed.
    ACCESS_REFUSED = 403,
    /// The queue or exchange does not exist.
    NOT_FOUND = 404,
    /// Another connection holds the queue exclusively.
    RESOURCE_LOCKED = 405,
    /// What was asked for contradicts what is there.
    PRECONDITION_FAILED = 406,
    /// A malformed frame.
    FRAME_ERROR = 501,
    /// A malformed value in a frame.
    SYNTAX_ERROR = 502,
    /// A method that is not valid here.
    COMMAND_INVALID = 503,
    /// A method on a channel that is not open.
    CHANNEL_ERROR = 504,
    /// A frame that may not come now.
    UNEXPECTED_FRAME = 505,
    /// The peer has too little of something.
    RESOURCE_ERROR = 506,
    /// The user or the rules forbid this.
    NOT_ALLOWED = 530,
    /// The peer does not implement this.
    NOT_IMPLEMENTED = 540,
    /// The peer failed.
    INTERNAL_ERROR = 541,
}

impl ReplyCode {
    /// Whether the code closes the whole connection; the others close a channel.
    ///
    /// ```
    /// use hopmq_proto::amqp::ReplyCode;
    ///
    /// assert!(ReplyCode::FRAME_ERROR.is_connection_error());
    /// assert!(!ReplyCode::NOT_FOUND.is_connection_error());
    /// ```
    #[must_use]
    pub const fn is_connection_error(self) -> bool {
        matches!(self.0, 320 | 402 | 500..)
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
