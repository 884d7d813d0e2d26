use std::sync::Arc;

use hopmq_proto::amqp::FieldValue;
use hopmq_proto::client::{CallError, CloseReason, Returned, ServerInfo};
use tracing::{Span, debug, info, trace, warn};

use crate::client::ConnectionEvent;

/// Something that is to be told.
#[derive(Debug)]
pub(super) enum Note {
    Connected(Box<ServerInfo>),
    Happened(ConnectionEvent),
    ChannelOpened(u16),
    ChannelClosed(u16, Arc<CloseReason>),
    ConsumerCancelled(u16),
    Called { channel: u16, method: &'static str, token: u64 },
    Answered { token: u64, error: Option<CallError> },
    Published { channel: u16, exchange: String, routing_key: String, bytes: usize, token: Option<u64> },
    Confirmed { token: u64, fate: &'static str },
    Delivered { channel: Option<u16>, tag: Option<u64>, redelivered: bool, bytes: usize },
}

/// How many messages are not known to be on the server.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) nacked: u64,
    pub(super) returned: u64,
    /// One of those that came back.
    pub(super) example: Option<Box<Returned>>,
    pub(super) unknown: u64,
    /// Why one of those is not confirmed.
    pub(super) cause: Option<CallError>,
}

impl Note {
    pub(super) fn tell(self, span: &Span) {
        match self {
            Self::Connected(server) => connected(span, &server),
            Self::Happened(event) => happened(span, &event),
            Self::ChannelOpened(channel) => info!(parent: span, channel, "channel opened"),
            Self::ChannelClosed(channel, cause) if is_own(&cause) => {
                info!(parent: span, channel, %cause, "channel closed");
            }
            Self::ChannelClosed(channel, cause) => warn!(parent: span, channel, %cause, "channel ended"),
            Self::ConsumerCancelled(channel) => info!(parent: span, channel, "consumer cancelled"),
            Self::Called { channel, method, token } => debug!(parent: span, channel, method, token, "call"),
            Self::Answered { token, error: None } => debug!(parent: span, token, "answer"),
            Self::Answered { token, error: Some(cause) } => debug!(parent: span, token, %cause, "no answer"),
            Self::Published { channel, exchange, routing_key, bytes, token } => {
                trace!(parent: span, channel, exchange, routing_key, bytes, token, "publish");
            }
            Self::Confirmed { token, fate } => trace!(parent: span, token, fate, "confirm"),
            Self::Delivered { channel, tag, redelivered, bytes } => {
                trace!(parent: span, channel, tag, redelivered, bytes, "delivery");
            }
        }
    }
}

impl Refused {
    pub(super) fn on_unknown(&mut self, cause: impl FnOnce() -> CallError) {
        self.unknown += 1;
        self.cause.get_or_insert_with(cause);
    }

    pub(super) fn tell(self, span: &Span) {
        let Self { nacked, returned, example, unknown, cause } = self;
        if nacked > 0 {
            warn!(parent: span, count = nacked, "messages nacked");
        }
        if let Some(example) = example {
            warn!(parent: span, count = returned, %example, "messages returned");
        }
        if let Some(cause) = cause {
            warn!(parent: span, count = unknown, %cause, "messages not confirmed");
        }
    }
}

fn connected(span: &Span, server: &ServerInfo) {
    let said = |name| server.properties.get(name).and_then(FieldValue::as_str).unwrap_or_default();
    let ServerInfo { channel_max, frame_max, heartbeat, .. } = *server;
    let (product, version) = (said("product"), said("version"));
    info!(parent: span, product, version, channel_max, frame_max, heartbeat, "connected");
}

fn happened(span: &Span, event: &ConnectionEvent) {
    match event {
        ConnectionEvent::Blocked { reason } => warn!(parent: span, cause = reason, "blocked"),
        ConnectionEvent::Unblocked => info!(parent: span, "unblocked"),
        ConnectionEvent::SecretUpdated => info!(parent: span, "secret renewed"),
        ConnectionEvent::RefreshFailed { error } => {
            warn!(parent: span, cause = error, "secret not renewed");
        }
        ConnectionEvent::Lost { reason: cause } => warn!(parent: span, %cause, "connection lost"),
        ConnectionEvent::AttemptFailed { endpoint, reason: cause, retry_in } => {
            let retry_in = retry_in.map(tracing::field::debug);
            warn!(parent: span, %endpoint, %cause, retry_in, "connect attempt failed");
        }
        ConnectionEvent::QueueRenamed { old, new } => info!(parent: span, old, new, "queue renamed"),
        ConnectionEvent::Degraded { entity, reason: cause } => {
            warn!(parent: span, %entity, %cause, "not brought back");
        }
        ConnectionEvent::Recovered { took, outcomes } => {
            let restored = outcomes.iter().filter(|outcome| outcome.result.is_ok()).count();
            let refused = outcomes.len() - restored;
            info!(parent: span, ?took, restored, refused, "connection recovered");
        }
        ConnectionEvent::Closed(cause) if is_own(cause) => info!(parent: span, %cause, "connection closed"),
        ConnectionEvent::Closed(cause) => warn!(parent: span, %cause, "connection ended"),
    }
}

/// Whether this client wanted it.
fn is_own(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Requested | CloseReason::Aborted)
}
