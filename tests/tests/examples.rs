//! The examples, as their readers run them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::TcpListener;

use hopmq_tests::closed_port::ClosedPort;
use hopmq_tests::{programs, scenarios};
use hopmq_tokio::Broker;

#[test]
fn with_its_own_broker() {
    programs::assert_quickstart(None, "HopMQ 4.0.5, inside this process, over TCP\n");
}

#[test]
fn with_another_process_as_the_broker() {
    scenarios::multi_thread().block_on(async {
        let broker = Broker::start().await.unwrap();
        programs::assert_quickstart(Some(&broker.uri()), "HopMQ 4.0.5, at AMQP_URL, over TCP\n");
    });
}

#[test]
fn without_a_runtime() {
    scenarios::multi_thread().block_on(async {
        let broker = Broker::start().await.unwrap();
        for name in ["std_net", "hello"] {
            programs::assert_without_runtime(name, &broker.uri());
        }
    });
}

#[test]
fn two_engines_without_anything_between_them() {
    programs::assert_two_engines();
}

#[test]
fn a_wrong_uri_is_one_line() {
    for (uri, complaint) in [
        ("http://localhost", "invalid URI: the scheme is \"http\", not \"amqp\" or \"amqps\"\n"),
        ("amqp://localhost:port", "invalid URI: "),
        ("amqp://localhost/a/b", "invalid URI: the path "),
        ("nonsense", "invalid URI: "),
        ("", "invalid URI: "),
    ] {
        programs::assert_quickstart_fails(uri, complaint);
    }
}

#[test]
fn nobody_listens() {
    let closed = ClosedPort::new();
    let address = closed.address();
    let complaint = format!("cannot connect to {address}: ");
    programs::assert_quickstart_fails(&format!("amqp://{address}"), &complaint);
}

#[test]
fn nobody_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let complaint =
        format!("cannot connect to 127.0.0.1:{port}: the server did not complete the handshake in time");
    programs::assert_quickstart_fails(&format!("amqp://127.0.0.1:{port}?connection_timeout=300"), &complaint);
}

#[test]
fn tutorials() {
    programs::assert_tutorials(None);
}
