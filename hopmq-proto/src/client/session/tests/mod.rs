//! What is restored, against a server that is a few maps.

mod restore;
mod server;
mod topology;
mod wire;
mod world;

use crate::amqp::{Method, ShortStr, exchange, queue};

fn short(text: &str) -> ShortStr {
    text.try_into().unwrap()
}

fn declare_exchange(name: &str, auto_delete: bool) -> Method {
    exchange::Declare { exchange: short(name), kind: short("fanout"), auto_delete, ..Default::default() }
        .into()
}

fn delete_exchange(name: &str) -> Method {
    exchange::Delete { exchange: short(name), ..Default::default() }.into()
}

fn bind_exchange(destination: &str, source: &str, key: &str) -> Method {
    let (destination, source, routing_key) = (short(destination), short(source), short(key));
    exchange::Bind { destination, source, routing_key, ..Default::default() }.into()
}

fn unbind_exchange(destination: &str, source: &str, key: &str) -> Method {
    let (destination, source, routing_key) = (short(destination), short(source), short(key));
    exchange::Unbind { destination, source, routing_key, ..Default::default() }.into()
}

fn declare_queue(name: &str) -> Method {
    queue::Declare { queue: short(name), ..Default::default() }.into()
}

fn delete_queue(name: &str) -> Method {
    queue::Delete { queue: short(name), ..Default::default() }.into()
}

fn bind_queue(queue: &str, exchange: &str, key: &str) -> Method {
    let (queue, exchange, routing_key) = (short(queue), short(exchange), short(key));
    queue::Bind { queue, exchange, routing_key, ..Default::default() }.into()
}

fn unbind_queue(queue: &str, exchange: &str, key: &str) -> Method {
    let (queue, exchange, routing_key) = (short(queue), short(exchange), short(key));
    queue::Unbind { queue, exchange, routing_key, ..Default::default() }.into()
}
