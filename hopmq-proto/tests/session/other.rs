//! Another client of the same broker, whose connection never breaks.

use bytes::{Bytes, BytesMut};
use hopmq_proto::amqp::{Method, Properties, Publish, exchange};
use hopmq_proto::broker::{Broker, ConnectionId, Peer};
use hopmq_proto::client::{CallError, ChannelId, CommandError, Config, Connection, Event, Reply, Token};
use hopmq_proto::{Engine, Instant};

use crate::net::{short, take};

pub(crate) struct Other {
    client: Connection,
    id: ConnectionId,
    channels: [ChannelId; 2],
    events: Vec<Event>,
}

impl Other {
    pub(crate) fn new(broker: &mut Broker, now: Instant) -> Self {
        let id = broker.accept(Peer { loopback: true, name: "other".into() }, now);
        let mut client = Connection::new(Config::default(), now);
        let mut events = Vec::new();
        carry(&mut client, id, &mut events, broker, now);
        let channels = [(); 2].map(|()| {
            let (channel, _) = client.open_channel(now).unwrap();
            carry(&mut client, id, &mut events, broker, now);
            channel
        });
        Self { client, id, channels, events: Vec::new() }
    }

    /// Calls on the first channel.
    pub(crate) fn call(
        &mut self,
        broker: &mut Broker,
        method: impl Into<Method>,
        now: Instant,
    ) -> Result<Reply, CallError> {
        self.send(broker, 0, vec![method.into()], now).remove(0).expect("it is answered")
    }

    /// Sends these on a channel without waiting for the answers in between. After a refusal the channel is another.
    pub(crate) fn send(
        &mut self,
        broker: &mut Broker,
        on: usize,
        methods: Vec<Method>,
        now: Instant,
    ) -> Vec<Option<Result<Reply, CallError>>> {
        let channel = self.channels[on];
        let sent: Vec<Option<Token>> = methods
            .into_iter()
            .map(|method| match self.client.call(channel, method.clone(), now) {
                Ok(token) => Some(token),
                Err(CommandError::NotACall(_)) => {
                    self.client.send_no_wait(channel, method, now).unwrap();
                    None
                }
                Err(other) => panic!("{other}"),
            })
            .collect();
        self.run(broker, now);
        let answers = sent.into_iter().map(|token| token.map(|token| self.take_answer(token))).collect();
        if self.client.check_channel(channel).is_err() {
            self.channels[on] = self.open_channel(broker, now);
        }
        answers
    }

    fn open_channel(&mut self, broker: &mut Broker, now: Instant) -> ChannelId {
        let (channel, _) = self.client.open_channel(now).unwrap();
        self.run(broker, now);
        channel
    }

    /// Closes a channel, and opens another.
    pub(crate) fn reopen(&mut self, broker: &mut Broker, on: usize, now: Instant) {
        let _ = self.client.close_channel(self.channels[on], now).unwrap();
        self.run(broker, now);
        self.channels[on] = self.open_channel(broker, now);
    }

    fn take_answer(&mut self, token: Token) -> Result<Reply, CallError> {
        let is_answer = |event: &Event| matches!(event, Event::Reply { token: t, .. } if *t == token);
        let at = self.events.iter().position(is_answer).expect("an answer");
        match self.events.swap_remove(at) {
            Event::Reply { result, .. } => result,
            other => panic!("{other:?}"),
        }
    }

    fn run(&mut self, broker: &mut Broker, now: Instant) {
        carry(&mut self.client, self.id, &mut self.events, broker, now);
    }

    pub(crate) fn publish(&mut self, broker: &mut Broker, exchange: &str, key: &str, now: Instant) {
        let publish =
            Publish { exchange: exchange.as_bytes(), routing_key: key.as_bytes(), ..Publish::default() };
        let body = Bytes::from_static(b"probe");
        self.client.publish(self.channels[0], &publish, &Properties::new(), &body, now).unwrap();
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
