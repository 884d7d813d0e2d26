//! RabbitMQ's tutorial of publisher confirms: three ways to know that the broker has what was published.
//!
//! <https://www.rabbitmq.com/tutorials/tutorial-seven-java>. Without `AMQP_URL` it starts a broker of its own.

#![allow(clippy::print_stdout)] // it talks to whoever runs it

mod tutorial;

use std::time::Instant;

use hopmq_tokio::{Channel, Confirms, PublishError, Publisher};
use tutorial::{Result, Server};

const MESSAGES: usize = 5_000;
const BATCH: usize = 100;

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::find().await?;
    let connection = server.connect().await?;
    let channel = connection.open_channel().await?;

    let start = Instant::now();
    one_by_one(&channel).await?;
    println!("published {MESSAGES} messages one by one in {} ms", start.elapsed().as_millis());

    let start = Instant::now();
    in_batches(&channel).await?;
    println!("published {MESSAGES} messages in batches in {} ms", start.elapsed().as_millis());

    let start = Instant::now();
    each_on_its_own(&channel).await?;
    println!("published {MESSAGES} messages, each with a task, in {} ms", start.elapsed().as_millis());

    connection.close().await?;
    Ok(())
}

/// Waits for each confirm before the next message: simple, and as slow as the way to the broker and back.
async fn one_by_one(channel: &Channel) -> Result<()> {
    let queue = channel.declare_queue("").exclusive().await?;
    let publisher = channel.publisher().await?;
    for n in 0..MESSAGES {
        publisher.publish(queue.name(), format!("{n}")).await?;
    }
    Ok(())
}

/// Waits for a batch of confirms at a time.
async fn in_batches(channel: &Channel) -> Result<()> {
    let queue = channel.declare_queue("").exclusive().await?;
    let publisher = channel.publisher().await?;
    let mut confirms = Confirms::new();
    for n in 0..MESSAGES {
        confirms.push(publisher.publish(queue.name(), format!("{n}")).send().await?);
        if confirms.len() == BATCH {
            confirms.wait().await?;
        }
    }
    confirms.wait().await?;
    Ok(())
}

/// Never waits to publish: a task for each message waits for its confirm, and would know what to do without.
async fn each_on_its_own(channel: &Channel) -> Result<()> {
    let queue = channel.declare_queue("").exclusive().await?;
    let publisher = channel.publisher().await?;
    let mut tasks = Vec::new();
    for n in 0..MESSAGES {
        tasks.push(tokio::spawn(publish(publisher.clone(), queue.name().to_owned(), n)));
    }
    for task in tasks {
        task.await?;
    }
    Ok(())
}

async fn publish(publisher: Publisher, queue: String, n: usize) {
    let fate = match publisher.publish(&queue, format!("{n}")).await {
        Ok(()) => return,
        Err(PublishError::Nacked) => "was refused: publish it again, or keep it elsewhere".to_owned(),
        Err(error) => error.to_string(),
    };
    println!("message {n}: {fate}");
}
