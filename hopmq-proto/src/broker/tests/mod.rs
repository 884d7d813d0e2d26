//! The broker driven by raw frames.
#![allow(clippy::cast_possible_truncation, clippy::large_enum_variant)] // small test data

mod alarm;
mod crash;
mod faults;
mod flow;
mod handshake;
mod messages;
mod robust;
mod topology;

use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};

use super::{Broker, Closed, Config, ConnectionId, Event, Peer, User};
use crate::amqp::*;
use crate::{Engine, Instant, Want};

/// What a client got.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Got {
    Method(u16, Method),
    /// A message: the method, its properties and body.
    Message(u16, Method, Properties, Bytes),
    Heartbeat,
    Header,
}

/// A broker and the time.
pub(super) struct Test {
    pub(super) broker: Broker,
    pub(super) now: Instant,
}

pub(super) fn short(text: &str) -> ShortStr {
    text.try_into().unwrap()
}

impl Test {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        Self { broker: Broker::new(config), now: Instant::from_nanos(1) }
    }

    pub(super) fn accept(&mut self) -> ConnectionId {
        self.broker.accept(Peer { loopback: true, name: "test".to_string() }, self.now)
    }

    pub(super) fn input(&mut self, id: ConnectionId, bytes: &[u8]) {
        let mut input = BytesMut::from(bytes);
        self.broker.connection(id).unwrap().handle_input(&mut input, self.now);
        assert!(input.is_empty(), "whole frames are taken");
    }

    pub(super) fn timeout(&mut self, id: ConnectionId) {
        self.broker.connection(id).unwrap().handle_timeout(self.now);
    }

    pub(super) fn deadline(&mut self, id: ConnectionId) -> Option<Instant> {
        self.broker.connection(id).unwrap().poll_timeout()
    }

    pub(super) fn want(&mut self, id: ConnectionId) -> Want {
        self.broker.connection(id).unwrap().want()
    }

    pub(super) fn events(&mut self, id: ConnectionId) -> Vec<Event> {
        let mut connection = self.broker.connection(id).unwrap();
        core::iter::from_fn(|| connection.poll_event()).collect()
    }

    pub(super) fn send(&mut self, id: ConnectionId, channel: u16, method: impl Into<Method>) {
        self.input(id, &frame(channel, method));
    }

    /// Takes what is in the outbox.
    pub(super) fn bytes(&mut self, id: ConnectionId) -> Vec<u8> {
        let mut connection = self.broker.connection(id).unwrap();
        let outbox = connection.outbox();
        let bytes: Vec<u8> = outbox.chunks().flatten().copied().collect();
        outbox.consume(bytes.len());
        assert!(outbox.is_empty());
        bytes
    }

    pub(super) fn got(&mut self, id: ConnectionId) -> Vec<Got> {
        decode(&self.bytes(id))
    }

    /// Sends a method, and returns the methods that came back.
    pub(super) fn call(&mut self, id: ConnectionId, channel: u16, method: impl Into<Method>) -> Vec<Got> {
        self.send(id, channel, method);
        self.got(id)
    }

    /// Sends a method, and returns the only answer.
    pub(super) fn ask(&mut self, id: ConnectionId, channel: u16, method: impl Into<Method>) -> Method {
        let got = self.call(id, channel, method);
        match &got[..] {
            [Got::Method(on, method)] if *on == channel => method.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a method that must fail: `channel 404 NOT_FOUND - … (50,10)`.
    pub(super) fn refusal(&mut self, id: ConnectionId, channel: u16, method: impl Into<Method>) -> String {
        self.send(id, channel, method);
        self.fault(id)
    }

    pub(super) fn fault(&mut self, id: ConnectionId) -> String {
        let got = self.got(id);
        match got.last() {
            Some(Got::Method(0, Method::ConnectionClose(c))) => {
                std::format!("connection {} {} ({},{})", c.reply_code, c.reply_text, c.class_id, c.method_id)
            }
            Some(Got::Method(_, Method::ChannelClose(c))) => {
                std::format!("channel {} {} ({},{})", c.reply_code, c.reply_text, c.class_id, c.method_id)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Channel `channel` again after a fault.
    pub(super) fn reopen(&mut self, id: ConnectionId, channel: u16) {
        self.send(id, channel, channel::CloseOk {});
        assert_eq!(self.ask(id, channel, channel::Open {}), channel::OpenOk {}.into());
    }

    /// A connection that is open, with channel 1.
    pub(super) fn client(&mut self) -> ConnectionId {
        self.client_with(131_072, true)
    }

    pub(super) fn client_with(&mut self, frame_max: u32, capable: bool) -> ConnectionId {
        let id = self.accept();
        self.input(id, &PROTOCOL_HEADER);
        let capabilities = FieldTable::new()
            .with("consumer_cancel_notify", capable)
            .with("connection.blocked", capable)
            .with("authentication_failure_close", capable);
        let start_ok = connection::StartOk {
            client_properties: FieldTable::new().with("capabilities", capabilities),
            mechanism: short("PLAIN"),
            response: Credentials::new("guest", "guest").response(Mechanism::Plain).unwrap(),
            locale: short("en_US"),
        };
        self.send(id, 0, start_ok);
        self.send(id, 0, connection::TuneOk { channel_max: 2047, frame_max, heartbeat: 60 });
        self.send(id, 0, connection::Open { virtual_host: short("/") });
        self.send(id, 1, channel::Open {});
        let got = self.got(id);
        assert!(matches!(got.last(), Some(Got::Method(1, Method::ChannelOpenOk(_)))), "{got:?}");
        id
    }

    pub(super) fn declare(&mut self, id: ConnectionId, queue: &str) {
        let reply = self.ask(id, 1, queue::Declare { queue: short(queue), ..Default::default() });
        assert!(matches!(reply, Method::QueueDeclareOk(_)), "{reply:?}");
    }

    pub(super) fn publish(&mut self, id: ConnectionId, queue: &str, body: &str) {
        self.input(id, &message(1, "", queue, body));
    }

    pub(super) fn consume(&mut self, id: ConnectionId, queue: &str, tag: &str, prefetch: u16) {
        self.send(id, 1, basic::Qos { prefetch_count: prefetch, ..Default::default() });
        let consume = basic::Consume { queue: short(queue), consumer_tag: short(tag), ..Default::default() };
        self.send(id, 1, consume);
    }

    /// The deliveries that came: consumer, tag, redelivered, body.
    pub(super) fn deliveries(&mut self, id: ConnectionId) -> Vec<(String, u64, bool, String)> {
        let deliveries = self.got(id).into_iter().filter_map(|got| match got {
            Got::Message(_, Method::BasicDeliver(d), _, body) => Some((
                d.consumer_tag.to_string(),
                d.delivery_tag,
                d.redelivered,
                String::from_utf8(body.to_vec()).unwrap(),
            )),
            _ => None,
        });
        deliveries.collect()
    }

    pub(super) fn bodies(&mut self, id: ConnectionId) -> Vec<String> {
        self.deliveries(id).into_iter().map(|(_, _, _, body)| body).collect()
    }

    pub(super) fn stats(&self, queue: &str) -> Option<(usize, usize, usize)> {
        self.broker.queue("/", queue).map(|stats| (stats.ready, stats.unacked, stats.consumers))
    }
}

pub(super) fn frame(channel: u16, method: impl Into<Method>) -> Vec<u8> {
    let mut out = BytesMut::new();
    write_method(&mut out, channel, 1 << 20, &method.into()).unwrap();
    out.to_vec()
}

pub(super) fn message(channel: u16, exchange: &str, key: &str, body: &str) -> Vec<u8> {
    let publish = basic::Publish { exchange: short(exchange), routing_key: short(key), ..Default::default() };
    content(channel, publish, &Properties::new(), body.as_bytes(), 131_072)
}

pub(super) fn content(
    channel: u16,
    publish: basic::Publish,
    properties: &Properties,
    body: &[u8],
    frame_max: usize,
) -> Vec<u8> {
    let mut outbox = crate::Outbox::new();
    let method = Method::from(publish);
    write_content(
        &mut outbox,
        channel,
        frame_max,
        |out| method.encode(out),
        |out| properties.encode(out),
        &Bytes::copy_from_slice(body),
    )
    .unwrap();
    outbox.chunks().flatten().copied().collect()
}

pub(super) fn decode(bytes: &[u8]) -> Vec<Got> {
    let mut input = Bytes::copy_from_slice(bytes);
    let mut got = vec![];
    if input.starts_with(b"AMQP") {
        assert_eq!(&input[..], PROTOCOL_HEADER);
        return vec![Got::Header];
    }
    let mut pending: Option<(u16, Method, Properties, u64, Vec<u8>)> = None;
    let mut method = None;
    while let Some(head) = FrameHead::peek(&input, 1 << 20).unwrap() {
        let payload = input.slice(FRAME_HEADER_LEN..FRAME_HEADER_LEN + head.payload_len);
        input.advance(head.frame_len());
        match head.kind {
            FrameKind::Heartbeat => got.push(Got::Heartbeat),
            FrameKind::Method => {
                assert!(pending.is_none() && method.is_none());
                let decoded = Method::decode(&payload).unwrap();
                if matches!(decoded, Method::BasicDeliver(_) | Method::BasicReturn(_) | Method::BasicGetOk(_))
                {
                    method = Some((head.channel, decoded));
                } else {
                    got.push(Got::Method(head.channel, decoded));
                }
            }
            FrameKind::Header => {
                let (channel, method) = method.take().unwrap();
                assert_eq!(channel, head.channel);
                let header = ContentHeader::read(&payload).unwrap();
                let properties = Properties::decode(header.properties).unwrap();
                pending = Some((channel, method, properties, header.body_size, vec![]));
            }
            FrameKind::Body => pending.as_mut().unwrap().4.extend_from_slice(&payload),
        }
        if pending.as_ref().is_some_and(|(.., size, body)| *size == body.len() as u64) {
            let (channel, method, properties, _, body) = pending.take().unwrap();
            got.push(Got::Message(channel, method, properties, body.into()));
        }
    }
    assert!(input.is_empty() && pending.is_none() && method.is_none(), "whole frames and messages");
    got
}

#[test]
fn a_broker_can_be_sent() {
    fn is_send<T: Send>() {}
    is_send::<Broker>();
}
