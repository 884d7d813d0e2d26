//! Clients that others wrote, against the embedded broker, over TCP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hopmq_tests::{carried, programs, scenarios};
use hopmq_tokio::Broker;

/// The broker runs on the workers while this thread waits for the other program.
fn with_broker(test: impl AsyncFnOnce(&str)) {
    scenarios::multi_thread().block_on(async {
        let broker = Broker::start().await.unwrap();
        test(&format!("{}/%2f", broker.uri())).await;
        scenarios::eventually("all connections have ended", async || broker.connections() == 0).await;
    });
}

#[test]
fn pika_publishes_and_consumes() {
    with_broker(async |uri| programs::pika_round_trip(uri));
}

#[test]
fn everything_is_carried_to_pika_and_back() {
    with_broker(carried::through_pika);
}

#[test]
fn everything_is_carried_to_rabbitmq_c_and_back() {
    with_broker(carried::through_rabbitmq_c);
}
