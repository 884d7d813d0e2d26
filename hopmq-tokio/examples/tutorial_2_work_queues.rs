//! RabbitMQ's second tutorial: tasks that take time, shared among workers.
//!
//! <https://www.rabbitmq.com/tutorials/tutorial-two-python>. Each dot in a task is a while of work. No worker is given a
//! task before it is done with the last, and a task whose worker dies goes to another. Without `AMQP_URL` it starts a
//! broker of its own.

#![allow(clippy::print_stdout)] // it talks to whoever runs it

mod tutorial;

use std::time::Duration;

use hopmq_tokio::Connection;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::sleep;
use tutorial::{Result, Server};

const QUEUE: &str = "task_queue";
const TASKS: [&str; 5] = ["first.", "second..", "third...", "fourth....", "fifth....."];

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::find().await?;
    new_tasks(&server).await?;

    let (done, mut all_done) = unbounded_channel();
    let connections = [server.connect().await?, server.connect().await?];
    let [one, two] = connections.clone().map(|connection| tokio::spawn(worker(connection, done.clone())));
    for _ in TASKS {
        all_done.recv().await;
    }
    for connection in connections {
        connection.close().await?; // ends the worker's deliveries, behind its last ack
    }
    one.await??;
    two.await?
}

async fn new_tasks(server: &Server) -> Result<()> {
    let connection = server.connect().await?;
    let channel = connection.open_channel().await?;
    channel.declare_queue(QUEUE).durable().await?; // the queue survives a restart of the broker

    let publisher = channel.publisher().await?;
    for task in TASKS {
        publisher.publish(QUEUE, task).await?; // so does the message: it is persistent, and confirmed
        println!("sent '{task}'");
    }

    connection.close().await?;
    Ok(())
}

async fn worker(connection: Connection, done: UnboundedSender<()>) -> Result<()> {
    let channel = connection.open_channel().await?;
    channel.declare_queue(QUEUE).durable().await?;

    let mut deliveries = channel.consume(QUEUE).prefetch(1).await?; // one task at a time
    while let Some(delivery) = deliveries.next().await {
        let task = String::from_utf8_lossy(delivery.body()).into_owned();
        let dots = u32::try_from(task.matches('.').count())?;
        sleep(Duration::from_millis(20) * dots).await; // the work
        println!("did '{task}'");
        delivery.ack()?; // only now the broker forgets it
        done.send(())?;
    }
    Ok(())
}
