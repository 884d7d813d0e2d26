//! Python's pika against the embedded broker, over TCP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hopmq_tests::{programs, scenarios};
use hopmq_tokio::Broker;

#[test]
fn publishes_and_consumes() {
    // The broker runs on the workers while this thread waits for Python.
    scenarios::multi_thread().block_on(async {
        let broker = Broker::start().await.unwrap();
        programs::pika_round_trip(&format!("{}/%2f", broker.uri()));
        scenarios::eventually("pika's connections have ended", async || broker.connections() == 0).await;
    });
}
