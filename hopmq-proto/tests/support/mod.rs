//! The server's side of a conversation with a client engine, scripted frame by frame, and a clock that only moves
//! when it is told to.

#![allow(dead_code, unreachable_pub)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hopmq_proto::amqp::{
    ContentHeader, FRAME_HEADER_LEN, FieldTable, FrameHead, FrameKind, LongStr, Method, Properties, Publish,
    ShortStr, basic, channel, confirm, connection, write_frame, write_method,
};
use hopmq_proto::client::{
    CallError, ChannelId, CloseReason, Config, Confirmation, Connection, Delivery, Event, PeerMisbehaved,
    PublishError, Reply, Token,
};
use hopmq_proto::{Engine, Instant, Want};

/// What the client has sent: a frame, decoded.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // a handful of them
pub enum Sent {
    Greeting,
    Method(u16, Method),
    Header(u16, u64, Properties),
    Body(u16, Vec<u8>),
    Heartbeat,
}

impl Sent {
    pub fn method(channel: u16, method: impl Into<Method>) -> Self {
        Self::Method(channel, method.into())
    }
}

/// What the server proposes; no heartbeats, so that nothing moves by itself.
pub const TUNE: connection::Tune = connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 0 };

/// A frame of the server with a method.
pub fn method(channel: u16, method: impl Into<Method>) -> BytesMut {
    let mut out = BytesMut::new();
    write_method(&mut out, channel, usize::MAX, &method.into()).unwrap();
    out
}

/// A frame of the server with any payload.
pub fn frame(kind: FrameKind, channel: u16, payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    write_frame(&mut out, kind, channel, usize::MAX, |out| {
        out.extend_from_slice(payload);
        Ok(())
    })
    .unwrap();
    out
}

/// The header frame of a message.
pub fn header(channel: u16, body_size: u64, properties: &Properties) -> BytesMut {
    let mut payload = BytesMut::from(&[0, 60, 0, 0][..]);
    payload.extend_from_slice(&body_size.to_be_bytes());
    properties.encode(&mut payload).unwrap();
    frame(FrameKind::Header, channel, &payload)
}

/// A message: a method and its content, in body frames of up to `piece` bytes.
pub fn content(
    channel: u16,
    method_: impl Into<Method>,
    properties: &Properties,
    body: &[u8],
    piece: usize,
) -> BytesMut {
    let mut out = method(channel, method_);
    out.unsplit(header(channel, body.len() as u64, properties));
    for piece in body.chunks(piece) {
        out.unsplit(frame(FrameKind::Body, channel, piece));
    }
    out
}

/// `basic.deliver`.
pub fn deliver(consumer_tag: &'static str, delivery_tag: u64) -> basic::Deliver {
    basic::Deliver {
        consumer_tag: ShortStr::from_static(consumer_tag),
        delivery_tag,
        redelivered: false,
        exchange: ShortStr::empty(),
        routing_key: ShortStr::from_static("q"),
    }
}

/// `basic.return` of a message to the default exchange.
pub fn returned(routing_key: &'static str) -> basic::Return {
    basic::Return {
        reply_code: 312,
        reply_text: ShortStr::from_static("NO_ROUTE"),
        exchange: ShortStr::empty(),
        routing_key: ShortStr::from_static(routing_key),
    }
}

/// `basic.get-ok`.
pub fn get_ok(delivery_tag: u64) -> basic::GetOk {
    basic::GetOk {
        delivery_tag,
        redelivered: false,
        exchange: ShortStr::empty(),
        routing_key: ShortStr::from_static("q"),
        message_count: 3,
    }
}

/// `basic.ack` from the server.
pub fn ack(delivery_tag: u64, multiple: bool) -> basic::Ack {
    basic::Ack { delivery_tag, multiple }
}

/// `basic.nack` from the server.
pub fn nack(delivery_tag: u64, multiple: bool) -> basic::Nack {
    basic::Nack { delivery_tag, multiple, requeue: false }
}

/// `channel.close` from the server.
pub fn channel_close(reply_code: u16) -> channel::Close {
    channel::Close { reply_code, reply_text: ShortStr::from_static("because"), class_id: 50, method_id: 10 }
}

/// `connection.close` from the server.
pub fn connection_close(reply_code: u16) -> connection::Close {
    connection::Close {
        reply_code,
        reply_text: ShortStr::from_static("because"),
        class_id: 10,
        method_id: 40,
    }
}

/// `connection.start` of a server that offers `mechanisms`.
pub fn start(mechanisms: &'static str) -> connection::Start {
    connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: FieldTable::new().with("product", "Script"),
        mechanisms: LongStr::from_static(mechanisms),
        locales: LongStr::from_static("en_US"),
    }
}

/// A consumer without a name of the client's choice.
pub fn consume(queue: &'static str) -> basic::Consume {
    basic::Consume { queue: ShortStr::from_static(queue), ..Default::default() }
}

/// `basic.get` with acknowledgement.
pub fn get(queue: &'static str) -> basic::Get {
    basic::Get { queue: ShortStr::from_static(queue), no_ack: false }
}

/// The close that answers a broken protocol.
pub fn violation(reply_code: u16) -> connection::Close {
    connection::Close {
        reply_code,
        reply_text: ShortStr::from_static("protocol violation"),
        class_id: 0,
        method_id: 0,
    }
}

/// Heartbeats every so many seconds.
pub fn seconds(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

/// A client engine, the clock, and the wire.
#[derive(Debug)]
pub struct Client {
    pub engine: Connection,
    pub now: Instant,
    /// What has come and is not taken yet.
    pub input: BytesMut,
    /// What the client has written and is not decoded yet.
    written: BytesMut,
}

impl Client {
    pub fn new(config: Config) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let engine = Connection::new(config, now);
        Self { engine, now, input: BytesMut::new(), written: BytesMut::new() }
    }

    /// A client that is open, with the server's default limits.
    pub fn open() -> Self {
        Self::open_with(Config::default(), TUNE)
    }

    pub fn open_with(config: Config, tune: connection::Tune) -> Self {
        let mut client = Self::new(config);
        client.say(0, start("PLAIN AMQPLAIN"));
        client.say(0, tune);
        client.say(0, connection::OpenOk {});
        assert!(matches!(client.events()[..], [Event::Opened(_)]));
        client.sent();
        client
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.engine.handle_input(&mut self.input, self.now);
    }

    /// The server sends a method.
    pub fn say(&mut self, channel: u16, method_: impl Into<Method>) {
        self.feed(&method(channel, method_));
    }

    /// The server sends a message with these properties.
    pub fn say_content(
        &mut self,
        channel: u16,
        method_: impl Into<Method>,
        properties: &Properties,
        body: &[u8],
    ) {
        self.feed(&content(channel, method_, properties, body, 100_000));
    }

    /// Everything in the outbox, decoded.
    pub fn sent(&mut self) -> Vec<Sent> {
        let outbox = self.engine.outbox();
        outbox.chunks().for_each(|chunk| self.written.extend_from_slice(chunk));
        let len = outbox.len();
        outbox.consume(len);
        decode(&mut self.written)
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.engine.poll_event()).collect()
    }

    /// The only event.
    pub fn event(&mut self) -> Event {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    /// Lets time pass, and the deadlines in it.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.now);
        }
        self.now = end;
    }

    pub fn eof(&mut self) {
        self.engine.handle_eof(self.now);
    }

    /// Opens a channel.
    pub fn channel(&mut self) -> ChannelId {
        let (id, token) = self.engine.open_channel(self.now).unwrap();
        self.say(id.number(), channel::OpenOk {});
        assert!(matches!(self.reply(token), Ok(Reply::Channel(opened)) if opened == id));
        self.sent();
        id
    }

    /// Opens a channel with confirms.
    pub fn confirming(&mut self) -> ChannelId {
        let id = self.channel();
        let token = self.call(id, confirm::Select { no_wait: false });
        self.say(id.number(), confirm::SelectOk {});
        self.reply(token).unwrap();
        self.sent();
        id
    }

    /// Starts a consumer with a name of the server's choice.
    pub fn consumer(&mut self, channel: ChannelId, tag: &'static str, no_ack: bool) -> Token {
        let token = self.call(channel, basic::Consume { no_ack, ..consume("q") });
        self.say(channel.number(), basic::ConsumeOk { consumer_tag: ShortStr::from_static(tag) });
        assert!(matches!(self.reply(token), Ok(Reply::Consumer { .. })));
        self.sent();
        token
    }

    pub fn call(&mut self, channel: ChannelId, method: impl Into<Method>) -> Token {
        self.engine.call(channel, method, self.now).unwrap()
    }

    /// The only event, which must resolve this call.
    pub fn reply(&mut self, call: Token) -> Result<Reply, CallError> {
        match self.event() {
            Event::Reply { token, result } if token == call => result,
            other => panic!("{other:?}"),
        }
    }

    /// Publishes to the default exchange.
    pub fn try_publish(
        &mut self,
        channel: ChannelId,
        key: &str,
        body: &[u8],
    ) -> Result<Option<Token>, PublishError> {
        let publish =
            Publish { routing_key: key.as_bytes(), mandatory: key.starts_with('!'), ..Default::default() };
        let body = Bytes::copy_from_slice(body);
        self.engine.publish(channel, &publish, &Properties::new(), &body, self.now)
    }

    /// Publishes on a channel with confirms; mandatory when the key begins with `!`.
    pub fn publish(&mut self, channel: ChannelId, key: &str, body: &[u8]) -> Token {
        self.try_publish(channel, key, body).unwrap().unwrap()
    }

    /// The confirms among the events, and nothing else.
    pub fn confirms(&mut self) -> Vec<(Token, Result<Confirmation, CallError>)> {
        let confirm = |event| match event {
            Event::Confirmed { token, result } => (token, result),
            other => panic!("{other:?}"),
        };
        self.events().into_iter().map(confirm).collect()
    }

    /// The only event, which must be a delivery.
    pub fn delivery(&mut self) -> (Token, Delivery) {
        match self.event() {
            Event::Delivery { consumer, delivery } => (consumer, delivery),
            other => panic!("{other:?}"),
        }
    }

    /// Why the connection has ended; nothing else may have happened.
    pub fn closed(&mut self) -> CloseReason {
        let Event::Closed { reason } = self.event() else { panic!("not closed") };
        assert_eq!(self.engine.want(), Want::Shutdown);
        assert_eq!(self.engine.close_reason(), Some(&reason));
        (*reason).clone()
    }

    /// The server has broken the protocol: the client says so with this code, and closes.
    pub fn misbehaved(&mut self, reply_code: u16) -> PeerMisbehaved {
        assert_eq!(self.sent(), [Sent::method(0, violation(reply_code))]);
        match self.events().pop() {
            Some(Event::Closed { reason }) => match &*reason {
                CloseReason::PeerMisbehaved(fault) => fault.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Whether nothing waits for anything.
    pub fn is_quiet(&mut self) -> bool {
        self.events().is_empty() && self.sent().is_empty()
    }
}

/// Takes whole frames off `written`.
pub fn decode(written: &mut BytesMut) -> Vec<Sent> {
    let mut sent = Vec::new();
    if written.starts_with(b"AMQP") {
        assert_eq!(written.split_to(8)[..], b"AMQP\0\0\x09\x01"[..]);
        sent.push(Sent::Greeting);
    }
    while let Some(head) = FrameHead::peek(written, usize::MAX).unwrap() {
        let frame = written.split_to(head.frame_len());
        let payload = &frame[FRAME_HEADER_LEN..][..head.payload_len];
        sent.push(match head.kind {
            FrameKind::Method => Sent::Method(head.channel, Method::decode(payload).unwrap()),
            FrameKind::Header => {
                let header = ContentHeader::read(payload).unwrap();
                assert_eq!(header.class_id, 60);
                Sent::Header(head.channel, header.body_size, Properties::decode(header.properties).unwrap())
            }
            FrameKind::Body => Sent::Body(head.channel, payload.to_vec()),
            FrameKind::Heartbeat => Sent::Heartbeat,
        });
    }
    assert!(written.is_empty(), "half a frame is left: {written:?}");
    sent
}
