use hopmq_proto::amqp::Publish;
use hopmq_proto::client::{CallError, ChannelId, Config, Confirmation, Delivery, Event, Reply, Token};
use tracing::level_filters::LevelFilter;
use tracing::{Span, error_span, info};

use super::note::{Note, Refused};
use crate::client::{ConnectionEvent, Endpoint};

/// What is to be told of one connection, in the order in which it happened.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    notes: Vec<Note>,
    /// Thousands of messages may be refused together: all of them are one event.
    refused: Option<Box<Refused>>,
    /// Why a connection never opened is told by who tried.
    has_opened: bool,
}

/// Whether anybody may listen to this level. It asks no subscriber, which could do anything.
fn is_on(level: LevelFilter) -> bool {
    level <= LevelFilter::current()
}

impl Journal {
    fn note(&mut self, level: LevelFilter, note: impl FnOnce() -> Note) {
        if is_on(level) {
            self.notes.push(note());
        }
    }

    pub(crate) fn on_event(&mut self, event: &Event) {
        match event {
            Event::Opened(server) => {
                self.has_opened = true;
                self.note(LevelFilter::INFO, || Note::Connected(server.clone()));
            }
            Event::Reply { token, result } => self.on_reply(*token, result),
            Event::Confirmed { token, result } => self.on_confirmed(*token, result),
            Event::Delivery { delivery, .. } => self.on_delivery(delivery),
            Event::ChannelClosed { channel, reason } => {
                self.note(LevelFilter::WARN, || Note::ChannelClosed(channel.number(), reason.clone()));
            }
            Event::Blocked { reason } => {
                let reason = || reason.to_string_lossy().into_owned();
                self.note(LevelFilter::WARN, || {
                    Note::Happened(ConnectionEvent::Blocked { reason: reason() })
                });
            }
            Event::Unblocked => {
                self.note(LevelFilter::INFO, || Note::Happened(ConnectionEvent::Unblocked));
            }
            Event::Closed { reason } if self.has_opened => {
                self.note(LevelFilter::WARN, || Note::Happened(ConnectionEvent::Closed(reason.clone())));
            }
            _ => {}
        }
    }

    /// What no engine knows of.
    pub(crate) fn on_announced(&mut self, event: &ConnectionEvent) {
        self.note(LevelFilter::WARN, || Note::Happened(event.clone()));
    }

    pub(crate) fn on_cancelled(&mut self, channel: ChannelId) {
        self.note(LevelFilter::INFO, || Note::ConsumerCancelled(channel.number()));
    }

    pub(crate) fn on_call(&mut self, channel: ChannelId, method: &'static str, token: Token) {
        let (channel, token) = (channel.number(), token.as_u64());
        self.note(LevelFilter::DEBUG, || Note::Called { channel, method, token });
    }

    pub(crate) fn on_publish(
        &mut self,
        channel: ChannelId,
        publish: &Publish<'_>,
        bytes: usize,
        token: Option<Token>,
    ) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.note(LevelFilter::TRACE, || Note::Published {
            channel: channel.number(),
            exchange: text(publish.exchange),
            routing_key: text(publish.routing_key),
            bytes,
            token: token.map(Token::as_u64),
        });
    }

    fn on_reply(&mut self, token: Token, result: &Result<Reply, CallError>) {
        match result {
            Ok(Reply::Channel(id)) => self.note(LevelFilter::INFO, || Note::ChannelOpened(id.number())),
            Ok(Reply::Message { delivery, .. }) => self.on_delivery(delivery),
            _ => {}
        }
        let error = || result.as_ref().err().cloned();
        self.note(LevelFilter::DEBUG, || Note::Answered { token: token.as_u64(), error: error() });
    }

    fn on_confirmed(&mut self, token: Token, result: &Result<Confirmation, CallError>) {
        let fate = match result {
            Ok(Confirmation::Acked) => "acked",
            Ok(Confirmation::Nacked) => "nacked",
            Ok(Confirmation::Returned(_)) => "returned",
            Ok(Confirmation::Unsent(_)) => "unsent",
            Err(_) => "unknown",
        };
        self.note(LevelFilter::TRACE, || Note::Confirmed { token: token.as_u64(), fate });
        if matches!(result, Ok(Confirmation::Acked)) || !is_on(LevelFilter::WARN) {
            return;
        }
        let refused = self.refused.get_or_insert_default();
        match result {
            Ok(Confirmation::Acked) => {}
            Ok(Confirmation::Nacked) => refused.nacked += 1,
            Ok(Confirmation::Returned(returned)) => {
                refused.returned += 1;
                refused.example.get_or_insert_with(|| returned.clone());
            }
            Ok(Confirmation::Unsent(unsent)) => {
                refused.on_unknown(|| CallError::Closed(unsent.reason.clone()));
            }
            Err(error) => refused.on_unknown(|| error.clone()),
        }
    }

    fn on_delivery(&mut self, delivery: &Delivery) {
        self.note(LevelFilter::TRACE, || Note::Delivered {
            channel: delivery.id.as_ref().map(|id| id.channel().number()),
            tag: delivery.id.as_ref().map(|id| id.tag()),
            redelivered: delivery.redelivered,
            bytes: delivery.message.body().len(),
        });
    }
}

/// The span of a connection. Whatever is told is told in it.
#[derive(Debug, Clone)]
pub(crate) struct Scope(Span);

impl Scope {
    /// It has no parent: a connection outlives what it was made for.
    pub(crate) fn new(config: &Config, endpoints: &[Endpoint]) -> Self {
        let endpoints: Vec<_> = endpoints.iter().map(Endpoint::to_string).collect();
        // Of the highest level, so that no filter leaves a warning without it.
        Self(error_span!(
            parent: None,
            "connection",
            name = config.connection_name.as_ref().map(|name| name.to_string_lossy()).as_deref(),
            endpoints = endpoints.join(", "),
            vhost = &*config.virtual_host.to_string_lossy(),
        ))
    }

    pub(crate) fn connecting(&self, endpoint: &Endpoint) {
        info!(parent: &self.0, %endpoint, "connecting");
    }

    /// What is to be told when the lock is released.
    pub(crate) const fn telling(&self) -> Telling<'_> {
        Telling { scope: self, notes: Vec::new(), refused: None }
    }
}

/// Tells what it has taken when it is dropped.
#[derive(Debug)]
pub(crate) struct Telling<'a> {
    scope: &'a Scope,
    notes: Vec<Note>,
    refused: Option<Box<Refused>>,
}

impl Telling<'_> {
    pub(crate) fn take(&mut self, journal: &mut Journal) {
        if !journal.notes.is_empty() {
            self.notes = std::mem::take(&mut journal.notes);
        }
        self.refused = journal.refused.take();
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if let Some(refused) = self.refused.take() {
            refused.tell(&self.scope.0);
        }
        for note in self.notes.drain(..) {
            note.tell(&self.scope.0);
        }
    }
}
