//! The main job, on smol: 10 000 messages from a publisher to a consumer, confirmed on the way in and acked on the way
//! out.
//!
//! Without `AMQP_URL` it starts a broker of its own; with it, it uses that server.

#![allow(clippy::print_stdout, clippy::print_stderr)] // it talks to whoever runs it

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use hopmq_smol::{Broker, Confirms, FieldValue, connect};

const MESSAGES: usize = 10_000;

fn main() -> ExitCode {
    match smol::block_on(run()) {
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

    // Many messages are on their way at once; then the confirms of all are waited for.
    let start = Instant::now();
    let publisher = channel.publisher().mandatory().await?;
    let mut confirms = Confirms::new();
    for n in 0..MESSAGES {
        confirms.push(publisher.publish(queue.name(), format!("message {n}")).send().await?);
    }
    confirms.wait().await?;
    println!("published  {MESSAGES} messages and confirmed in {:.0?}", start.elapsed());

    // They come in order, and each is acked.
    let start = Instant::now();
    let mut deliveries = channel.consume(queue.name()).prefetch(1000).await?;
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
    println!("consumed   {MESSAGES} messages and acked in {:.0?}", start.elapsed());
    Ok(connection.close().await?)
}
