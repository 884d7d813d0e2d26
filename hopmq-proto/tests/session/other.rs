//! Another client of the same broker, whose connection never breaks.

use bytes::{Bytes, BytesMut};
use hopmq_proto::amqp::{Method, Properties, Publish, exchange};
use hopmq_proto::broker::{Broker, ConnectionId, Peer};
use hopmq_proto::client::{CallError, ChannelId, Config, Connection, Event, Reply, Token};
use hopmq_proto::{Engine, Instant};

use crate::net::{short, take};

pub(crate) struct Other {
    client: Connection,
    id: ConnectionId,
    channel: ChannelId,
    events: Vec<Event>,
}

impl Other {
    pub(crate) fn new(broker: &mut Broker, now: Instant) -> Self {
        let id = broker.accept(Peer { loopback: true, name: "other".into() }, now);
        let mut client = Connection::new(Config::default(), now);
        let mut events = Vec::new();
        carry(&mut client, id, &mut events, broker, now);
        let (channel, _) = client.open_channel(now).unwrap();
        carry(&mut client, id, &mut events, broker, now);
        Self { client, id, channel, events: Vec::new() }
    }

    /// Calls; after a refusal on a new channel.
    pub(crate) fn call(
        &mut self,
        broker: &mut Broker,
        method: impl Into<Method>,
        now: Instant,
    ) -> Result<Reply, CallError> {
        let token = self.client.call(self.channel, method, now).unwrap();
        let result = self.answer(broker, token, now);
        if result.is_err() {
            self.open_channel(broker, now);
        }
        result
    }

    fn open_channel(&mut self, broker: &mut Broker, now: Instant) {
        let (channel, opened) = self.client.open_channel(now).unwrap();
        self.answer(broker, opened, now).unwrap();
        self.channel = channel;
    }

    /// Closes the channel, and opens another.
    pub(crate) fn reopen(&mut self, broker: &mut Broker, now: Instant) {
        let closed = self.client.close_channel(self.channel, now).unwrap();
        self.answer(broker, closed, now).unwrap();
        self.open_channel(broker, now);
    }

    fn answer(&mut self, broker: &mut Broker, token: Token, now: Instant) -> Result<Reply, CallError> {
        carry(&mut self.client, self.id, &mut self.events, broker, now);
        let answer = self.events.drain(..).find_map(|event| match event {
            Event::Reply { token: t, result } if t == token => Some(result),
            _ => None,
        });
        answer.expect("an answer")
    }

    pub(crate) fn publish(&mut self, broker: &mut Broker, exchange: &str, key: &str, now: Instant) {
        let publish =
            Publish { exchange: exchange.as_bytes(), routing_key: key.as_bytes(), ..Publish::default() };
        let body = Bytes::from_static(b"probe");
        self.client.publish(self.channel, &publish, &Properties::new(), &body, now).unwrap();
        carry(&mut self.client, self.id, &mut self.events, broker, now);
    }

    pub(crate) fn has_exchange(&mut self, broker: &mut Broker, name: &str, now: Instant) -> bool {
        let declare = exchange::Declare { exchange: short(name), passive: true, ..Default::default() };
        self.call(broker, declare, now).is_ok()
    }
}

fn carry(
    client: &mut Connection,
    id: ConnectionId,
    events: &mut Vec<Event>,
    broker: &mut Broker,
    now: Instant,
) {
    let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
    loop {
        take(client.outbox(), &mut to_server);
        let mut server = broker.connection(id).unwrap();
        take(server.outbox(), &mut to_client);
        if to_server.is_empty() && to_client.is_empty() {
            break;
        }
        server.handle_input(&mut to_server, now);
        client.handle_input(&mut to_client, now);
        events.extend(std::iter::from_fn(|| client.poll_event()));
    }
}
