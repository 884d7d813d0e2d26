//! The blocking client against the embedded broker, and against servers that fail it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hopmq_blocking::{
    CallError, CloseReason, ConnectError, ConsumerEnd, Error, HandshakeError, Iterate, Lost, PublishError,
    TimedOut, Wait, connect, connect_with,
};
use hopmq_tests::blocking::{self, PATIENCE};
use hopmq_tests::closed_port::ClosedPort;
use hopmq_tests::scenarios;
use hopmq_tokio::Broker;

/// The embedded broker, on a runtime that the client knows nothing of.
fn with_broker(test: impl FnOnce(&str, &dyn Fn())) {
    let runtime = scenarios::multi_thread();
    let broker = runtime.block_on(Broker::start()).unwrap();
    test(&broker.uri(), &|| runtime.block_on(broker.shutdown()));
}

#[test]
fn round_trip() {
    with_broker(|uri, _| blocking::round_trip(uri));
}

#[test]
fn many_threads() {
    with_broker(|uri, _| blocking::many_threads(uri));
}

#[test]
fn heartbeats() {
    with_broker(|uri, _| blocking::heartbeats(uri));
}

#[test]
fn what_the_server_closes_ends_everything() {
    with_broker(|uri, shutdown| {
        let (connection, io) = blocking::open(&format!("{uri}?recovery=off"));
        let channel = connection.open_channel().wait().unwrap();
        let queue = channel.declare_queue("").exclusive().wait().unwrap();
        let mut deliveries = channel.consume(queue.name()).wait().unwrap();
        let consumer = thread::spawn(move || {
            assert_eq!(deliveries.iter().count(), 0);
            deliveries.end()
        });
        shutdown();
        match consumer.join().unwrap() {
            Some(ConsumerEnd::Closed(reason)) => {
                assert!(matches!(*reason, CloseReason::Server(_)), "{reason:?}");
            }
            other => panic!("{other:?}"),
        }
        blocking::join(io);
        assert!(channel.get(queue.name()).wait().is_err());
    });
}

#[test]
fn dropping_its_io_ends_everything() {
    with_broker(|uri, _| {
        let (connection, io) = connect(uri).unwrap();
        let call = connection.open_channel();
        drop(io);
        let is_lost = |reason: &CloseReason| matches!(reason, CloseReason::Lost(Lost::Transport(_)));
        match call.wait() {
            Err(Error::Failed(CallError::Closed(reason))) => assert!(is_lost(&reason), "{reason:?}"),
            other => panic!("{other:?}"),
        }
        assert!(is_lost(&connection.close_reason().unwrap()));
        let later = connection.open_channel().wait().unwrap_err();
        assert!(later.close_reason().is_some_and(is_lost), "{later:?}");
    });
}

#[test]
fn nobody_listens() {
    let closed = ClosedPort::new();
    let error = connect(&format!("amqp://{}", closed.address())).unwrap_err();
    assert!(matches!(error, ConnectError::Dial { .. }), "{error:?}");
}

#[test]
fn nobody_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let start = Instant::now();
    let error = connect(&format!("amqp://127.0.0.1:{port}?connection_timeout=300")).unwrap_err();
    match error {
        ConnectError::Refused { reason, .. } => {
            assert!(matches!(*reason, CloseReason::Handshake(HandshakeError::Timeout(_))), "{reason:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(start.elapsed() >= Duration::from_millis(300));
}

/// A way to the server at `uri` that can fall silent: it takes everything, and lets no answer through, nor the
/// end of the stream.
fn silencer(uri: &str) -> (String, Arc<AtomicBool>) {
    let server = uri.strip_prefix("amqp://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let is_silent = Arc::new(AtomicBool::new(false));
    let silent = is_silent.clone();
    thread::spawn(move || {
        let client = listener.accept().unwrap().0;
        let server = TcpStream::connect(server).unwrap();
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || carry(from, to, &AtomicBool::new(false)));
        carry(server, client, &silent);
    });
    (format!("amqp://{address}"), is_silent)
}

fn carry(mut from: TcpStream, mut to: TcpStream, silent: &AtomicBool) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if !silent.load(Ordering::SeqCst) && to.write_all(buffer.get(..n).unwrap()).is_err() {
            break;
        }
    }
    if !silent.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Write);
    }
}

#[test]
fn what_is_not_answered_has_a_deadline() {
    with_broker(|uri, _| {
        let (uri, is_silent) = silencer(uri);
        let mut options: hopmq_blocking::ConnectOptions = uri.parse().unwrap();
        options.config.call_timeout = Duration::from_millis(100);
        options.config.confirm_timeout = Duration::from_millis(200);
        options.config.close_timeout = Duration::from_millis(300);
        let (connection, io) = connect_with(options).unwrap();
        let io = io.spawn().unwrap();
        let channel = connection.open_channel().wait().unwrap();
        let publisher = channel.publisher().wait().unwrap();
        let queue = channel.declare_queue("").exclusive().wait().unwrap();
        let mut deliveries = channel.consume(queue.name()).wait().unwrap();

        is_silent.store(true, Ordering::SeqCst);
        let confirm = publisher.publish(queue.name(), "").send().wait().unwrap();
        let confirm = confirm.wait_timeout(PATIENCE).unwrap();
        assert!(matches!(confirm, Err(PublishError::Unconfirmed(CallError::TimedOut))), "{confirm:?}");
        let call = channel.set_prefetch(1).wait_timeout(PATIENCE).unwrap();
        assert!(matches!(call, Err(Error::Failed(CallError::TimedOut))), "{call:?}");
        assert_eq!(deliveries.next().wait_timeout(Duration::from_millis(1)).unwrap_err(), TimedOut);
        let close = connection.close().wait_timeout(PATIENCE).unwrap();
        assert!(matches!(close, Err(Error::Failed(CallError::TimedOut))), "{close:?}");
        assert!(deliveries.next().wait_timeout(PATIENCE).unwrap().is_none());
        blocking::join(io);
    });
}
