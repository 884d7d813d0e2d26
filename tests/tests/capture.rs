//! What we say, client and broker, as tshark dissects it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hopmq_proto::amqp::FrameKind;
use hopmq_tests::capture::Capture;
use hopmq_tests::scenarios::{self, On, SCENARIOS, Server};
use hopmq_tokio::Broker;

#[test]
fn client_and_broker_are_understood() {
    let runtime = scenarios::multi_thread();
    let broker = runtime.block_on(Broker::start()).unwrap();
    let capture = runtime.block_on(Capture::before(&broker.uri()));
    capture.play(&runtime, scenarios::well_formed(SCENARIOS));
    runtime.block_on(capture.finish()).assert_understood(&["tx."]);
}

/// A judge that never complains is none.
#[test]
fn what_is_malformed_is_noticed() {
    scenarios::multi_thread().block_on(async {
        let broker = Broker::start().await.unwrap();
        let capture = Capture::before(&broker.uri()).await;
        let mut raw = Server::at(On::Tokio, capture.uri()).raw_channel().await;
        // A queue.declare whose name is longer than its frame.
        raw.send_frame(FrameKind::Method, 1, &[0, 50, 0, 10, 0, 0, 200, b'q']).await;
        raw.expect_connection_close(502, "SYNTAX_ERROR - the data ends in the middle of a value").await;
        let complaints = capture.finish().await.complaints();
        assert_eq!(complaints.len(), 1, "{complaints:?}");
    });
}
