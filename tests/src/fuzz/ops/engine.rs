use std::fmt::Debug;

use bytes::Bytes;
use hopmq_proto::amqp::{Method, Properties, Publish, Secret, ShortStr};
use hopmq_proto::client::{
    ChannelId, CommandError, Connection, Delivery, DeliveryId, Event, PublishError, Reply, Session, Settle,
    SettleError, Token, WhenLost,
};
use hopmq_proto::{Engine, Instant};

/// What a connection and a session have in common for their owner.
pub(super) trait Client: Engine<Event = Event> + Debug {
    fn open_channel(&mut self, now: Instant) -> Result<(ChannelId, Token), CommandError>;
    fn close_channel(&mut self, channel: ChannelId, now: Instant) -> Result<Token, CommandError>;
    fn check_channel(&mut self, channel: ChannelId) -> Result<(), CommandError>;
    fn call(&mut self, channel: ChannelId, method: Method, now: Instant) -> Result<Token, CommandError>;
    fn send_no_wait(&mut self, channel: ChannelId, method: Method, now: Instant) -> Result<(), CommandError>;
    fn last_queue(&mut self, channel: ChannelId) -> Option<&ShortStr>;
    fn abandon(&mut self, channel: ChannelId, token: Token);
    fn give_back(&mut self, reply: Reply, now: Instant);
    fn requeue(&mut self, delivery: Delivery, now: Instant);
    fn check_unconfirmed(&mut self, channel: ChannelId, limit: usize) -> Result<(), PublishError>;
    fn await_confirms(&mut self, channel: ChannelId) -> Result<Token, CommandError>;
    fn settle(&mut self, id: DeliveryId, settle: Settle, now: Instant) -> Result<(), SettleError>;
    fn close(&mut self, now: Instant) -> Result<Token, CommandError>;
    fn abort(&mut self, now: Instant);
    fn update_secret(
        &mut self,
        secret: Secret,
        reason: ShortStr,
        now: Instant,
    ) -> Result<Token, CommandError>;
    fn handle_transport_error(&mut self, why: String, now: Instant);
    fn set_paused(&mut self, paused: bool, now: Instant);

    fn publish(&mut self, channel: ChannelId, message: &Outgoing<'_>, now: Instant) -> Published;

    /// Looks at what can be asked and changes nothing.
    fn look(&self);
    /// A transport is open, where one is wanted.
    fn connected(&mut self, _now: Instant) {}
    /// None could be opened.
    fn dial_error(&mut self, _now: Instant) {}
    /// The transport is gone.
    fn disconnected(&mut self, now: Instant);
    /// Nobody opens transports any more.
    fn abandoned(&mut self, now: Instant);
}

pub(super) type Published = Result<Option<Token>, PublishError>;

/// A message to publish.
pub(super) struct Outgoing<'a> {
    pub(super) publish: Publish<'a>,
    pub(super) properties: Properties,
    pub(super) body: Bytes,
    /// A connection that does not come back need not know.
    pub(super) when_lost: WhenLost,
}

/// What all have under the same name, or what is inside them has.
macro_rules! alike {
    ($($inner:ident)?) => {
        fn open_channel(&mut self, now: Instant) -> Result<(ChannelId, Token), CommandError> {
            self$(.$inner)?.open_channel(now)
        }
        fn close_channel(&mut self, channel: ChannelId, now: Instant) -> Result<Token, CommandError> {
            self$(.$inner)?.close_channel(channel, now)
        }
        fn check_channel(&mut self, channel: ChannelId) -> Result<(), CommandError> {
            self$(.$inner)?.check_channel(channel)
        }
        fn call(&mut self, channel: ChannelId, method: Method, now: Instant) -> Result<Token, CommandError> {
            self$(.$inner)?.call(channel, method, now)
        }
        fn send_no_wait(
            &mut self,
            channel: ChannelId,
            method: Method,
            now: Instant,
        ) -> Result<(), CommandError> {
            self$(.$inner)?.send_no_wait(channel, method, now)
        }
        fn last_queue(&mut self, channel: ChannelId) -> Option<&ShortStr> {
            self$(.$inner)?.last_queue(channel)
        }
        fn abandon(&mut self, channel: ChannelId, token: Token) {
            self$(.$inner)?.abandon(channel, token);
        }
        fn give_back(&mut self, reply: Reply, now: Instant) {
            self$(.$inner)?.give_back(reply, now);
        }
        fn requeue(&mut self, delivery: Delivery, now: Instant) {
            self$(.$inner)?.requeue(delivery, now);
        }
        fn check_unconfirmed(&mut self, channel: ChannelId, limit: usize) -> Result<(), PublishError> {
            self$(.$inner)?.check_unconfirmed(channel, limit)
        }
        fn await_confirms(&mut self, channel: ChannelId) -> Result<Token, CommandError> {
            self$(.$inner)?.await_confirms(channel)
        }
        fn settle(&mut self, id: DeliveryId, settle: Settle, now: Instant) -> Result<(), SettleError> {
            self$(.$inner)?.settle(id, settle, now)
        }
        fn close(&mut self, now: Instant) -> Result<Token, CommandError> {
            self$(.$inner)?.close(now)
        }
        fn abort(&mut self, now: Instant) {
            self$(.$inner)?.abort(now);
        }
        fn update_secret(
            &mut self,
            new: Secret,
            reason: ShortStr,
            now: Instant,
        ) -> Result<Token, CommandError> {
            self$(.$inner)?.update_secret(new, reason, now)
        }
        fn handle_transport_error(&mut self, why: String, now: Instant) {
            self$(.$inner)?.handle_transport_error(why, now);
        }
        fn set_paused(&mut self, paused: bool, now: Instant) {
            self$(.$inner)?.set_paused(paused, now);
        }
    };
}

impl Client for Connection {
    alike!();

    fn publish(&mut self, channel: ChannelId, message: &Outgoing<'_>, now: Instant) -> Published {
        self.publish(channel, &message.publish, &message.properties, &message.body, now)
    }

    fn look(&self) {
        let _ = self.close_reason();
    }

    fn disconnected(&mut self, now: Instant) {
        self.handle_eof(now);
    }

    fn abandoned(&mut self, now: Instant) {
        self.handle_eof(now);
    }
}

impl Client for Session {
    alike!();

    fn publish(&mut self, channel: ChannelId, message: &Outgoing<'_>, now: Instant) -> Published {
        let Outgoing { publish, properties, body, when_lost } = message;
        self.publish_with(channel, publish, properties, body, *when_lost, now)
    }

    fn look(&self) {
        let _ = (self.close_reason(), self.is_open(), self.lives(), self.unconfirmed_bytes());
    }

    fn connected(&mut self, now: Instant) {
        self.handle_connected(now);
    }

    fn dial_error(&mut self, now: Instant) {
        self.handle_dial_error("refused".to_owned(), now);
    }

    fn disconnected(&mut self, now: Instant) {
        self.handle_disconnected(now);
    }

    fn abandoned(&mut self, now: Instant) {
        self.handle_abandoned("nobody dials".to_owned(), now);
    }
}

#[cfg(test)]
pub(super) use alike;
