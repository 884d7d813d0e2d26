//! RabbitMQ's fifth tutorial: routing keys of several words, and patterns of them.
//!
//! <https://www.rabbitmq.com/tutorials/tutorial-five-python>. In a pattern `*` is one word and `#` any number of them.
//! Without `AMQP_URL` it starts a broker of its own.

#![allow(clippy::print_stdout)] // it talks to whoever runs it

mod tutorial;

use hopmq_tokio::{Channel, Consumer, ExchangeKind};
use tutorial::{Result, Server};

const EXCHANGE: &str = "topic_logs";
const LINES: [(&str, &str); 4] = [
    ("kern.info", "a device is there"),
    ("kern.critical", "the device burns"),
    ("cron.info", "a job has begun"),
    ("cron.critical", "the job has no disk"),
];

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::find().await?;
    let connection = server.connect().await?;
    let all = subscribe(&connection.open_channel().await?, &["#"]).await?;
    let kernel = subscribe(&connection.open_channel().await?, &["kern.*"]).await?;
    let critical = subscribe(&connection.open_channel().await?, &["*.critical"]).await?;
    emit_logs(&server).await?;
    receive_logs("all", all, 4).await?;
    receive_logs("kernel", kernel, 2).await?;
    receive_logs("critical", critical, 2).await?;
    connection.close().await?;
    Ok(())
}

async fn emit_logs(server: &Server) -> Result<()> {
    let connection = server.connect().await?;
    let channel = connection.open_channel().await?;
    channel.declare_exchange(EXCHANGE, &ExchangeKind::Topic).durable().await?;

    let publisher = channel.publisher().exchange(EXCHANGE).await?;
    for (topic, line) in LINES {
        publisher.publish(topic, line).await?;
    }
    connection.close().await?;
    Ok(())
}

/// A queue of our own, bound once for each pattern.
async fn subscribe(channel: &Channel, patterns: &[&str]) -> Result<Consumer> {
    channel.declare_exchange(EXCHANGE, &ExchangeKind::Topic).durable().await?;
    let queue = channel.declare_queue("").exclusive().await?;
    for pattern in patterns {
        channel.bind_queue(queue.name(), EXCHANGE, pattern).await?;
    }
    Ok(channel.consume(queue.name()).no_ack().await?)
}

async fn receive_logs(who: &str, mut lines: Consumer, count: usize) -> Result<()> {
    for _ in 0..count {
        let line = lines.next().await.ok_or("the subscription has ended")?;
        let topic = line.routing_key();
        println!("{who}: {topic}: {}", String::from_utf8_lossy(line.body()));
    }
    Ok(())
}
