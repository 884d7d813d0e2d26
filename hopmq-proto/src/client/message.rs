use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use super::DeliveryId;
use super::close::Explained;
use crate::amqp::{Properties, ReplyCode, ShortStr, WireError};

/// A message from the server: where it was published, its properties and its body.
///
/// A small message is one allocation, with everything in it; a large body is a buffer of its own, never copied.
/// Properties are decoded when asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Exchange, routing key, properties, and the body when it is small.
    pub(super) block: Bytes,
    pub(super) exchange_len: u8,
    pub(super) routing_key_len: u8,
    pub(super) properties_len: u32,
    /// The body, when it is large.
    pub(super) large_body: Option<Bytes>,
}

impl Message {
    fn part(&self, start: usize, len: usize) -> &[u8] {
        self.block.get(start..start + len).unwrap_or_default()
    }

    fn body_start(&self) -> usize {
        self.exchange_len as usize + self.routing_key_len as usize + self.properties_len as usize
    }

    /// The exchange it was published to; empty is the default exchange.
    #[must_use]
    pub fn exchange_bytes(&self) -> &[u8] {
        self.part(0, self.exchange_len.into())
    }

    /// The exchange as text, with U+FFFD for what is not UTF-8.
    #[must_use]
    pub fn exchange(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.exchange_bytes())
    }

    /// The routing key it was published with.
    #[must_use]
    pub fn routing_key_bytes(&self) -> &[u8] {
        self.part(self.exchange_len.into(), self.routing_key_len.into())
    }

    /// The routing key as text, with U+FFFD for what is not UTF-8.
    #[must_use]
    pub fn routing_key(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.routing_key_bytes())
    }

    /// The properties as they came.
    pub(super) fn properties_bytes(&self) -> &[u8] {
        let start = self.exchange_len as usize + self.routing_key_len as usize;
        self.part(start, self.properties_len as usize)
    }

    /// The properties, decoded at each call.
    ///
    /// # Errors
    ///
    /// When the publisher encoded them wrongly; RabbitMQ does not check. The message can be settled all the same.
    pub fn properties(&self) -> Result<Properties, WireError> {
        Properties::decode(self.properties_bytes())
    }

    /// Whether it was delivered from a stream, where nothing is taken out and nothing can be put back: RabbitMQ closes the
    /// connection on a nack, with 540. Its mark is a header, which a publisher may have copied; then the broker puts
    /// the message back when the channel ends.
    pub(super) fn is_of_stream(&self) -> bool {
        let headers = self.properties().ok().and_then(|properties| properties.headers);
        headers.is_some_and(|headers| headers.get("x-stream-offset").is_some_and(|at| at.as_i64().is_some()))
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match &self.large_body {
            Some(body) => body,
            None => self.block.get(self.body_start()..).unwrap_or_default(),
        }
    }

    /// The body, without copying it.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        let start = self.body_start();
        self.large_body.unwrap_or_else(|| self.block.slice(start..))
    }

    /// How many bytes the message holds.
    #[must_use]
    pub fn size(&self) -> usize {
        self.block.len() + self.large_body.as_ref().map_or(0, Bytes::len)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("properties", &self.properties())
            .field("body_len", &self.body().len())
            .finish()
    }
}

/// A message for a consumer, or the answer to a get.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What to settle it with; `None` when the consumer or the get was without acknowledgement.
    pub id: Option<DeliveryId>,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// The message.
    pub message: Message,
}

/// A mandatory message that came back because no queue took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// Why.
    pub code: ReplyCode,
    /// Why, in the server's words.
    pub text: ShortStr,
    /// `basic.return` does not say which publish it is of, and another one with the same exchange, routing key,
    /// properties and body was on its way too: it may be that one which came back. As many of them came back as are
    /// said to, but not necessarily these. A message with, say, a `message_id` of its own is never ambiguous.
    pub ambiguous: bool,
    /// The message.
    pub message: Message,
}

impl fmt::Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exchange, key) = (self.message.exchange(), self.message.routing_key());
        let why = Explained { code: self.code, text: &self.text };
        write!(f, "the message to exchange {exchange:?} with routing key {key:?} came back: {why}")
    }
}
