//! RabbitMQ's first tutorial: one program sends a message, another receives it.
//!
//! <https://www.rabbitmq.com/tutorials/tutorial-one-python>. Each function here is one of the tutorial's programs. Without
//! `AMQP_URL` it starts a broker of its own.

#![allow(clippy::print_stdout)] // it talks to whoever runs it

mod tutorial;

use tutorial::{Result, Server};

const QUEUE: &str = "hello";

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::find().await?;
    send(&server).await?;
    receive(&server).await
}

async fn send(server: &Server) -> Result<()> {
    let connection = server.connect().await?;
    let channel = connection.open_channel().await?;
    channel.declare_queue(QUEUE).durable().await?;

    let publisher = channel.publisher().await?;
    publisher.publish(QUEUE, "Hello World!").await?; // the default exchange takes it to the queue of that name
    println!("sent 'Hello World!'");

    connection.close().await?;
    Ok(())
}

async fn receive(server: &Server) -> Result<()> {
    let connection = server.connect().await?;
    let channel = connection.open_channel().await?;
    channel.declare_queue(QUEUE).durable().await?; // whoever comes first makes it

    let mut deliveries = channel.consume(QUEUE).await?;
    if let Some(delivery) = deliveries.next().await {
        println!("received '{}'", String::from_utf8_lossy(delivery.body()));
        delivery.ack()?;
    }

    connection.close().await?;
    Ok(())
}
