//! RabbitMQ's fourth tutorial: each subscriber says which messages it wants.
//!
//! <https://www.rabbitmq.com/tutorials/tutorial-four-python>. A direct exchange compares the routing key with the keys
//! that a queue is bound with. Without `AMQP_URL` it starts a broker of its own.

#![allow(clippy::print_stdout)] // it talks to whoever runs it

mod tutorial;

use hopmq_tokio::{Channel, Consumer, ExchangeKind};
use tutorial::{Result, Server};

const EXCHANGE: &str = "direct_logs";
const LINES: [(&str, &str); 4] =
    [("info", "it runs"), ("warning", "it runs hot"), ("error", "it ran"), ("info", "it runs again")];

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::find().await?;
    let connection = server.connect().await?;
    let screen = subscribe(&connection.open_channel().await?, &["info", "warning", "error"]).await?;
    let file = subscribe(&connection.open_channel().await?, &["error"]).await?;
    emit_logs(&server).await?;
    receive_logs("on the screen", screen, LINES.len()).await?;
    receive_logs("in the file", file, 1).await?;
    connection.close().await?;
    Ok(())
}

async fn emit_logs(server: &Server) -> Result<()> {
    let connection = server.connect().await?;
    let channel = connection.open_channel().await?;
    channel.declare_exchange(EXCHANGE, &ExchangeKind::Direct).durable().await?;

    let publisher = channel.publisher().exchange(EXCHANGE).await?;
    for (severity, line) in LINES {
        publisher.publish(severity, line).await?;
    }
    connection.close().await?;
    Ok(())
}

/// A queue of our own, bound once for each severity.
async fn subscribe(channel: &Channel, severities: &[&str]) -> Result<Consumer> {
    channel.declare_exchange(EXCHANGE, &ExchangeKind::Direct).durable().await?;
    let queue = channel.declare_queue("").exclusive().await?;
    for severity in severities {
        channel.bind_queue(queue.name(), EXCHANGE, severity).await?;
    }
    Ok(channel.consume(queue.name()).no_ack().await?)
}

async fn receive_logs(place: &str, mut lines: Consumer, count: usize) -> Result<()> {
    for _ in 0..count {
        let line = lines.next().await.ok_or("the subscription has ended")?;
        let severity = line.routing_key();
        println!("{place}: {severity}: {}", String::from_utf8_lossy(line.body()));
    }
    Ok(())
}
