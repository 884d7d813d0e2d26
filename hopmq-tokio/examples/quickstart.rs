//! The main job: 10 000 messages from a publisher to a consumer, confirmed on the way in and acked on the way out.
//!
//! Without `AMQP_URL` it starts a broker of its own; with it, it uses that server.

#![allow(clippy::print_stdout, clippy::print_stderr)] // it talks to whoever runs it

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hopmq_tokio::{Broker, Channel, Confirms, FieldValue, connect};

const MESSAGES: usize = 10_000;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (uri, embedded) = match std::env::var("AMQP_URL") {
        Ok(uri) => (uri, None),
        Err(_) => {
            let broker = Broker::start().await?;
            (broker.uri(), Some(broker))
        }
    };
    let connection = connect(&uri).await?;
    let server = connection.server();
    let says = |key: &str| server.properties.get(key).and_then(FieldValue::as_str).unwrap_or("?");
    let place = if embedded.is_some() { "inside this process" } else { "at AMQP_URL" };
    println!("broker     {} {}, {place}, over TCP", says("product"), says("version"));

    let channel = connection.open_channel().await?;
    let queue = channel.declare_queue("").exclusive().await?;
    let published = publish(&channel, queue.name()).await?;
    report("published", "and confirmed", published);
    let consumed = consume(&channel, queue.name()).await?;
    report("consumed ", "and acked", consumed);
    connection.close().await?;

    println!("\nEvery message that was confirmed came out again. Next:");
    if embedded.is_some() {
        println!("  AMQP_URL=amqp://localhost cargo run --release -p hopmq-tokio --example quickstart");
    }
    println!("  read hopmq-tokio/examples/quickstart.rs: it is all there is to it");
    Ok(())
}

/// Has many messages on their way at once, and waits for the confirms of all.
async fn publish(channel: &Channel, queue: &str) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let publisher = channel.publisher().mandatory().await?;
    let mut confirms = Confirms::new();
    for n in 0..MESSAGES {
        confirms.push(publisher.publish(queue, format!("message {n}")).send().await?);
    }
    confirms.wait().await?;
    Ok(start.elapsed())
}

/// Takes the messages in order, and acks each.
async fn consume(channel: &Channel, queue: &str) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let mut deliveries = channel.consume(queue).prefetch(1000).await?;
    for n in 0..MESSAGES {
        let delivery = deliveries.next().await.ok_or("the consumer ended early")?;
        if delivery.body() != format!("message {n}").as_bytes() {
            return Err(
                format!("message {n} came as {:?}", delivery.body().escape_ascii().to_string()).into()
            );
        }
        delivery.ack()?;
    }
    deliveries.cancel().await?;
    Ok(start.elapsed())
}

fn report(what: &str, how: &str, took: Duration) {
    let rate = MESSAGES as f64 / took.as_secs_f64();
    println!("{what}  {MESSAGES} messages {how} in {:.0} ms, {rate:.0} per second", took.as_secs_f64() * 1e3);
}
