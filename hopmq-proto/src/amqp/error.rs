use thiserror::Error;

use super::ReplyCode;

/// Bytes that are not AMQP 0-9-1, or values that AMQP 0-9-1 cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The data ends in the middle of a value.
    #[error("the data ends in the middle of a value")]
    Truncated,
    /// Bytes are left over after the last value.
    #[error("{0} bytes are left over after the last value")]
    TrailingBytes(usize),
    /// A short string is longer than 255 bytes.
    #[error("a short string of {0} bytes is longer than 255 bytes")]
    ShortStrTooLong(usize),
    /// A long string, table or array does not fit its 32-bit length.
    #[error("a value of {0} bytes does not fit a 32-bit length")]
    TooLong(usize),
    /// A field value has a type tag that nobody uses.
    #[error("unknown field type tag 0x{0:02x}")]
    UnknownFieldType(u8),
    /// Tables and arrays are nested deeper than [`MAX_TABLE_DEPTH`](super::MAX_TABLE_DEPTH).
    #[error("tables are nested deeper than {max} levels", max = super::MAX_TABLE_DEPTH)]
    TableTooDeep,
    /// The frame type is none of method, header, body and heartbeat.
    #[error("unknown frame type {0}")]
    UnknownFrameType(u8),
    /// A frame is larger than the negotiated frame-max.
    #[error("a frame of {size} bytes is larger than frame-max {max}")]
    FrameTooLarge {
        /// The size of the whole frame in bytes.
        size: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A frame does not end with the frame-end octet 0xCE.
    #[error("a frame ends with 0x{0:02x} in place of 0xce")]
    BadFrameEnd(u8),
    /// The class and method ids name no method.
    #[error("unknown method {method} of class {class}")]
    UnknownMethod {
        /// The class id.
        class: u16,
        /// The method id.
        method: u16,
    },
}

impl WireError {
    /// The reply code that RabbitMQ closes the connection with for this fault.
    #[must_use]
    pub const fn reply_code(self) -> ReplyCode {
        match self {
            Self::UnknownFrameType(_) | Self::FrameTooLarge { .. } | Self::BadFrameEnd(_) => {
                ReplyCode::FRAME_ERROR
            }
            Self::UnknownMethod { .. } => ReplyCode::NOT_IMPLEMENTED,
            _ => ReplyCode::SYNTAX_ERROR,
        }
    }
}
