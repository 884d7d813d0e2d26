//! What the handles write and read, where no broker at hand shows it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use hopmq_proto::amqp::{Method, basic, connection, exchange, queue, tx};
use hopmq_tests::scenarios::{Raw, current_thread};
use hopmq_tokio::io::Transport;
use hopmq_tokio::memory::{Pipe, pipe};
use hopmq_tokio::{
    Bytes, Channel, Config, Connection, ConnectionEvent, Error, ExchangeKind, FieldTable, FieldValue,
    Properties, ShortStr, StreamOffset, Tokio,
};

/// Runs a client that sends one method, and gives that.
fn sent<C: Future<Output = ()> + Send + 'static>(
    client: impl FnOnce(Channel) -> C + Send + 'static,
) -> Method {
    current_thread().block_on(async {
        let (ours, theirs) = pipe();
        let mut server = Raw::new(theirs);
        let client = tokio::spawn(async {
            let connection = Connection::open(&Tokio::current(), ours, Config::default()).await.unwrap();
            client(connection.open_channel().await.unwrap()).await;
        });
        server.serve_channel().await;
        let (number, method) = server.method().await;
        assert_eq!(number, 1);
        drop(server);
        client.await.unwrap();
        method
    })
}

#[test]
fn a_transaction_that_is_dropped_rolls_back_however_many_calls_wait() {
    current_thread().block_on(async {
        let (ours, theirs) = pipe();
        let mut server = Raw::new(theirs);
        let client = tokio::spawn(async {
            let config = Config { max_calls: 1, ..Config::default() };
            let connection = Connection::open(&Tokio::current(), ours, config).await.unwrap();
            let channel = connection.open_channel().await.unwrap();
            let transaction = channel.transaction().await.unwrap();
            let waiting = channel.set_prefetch(1);
            drop(transaction);
            waiting.await.unwrap_err();
        });
        server.serve_channel().await;
        assert_eq!(server.method().await, (1, tx::Select {}.into()));
        server.send(1, tx::SelectOk {}).await;
        assert!(matches!(server.method().await, (1, Method::BasicQos(_))));
        let (_, last) = server.method().await;
        assert!(
            matches!(last, Method::ChannelClose(_)),
            "its end rolls back, where no rollback can be asked for: {last:?}"
        );
        client.await.unwrap();
    });
}

fn name(name: &'static str) -> ShortStr {
    ShortStr::from_static(name)
}

#[test]
fn a_delayed_exchange_names_its_own_type() {
    let method = sent(async |channel: Channel| {
        channel.declare_exchange("later", &ExchangeKind::Topic).durable().delayed().await.unwrap_err();
    });
    let declare = exchange::Declare {
        exchange: name("later"),
        kind: name("x-delayed-message"),
        durable: true,
        arguments: FieldTable::new().with("x-delayed-type", "topic"),
        ..Default::default()
    };
    assert_eq!(method, declare.into());
}

/// What RabbitMQ 3.10 ignores, and what 4.3 refuses.
#[test]
fn arguments_of_other_versions() {
    let method = sent(async |channel: Channel| {
        let declare = channel.declare_queue("q").durable().lazy().queue_version(2).single_active_consumer();
        let declare = declare.consumer_timeout(Duration::from_secs(60));
        let declare = declare.quorum_target_group_size(5).filter_size_bytes(255);
        declare.argument("x-own", "value").await.unwrap_err();
    });
    let arguments = FieldTable::new()
        .with("x-queue-mode", "lazy")
        .with("x-queue-version", 2_i64)
        .with("x-single-active-consumer", true)
        .with("x-consumer-timeout", 60_000_i64)
        .with("x-quorum-target-group-size", 5_i64)
        .with("x-stream-filter-size-bytes", 255_i64)
        .with("x-own", "value");
    let declare = queue::Declare { queue: name("q"), durable: true, arguments, ..Default::default() };
    assert_eq!(method, declare.into());
}

#[test]
fn a_consumer_with_everything() {
    let method = sent(async |channel: Channel| {
        let consume = channel.consume("q").tag("t").no_local().no_ack().exclusive().priority(-3);
        let consume = consume.stream_offset(StreamOffset::Timestamp(7)).stream_filter(["de", "fr"]);
        consume.stream_match_unfiltered().await.unwrap_err();
    });
    let consume = basic::Consume {
        queue: name("q"),
        consumer_tag: name("t"),
        no_local: true,
        no_ack: true,
        exclusive: true,
        no_wait: false,
        arguments: FieldTable::new()
            .with("x-priority", -3)
            .with("x-stream-offset", FieldValue::Timestamp(7))
            .with("x-stream-filter", vec![FieldValue::from("de"), FieldValue::from("fr")])
            .with("x-stream-match-unfiltered", true),
    };
    assert_eq!(method, consume.into());
}

#[test]
fn what_does_not_fit_is_not_sent() {
    let method = sent(async |channel: Channel| {
        let too_large = |argument| Err(Error::TooLarge { argument });
        let declare = || channel.declare_queue("q").durable();
        assert_eq!(declare().message_ttl(Duration::MAX).await.map(drop), too_large("x-message-ttl"));
        assert_eq!(declare().expires(Duration::MAX).no_wait(), too_large("x-expires"));
        assert_eq!(declare().max_length(u64::MAX).no_wait(), too_large("x-max-length"));
        // The first fault is the one that is told.
        let two = declare().max_length_bytes(u64::MAX).max_length(u64::MAX).classic();
        assert_eq!(two.await.map(drop), too_large("x-max-length-bytes"));
        let consume = channel.consume("q").stream_offset(StreamOffset::Offset(u64::MAX));
        assert_eq!(consume.await.map(drop), too_large("x-stream-offset"));
        channel.get_no_ack("last").await.unwrap_err();
    });
    assert_eq!(method, basic::Get { queue: name("last"), no_ack: true }.into());
}

/// Notes where in memory that is which is written.
struct Watched(Pipe, Arc<Mutex<Vec<Range<usize>>>>);

impl Transport for Watched {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, input)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let addresses = chunks.iter().map(|chunk| place(chunk));
        self.1.lock().unwrap().extend(addresses);
        self.0.poll_write(cx, chunks)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

/// The addresses of these bytes.
fn place(bytes: &[u8]) -> Range<usize> {
    let begin = bytes.as_ptr() as usize;
    begin..begin + bytes.len()
}

/// From the publisher to the transport, in one frame or in several.
#[test]
fn a_large_body_is_written_from_where_it_is() {
    current_thread().block_on(async {
        let (ours, theirs) = pipe();
        let written = Arc::default();
        let watched = Watched(ours, Arc::clone(&written));
        let server = tokio::spawn(async {
            let mut server = Raw::new(theirs);
            server.serve_channel().await;
            server
        });
        let connection = Connection::open(&Tokio::current(), watched, Config::default()).await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        let mut server = server.await.unwrap();
        for (size, frames) in [(4096, 1), (200_000, 2)] {
            let body = Bytes::from(vec![7; size]);
            written.lock().unwrap().clear();
            channel.publish("", "queue", &Properties::new(), body.clone()).await.unwrap();
            assert!(matches!(server.method().await.1, Method::BasicPublish(_)));
            assert_eq!(server.body().await, body);
            let body = place(&body);
            let mut parts = written.lock().unwrap().clone();
            parts.retain(|part| body.contains(&part.start));
            assert_eq!(parts.len(), frames);
            assert_eq!(parts.iter().map(ExactSizeIterator::len).sum::<usize>(), size, "all of it, and once");
        }
    });
}

/// Who does not read the events of a connection holds nothing up, and misses the oldest of them (pain 9).
#[test]
fn events_that_nobody_reads_hold_nothing_up() {
    current_thread().block_on(async {
        let (ours, theirs) = pipe();
        let server = tokio::spawn(async {
            let mut server = Raw::new(theirs);
            server.serve_channel().await;
            for n in 0..500 {
                server
                    .send(0, connection::Blocked { reason: ShortStr::try_from(n.to_string()).unwrap() })
                    .await;
            }
            assert!(matches!(server.method().await.1, Method::BasicGet(_)));
            server.send(1, basic::GetEmpty {}).await;
            server
        });
        let connection = Connection::open(&Tokio::current(), ours, Config::default()).await.unwrap();
        let mut events = connection.events();
        let channel = connection.open_channel().await.unwrap();
        assert!(channel.get("queue").await.unwrap().is_none());
        for n in 500 - 64..500 {
            assert_eq!(events.next().await, Some(ConnectionEvent::Blocked { reason: n.to_string() }));
        }
        drop(server.await.unwrap());
        assert!(matches!(events.next().await, Some(ConnectionEvent::Closed(_))));
        assert_eq!(events.next().await, None);
    });
}
