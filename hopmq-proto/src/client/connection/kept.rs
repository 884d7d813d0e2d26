use bytes::BytesMut;

use super::core::Core;
use super::publishing::Outgoing;
use super::returns::Fingerprint;
use crate::amqp::{Method, Properties, Publish, WireError, write_content, write_method, write_publish};
use crate::client::{Message, WhenLost};
use crate::{Instant, Outbox};

/// The header of a message that may have been sent before: it was on its way when the connection was lost.
const POSSIBLE_DUPLICATE: &str = "x-possible-duplicate";
/// What a header frame has besides the properties.
const HEADER_COST: usize = 20;

/// A body of this size or more is kept as it is; a smaller one is copied, which is cheaper.
const SHARE_BODY_AT: usize = 512;
/// How much of small parts goes into one allocation.
const BLOCK: usize = 32 * 1024;
/// What a message costs on top of its bytes.
const COST: usize = 128;

/// Where what was published is kept until its fate is known, so that it can be sent again. Many small messages share an
/// allocation.
#[derive(Debug, Default)]
pub(super) struct Store {
    block: BytesMut,
    /// How many bytes are kept, what they cost included.
    bytes: usize,
}

/// A publish that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) message: Message,
    pub(super) mandatory: bool,
    pub(super) immediate: bool,
    pub(super) when_lost: WhenLost,
    /// It was sent, in this life or an earlier one.
    pub(super) sent: bool,
}

impl Store {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a message whose parts are known to fit a frame.
    pub(super) fn keep(&mut self, outgoing: &Outgoing<'_>, properties: &[u8], sent: bool) -> Kept {
        let Outgoing { publish, body, when_lost, .. } = *outgoing;
        let shares = body.len() >= SHARE_BODY_AT;
        let inline = if shares { &[] } else { body.as_ref() };
        let parts = [publish.exchange, publish.routing_key, properties, inline];
        let len = parts.iter().map(|part| part.len()).sum();
        if self.block.capacity() < len {
            self.block = BytesMut::with_capacity(BLOCK.max(len));
        }
        for part in parts {
            self.block.extend_from_slice(part);
        }
        #[allow(clippy::cast_possible_truncation)] // they fit a frame
        let message = Message {
            block: self.block.split().freeze(),
            exchange_len: publish.exchange.len() as u8,
            routing_key_len: publish.routing_key.len() as u8,
            properties_len: properties.len() as u32,
            large_body: shares.then(|| body.clone()),
        };
        self.bytes += message.size() + COST;
        let (mandatory, immediate) = (publish.mandatory, publish.immediate);
        Kept { message, mandatory, immediate, when_lost, sent }
    }

    /// Keeps a message no longer. Its body's owner may do anything when it is dropped: that is left to the outbox's owner.
    pub(super) fn release(&mut self, kept: Kept, outbox: &mut Outbox) {
        self.bytes -= kept.message.size() + COST;
        if let Some(body) = kept.message.large_body {
            outbox.drop_later(body);
        }
    }
}

impl Kept {
    pub(super) fn publish(&self) -> Publish<'_> {
        Publish {
            exchange: self.message.exchange_bytes(),
            routing_key: self.message.routing_key_bytes(),
            mandatory: self.mandatory,
            immediate: self.immediate,
        }
    }
}

impl Core {
    pub(super) fn release_kept(&mut self, kept: Option<Kept>) {
        if let Some(kept) = kept {
            self.kept.release(kept, &mut self.outbox);
        }
    }

    /// Encodes the properties of a message that is not sent yet, and checks that it will fit a frame as large as the last
    /// server took.
    pub(super) fn check_content(
        &self,
        publish: &Publish<'_>,
        properties: &Properties,
    ) -> Result<BytesMut, WireError> {
        let mut encoded = BytesMut::new();
        write_publish(&mut encoded, publish)?;
        encoded.clear();
        properties.encode(&mut encoded)?;
        let size = encoded.len() + HEADER_COST;
        let max = self.frame_max.max(self.frame_max_before);
        if size > max {
            return Err(WireError::FrameTooLarge { size, max });
        }
        Ok(encoded)
    }

    /// Checks that a method that is not sent yet will fit a frame.
    pub(super) fn check_method(&self, method: &Method) -> Result<(), WireError> {
        write_method(&mut BytesMut::new(), 0, self.frame_max.max(self.frame_max_before), method)
    }

    /// Sends a message that was kept. One that may have been sent before says so in a header.
    pub(super) fn resend(
        &mut self,
        channel: u16,
        kept: &Kept,
        now: Instant,
    ) -> Result<Option<Fingerprint>, WireError> {
        let mut marked = BytesMut::new();
        let properties = if kept.sent {
            mark(&mut marked, kept.message.properties_bytes())?;
            &marked
        } else {
            kept.message.properties_bytes()
        };
        let (mut publish, body) = (kept.publish(), kept.message.clone().into_body());
        if publish.exchange.is_empty()
            && let Some(name) = self.topology.resolve_name(publish.routing_key)
        {
            publish.routing_key = name.as_bytes();
        }
        write_content(
            &mut self.outbox,
            channel,
            self.frame_max,
            |out| write_publish(out, &publish),
            |out| {
                out.extend_from_slice(properties);
                Ok(())
            },
            &body,
        )?;
        let Publish { exchange, routing_key, mandatory, .. } = publish;
        let fingerprint = mandatory.then(|| Fingerprint::of(exchange, routing_key, properties, &body));
        self.touch(now);
        Ok(fingerprint)
    }
}

/// Puts the mark of what may have been sent before into encoded properties.
fn mark(out: &mut BytesMut, properties: &[u8]) -> Result<(), WireError> {
    let mut properties = Properties::decode(properties)?;
    properties.headers.get_or_insert_default().insert(POSSIBLE_DUPLICATE, true)?;
    properties.encode(out)
}
