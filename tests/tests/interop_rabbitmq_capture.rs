//! What we say to RabbitMQ and it to us, as tshark dissects it; and what it writes into its log meanwhile.
//!
//! The node is our own, for other tests break the protocol on purpose.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hopmq_tests::capture::Capture;
use hopmq_tests::node::Node;
use hopmq_tests::scenarios::{self, On, RABBITMQ_SCENARIOS, SCENARIOS, Server, violations};

/// How RabbitMQ's log names what is wrong with frames: the codes 501, 505 and 504.
const FRAME_ERRORS: [&str; 3] = ["frame_error", "unexpected_frame", "channel_error"];
const END: &str = "the end of good manners";

#[test]
fn tshark_understands_it_and_rabbitmq_logs_no_frame_error() {
    let runtime = scenarios::multi_thread();
    let node = Node::start(|_| {});
    let capture = runtime.block_on(Capture::before(node.uri()));
    capture.play(&runtime, scenarios::well_formed(SCENARIOS));
    capture.play(&runtime, scenarios::well_formed(RABBITMQ_SCENARIOS));
    runtime.block_on(capture.finish()).assert_understood(&[]);

    // What would have been in the log is there once there is cause for it.
    node.ctl(&["eval", &format!("rabbit_log:info(\"{END}\").")]);
    runtime.block_on(async {
        let server = Server::at(On::Tokio, node.uri());
        violations::bad_frame_end(&server).await;
        violations::heartbeat_on_a_channel(&server).await;
        violations::open_twice(&server).await;
    });
    let log = node.stop();
    let (good, bad) = log.split_once(END).unwrap();
    assert!(good.contains("accepting AMQP connection"));
    for error in FRAME_ERRORS {
        let of_ours: Vec<_> = good.lines().filter(|line| line.contains(error)).collect();
        assert_eq!(of_ours, [""; 0]);
        assert!(bad.contains(error), "{error} is seen");
    }
}
