//! RabbitMQ's third tutorial: every subscriber gets every message.
//!
//! <https://www.rabbitmq.com/tutorials/tutorial-three-python>. A fanout exchange copies each log line to a queue of each
//! subscriber. Without `AMQP_URL` it starts a broker of its own.

#![allow(clippy::print_stdout)] // it talks to whoever runs it

mod tutorial;

use hopmq_tokio::{Channel, Consumer, ExchangeKind};
use tutorial::{Result, Server};

const EXCHANGE: &str = "logs";
const LINES: [&str; 3] = ["info: it runs", "info: it still runs", "error: it ran"];

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::find().await?;
    let connection = server.connect().await?;
    // Who comes late misses what was said before: subscribe first.
    let screen = subscribe(&connection.open_channel().await?).await?;
    let file = subscribe(&connection.open_channel().await?).await?;
    emit_logs(&server).await?;
    receive_logs("on the screen", screen).await?;
    receive_logs("in the file", file).await?;
    connection.close().await?;
    Ok(())
}

async fn emit_logs(server: &Server) -> Result<()> {
    let connection = server.connect().await?;
    let channel = connection.open_channel().await?;
    channel.declare_exchange(EXCHANGE, &ExchangeKind::Fanout).durable().await?;

    let publisher = channel.publisher().exchange(EXCHANGE).await?;
    for line in LINES {
        publisher.publish("", line).await?; // a fanout exchange looks at no routing key
    }
    connection.close().await?;
    Ok(())
}

/// A queue of our own, with a name that the broker chooses, which goes when we do.
async fn subscribe(channel: &Channel) -> Result<Consumer> {
    channel.declare_exchange(EXCHANGE, &ExchangeKind::Fanout).durable().await?;
    let queue = channel.declare_queue("").exclusive().await?;
    channel.bind_queue(queue.name(), EXCHANGE, "").await?;
    Ok(channel.consume(queue.name()).no_ack().await?)
}

async fn receive_logs(place: &str, mut lines: Consumer) -> Result<()> {
    for _ in LINES {
        let line = lines.next().await.ok_or("the subscription has ended")?;
        println!("{place}: {}", String::from_utf8_lossy(line.body()));
    }
    Ok(())
}
