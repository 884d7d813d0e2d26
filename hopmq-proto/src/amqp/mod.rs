//! AMQP 0-9-1 on the wire: frames, methods, properties, tables and SASL, as both sides speak it.
//!
//! Encoding is strict, decoding lenient: strings from a peer may hold any bytes, unknown flags and old type tags are
//! understood, and nothing that a peer sends can make a decoder panic, loop, or allocate more than some hundred times
//! the size of the frame it came in (a value without content is one byte on the wire and 40 in memory).

mod content;
mod error;
mod frame;
mod method;
mod properties;
mod reader;
mod reply_code;
mod sasl;
mod spec;
mod strings;
mod table;
mod writer;

pub(crate) use content::write_body;
pub use content::{ContentHeader, Deliver, Publish, write_ack, write_content, write_deliver, write_publish};
pub use error::WireError;
pub use frame::{
    FRAME_END, FRAME_HEADER_LEN, FRAME_MIN_SIZE, FRAME_OVERHEAD, FrameHead, FrameKind, HEARTBEAT_FRAME,
    PROTOCOL_HEADER, write_frame, write_method,
};
pub use method::Arguments;
pub use properties::Properties;
pub use reader::Reader;
pub use reply_code::ReplyCode;
pub use sasl::{Credentials, Mechanism, SaslError};
pub use spec::{Method, access, basic, channel, confirm, connection, exchange, queue, tx};
pub use strings::{LongStr, Secret, ShortStr};
pub use table::{FieldTable, FieldValue, MAX_TABLE_DEPTH};
pub use writer::Writer;
