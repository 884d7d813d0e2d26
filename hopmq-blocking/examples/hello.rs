//! Publish, consume, ack, without a runtime: this program has two threads, and has started the second itself.
//!
//! `AMQP_URL` names the server, otherwise it is `amqp://localhost`.

#![allow(clippy::print_stdout)] // it talks to whoever runs it

use std::error::Error;

use hopmq_blocking::{Confirms, Iterate, Wait, connect};

const MESSAGES: [&str; 3] = ["one", "two", "three"];

fn main() -> Result<(), Box<dyn Error>> {
    let uri = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".to_owned());
    let (connection, io) = connect(&uri)?;
    let io = io.spawn()?;

    let channel = connection.open_channel().wait()?;
    let queue = channel.declare_queue("").exclusive().wait()?; // the server names it
    let publisher = channel.publisher().mandatory().wait()?;
    let mut confirms = Confirms::new();
    for message in MESSAGES {
        confirms.push(publisher.publish(queue.name(), message).send().wait()?);
    }
    confirms.wait().wait()?; // the first makes the future, the second waits for it
    println!("confirmed  {} messages", MESSAGES.len());

    let mut deliveries = channel.consume(queue.name()).wait()?;
    for delivery in deliveries.iter().take(MESSAGES.len()) {
        println!("delivered  {}", String::from_utf8_lossy(delivery.body()));
        delivery.ack()?;
    }

    connection.close().wait()?;
    io.join().map_err(|_| "the connection's thread has panicked")??;
    println!("closed");
    Ok(())
}
