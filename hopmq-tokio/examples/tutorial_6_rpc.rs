//! RabbitMQ's sixth tutorial: a function that another program calls, through a queue.
//!
//! <https://www.rabbitmq.com/tutorials/tutorial-six-python>. The replies come by direct reply-to, so the client declares
//! no queue for them. Without `AMQP_URL` it starts a broker of its own.

#![allow(clippy::print_stdout)] // it talks to whoever runs it

mod tutorial;

use hopmq_tokio::Channel;
use tutorial::{Result, Server};

const QUEUE: &str = "rpc_queue";

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::find().await?;
    let connection = server.connect().await?;
    let channel = connection.open_channel().await?;
    channel.declare_queue(QUEUE).durable().await?;
    tokio::select! {
        ended = serve(&channel) => ended,
        called = call(&server) => called,
    }
}

async fn serve(channel: &Channel) -> Result<()> {
    let serving = channel.serve(QUEUE, |request| async move {
        let n = std::str::from_utf8(request.body())?.parse()?;
        println!("asked for fibonacci({n})");
        Ok::<_, Box<dyn std::error::Error>>(fibonacci(n).to_string())
    });
    Err(serving.await?.into()) // why it serves no more
}

async fn call(server: &Server) -> Result<()> {
    let connection = server.connect().await?;
    let client = connection.open_channel().await?.rpc_client().await?;
    let reply = client.call(QUEUE, "30").await?;
    println!("got {}", String::from_utf8_lossy(reply.body()));
    Ok(())
}

fn fibonacci(n: u32) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}
