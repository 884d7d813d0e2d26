//! The blocking client: what every broker must give it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hopmq_blocking::{Confirms, Connection, Iterate, TimedOut, Wait, connect};

/// How long what should take milliseconds may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connection, and the thread that does its work.
pub fn open(uri: &str) -> (Connection, JoinHandle<io::Result<()>>) {
    let (connection, io) = connect(uri).unwrap();
    (connection, io.spawn().unwrap())
}

/// The thread has ended, or does so soon.
pub fn join(io: JoinHandle<io::Result<()>>) {
    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(io.join()));
    end.recv_timeout(PATIENCE).expect("the thread goes on").expect("the thread has panicked").unwrap();
}

/// Publishes with confirms, consumes, acks, waits in vain, and closes.
pub fn round_trip(uri: &str) {
    const MESSAGES: usize = 500;
    let (connection, io) = open(uri);
    let channel = connection.open_channel().wait().unwrap();
    let queue = channel.declare_queue("").exclusive().wait().unwrap();
    let publisher = channel.publisher().mandatory().wait().unwrap();
    publisher.publish(queue.name(), "first").wait().unwrap();
    let mut confirms = Confirms::new();
    for n in 0..MESSAGES {
        let body = vec![7; if n % 50 == 0 { 300_000 } else { n }];
        confirms.push(publisher.publish(queue.name(), body).send().wait().unwrap());
    }
    confirms.wait().wait().unwrap();

    let mut deliveries = channel.consume(queue.name()).prefetch(50).wait().unwrap();
    let first = deliveries.next().wait().unwrap();
    assert_eq!(first.body(), b"first");
    first.ack().unwrap();
    for (n, delivery) in deliveries.iter().take(MESSAGES).enumerate() {
        assert_eq!(delivery.body().len(), if n % 50 == 0 { 300_000 } else { n });
        delivery.ack().unwrap();
    }
    let nothing = deliveries.next().wait_timeout(Duration::from_millis(20));
    assert_eq!(nothing.unwrap_err(), TimedOut);
    publisher.publish(queue.name(), "last").wait().unwrap();
    assert_eq!(deliveries.next().wait_timeout(PATIENCE).unwrap().unwrap().body(), b"last");

    connection.close().wait().unwrap();
    assert!(deliveries.next().wait().is_none());
    join(io);
}

/// Other threads work on the same connection at the same time.
pub fn many_threads(uri: &str) {
    let (connection, io) = open(uri);
    let channel = connection.open_channel().wait().unwrap();
    let queue = channel.declare_queue("").exclusive().wait().unwrap();
    let publishers: Vec<_> = (0..4)
        .map(|_| {
            let (connection, queue) = (connection.clone(), queue.name().to_owned());
            thread::spawn(move || {
                let channel = connection.open_channel().wait().unwrap();
                let publisher = channel.publisher().mandatory().wait().unwrap();
                (0..25).for_each(|n| publisher.publish(&queue, format!("{n}")).wait().unwrap());
            })
        })
        .collect();
    let mut deliveries = channel.consume(queue.name()).wait().unwrap();
    deliveries.iter().take(100).for_each(|delivery| delivery.ack().unwrap());
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    assert_eq!(deliveries.next().wait_timeout(Duration::ZERO).unwrap_err(), TimedOut);

    // The last handle closes the connection, and that ends the thread.
    drop((deliveries, channel, connection));
    join(io);
}

/// The connection's thread keeps the heartbeats going while the user computes for more than two of their intervals.
pub fn heartbeats(uri: &str) {
    let mark = if uri.contains('?') { '&' } else { '?' };
    let (connection, io) = open(&format!("{uri}{mark}heartbeat=1"));
    assert_eq!(connection.server().heartbeat, 1);
    thread::sleep(Duration::from_millis(3500));
    assert_eq!(connection.close_reason(), None);
    connection.open_channel().wait().unwrap();
    connection.close().wait().unwrap();
    join(io);
}
