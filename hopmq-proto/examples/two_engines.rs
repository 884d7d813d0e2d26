//! A client and a broker in one loop: no socket, no clock, no runtime, no thread. Time is a number.

#![allow(clippy::print_stdout)] // it talks to whoever runs it

use std::error::Error;

use bytes::{Bytes, BytesMut};
use hopmq_proto::amqp::{Properties, Publish, ShortStr, basic, queue};
use hopmq_proto::broker::{self, Broker, Peer};
use hopmq_proto::client::{Config, Connection, Event};
use hopmq_proto::{Engine, Instant};

/// Carries the bytes of each to the other until neither has any.
fn exchange(client: &mut Connection, server: &mut broker::Connection<'_>, now: Instant) {
    let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
    while !client.outbox().is_empty() || !server.outbox().is_empty() {
        client.outbox().chunks().for_each(|chunk| to_server.extend_from_slice(chunk));
        client.outbox().clear();
        server.handle_input(&mut to_server, now);
        server.outbox().chunks().for_each(|chunk| to_client.extend_from_slice(chunk));
        server.outbox().clear();
        client.handle_input(&mut to_client, now);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let now = Instant::ZERO;
    let mut broker = Broker::new(broker::Config::default());
    let id = broker.accept(Peer { loopback: true, name: "memory".into() }, now);
    let mut server = broker.connection(id).ok_or("it was just accepted")?;
    let mut client = Connection::new(Config::default(), now);
    exchange(&mut client, &mut server, now);

    let (channel, _token) = client.open_channel(now)?;
    exchange(&mut client, &mut server, now);
    let queue = ShortStr::from_static("greetings");
    let _token = client.call(channel, queue::Declare { queue: queue.clone(), ..Default::default() }, now)?;
    let _token = client.call(channel, basic::Consume { queue, no_ack: true, ..Default::default() }, now)?;
    let to = Publish { routing_key: b"greetings", ..Publish::default() };
    client.publish(channel, &to, &Properties::new(), &Bytes::from_static(b"hello"), now)?;
    exchange(&mut client, &mut server, now);

    while let Some(event) = client.poll_event() {
        if let Event::Delivery { delivery, .. } = event {
            println!("delivered  {}", String::from_utf8_lossy(delivery.message.body()));
        }
    }
    Ok(())
}
