use std::iter;

use bytes::{Bytes, BytesMut};
use hopmq_proto::amqp::{Method, Properties, Publish};
use hopmq_proto::broker::{self, Broker, ConnectionId, Peer};
use hopmq_proto::client::{ChannelId, Config, Connection, DeliveryId, Event, Reply};
use hopmq_proto::{Engine, Instant};

/// The only time there is: no deadline ever comes.
pub(crate) const NOW: Instant = Instant::ZERO;

/// The exchange and the routing key of every message.
const EXCHANGE: &[u8] = b"amq.direct";
const ROUTING_KEY: &[u8] = b"orders.new";

/// A client and a broker that are each other's network, and one open channel.
pub(crate) struct Pair {
    pub(crate) client: Connection,
    pub(crate) channel: ChannelId,
    broker: Broker,
    id: ConnectionId,
}

impl Pair {
    pub(crate) fn open() -> Self {
        let config = broker::Config { max_outbox_bytes: usize::MAX / 8, ..Default::default() };
        let mut broker = Broker::new(config);
        let id = broker.accept(Peer { loopback: true, name: "bench".into() }, NOW);
        let config = Config { max_outbox: usize::MAX, max_event_bytes: usize::MAX, ..Default::default() };
        let mut client = Connection::new(config, NOW);
        exchange(&mut client, &mut broker, id);
        client.poll_event().expect("the connection is open");
        let (channel, _) = client.open_channel(NOW).expect("there are channels");
        exchange(&mut client, &mut broker, id);
        assert!(matches!(client.poll_event(), Some(Event::Reply { result: Ok(Reply::Channel(_)), .. })));
        Self { client, channel, broker, id }
    }

    /// Calls the broker and drops its answer.
    pub(crate) fn call(&mut self, method: impl Into<Method>) {
        let _ = self.client.call(self.channel, method, NOW).expect("the channel is open");
        exchange(&mut self.client, &mut self.broker, self.id);
        assert!(matches!(self.client.poll_event(), Some(Event::Reply { result: Ok(_), .. })));
    }

    pub(crate) fn publish(&mut self, mandatory: bool, properties: &Properties, body: &Bytes) {
        let publish = Publish { exchange: EXCHANGE, routing_key: ROUTING_KEY, mandatory, immediate: false };
        let accepted = self.client.publish(self.channel, &publish, properties, body, NOW);
        assert!(accepted.is_ok());
    }

    /// What the client has to write.
    pub(crate) fn client_bytes(&mut self) -> BytesMut {
        take(&mut self.client)
    }

    /// Lets the broker read `bytes`.
    pub(crate) fn broker_reads(&mut self, mut bytes: BytesMut) {
        self.server().handle_input(&mut bytes, NOW);
        assert!(bytes.is_empty());
    }

    /// What the broker has to write.
    pub(crate) fn broker_bytes(&mut self) -> BytesMut {
        take(&mut self.server())
    }

    /// Drops what the broker has to write, as if it were written. Returns how much it was.
    pub(crate) fn broker_wrote(&mut self) -> usize {
        let mut server = self.server();
        let len = server.outbox().len();
        server.outbox().consume(len);
        len
    }

    /// Lets the client read `bytes`.
    pub(crate) fn client_reads(&mut self, bytes: &mut BytesMut) {
        self.client.handle_input(bytes, NOW);
        assert!(bytes.is_empty());
    }

    /// Takes the client's events; gives what its deliveries are settled with.
    pub(crate) fn deliveries(&mut self) -> Vec<DeliveryId> {
        let events = iter::from_fn(|| self.client.poll_event());
        let id = |event| match event {
            Event::Delivery { delivery, .. } => delivery.id,
            _ => None,
        };
        events.filter_map(id).collect()
    }

    fn server(&mut self) -> broker::Connection<'_> {
        self.broker.connection(self.id).expect("it is never released")
    }
}

fn exchange(client: &mut Connection, broker: &mut Broker, id: ConnectionId) {
    let mut server = broker.connection(id).expect("it is never released");
    loop {
        let (mut to_server, mut to_client) = (take(client), take(&mut server));
        if to_server.is_empty() && to_client.is_empty() {
            return;
        }
        server.handle_input(&mut to_server, NOW);
        client.handle_input(&mut to_client, NOW);
    }
}

fn take(engine: &mut impl Engine) -> BytesMut {
    let outbox = engine.outbox();
    let mut bytes = BytesMut::with_capacity(outbox.len());
    outbox.chunks().for_each(|chunk| bytes.extend_from_slice(chunk));
    outbox.consume(bytes.len());
    bytes
}
