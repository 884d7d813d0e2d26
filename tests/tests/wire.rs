//! What the handles write, where no broker at hand says that it has understood.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use hopmq_proto::amqp::{Method, basic, exchange, queue};
use hopmq_tests::scenarios::{Raw, current_thread};
use hopmq_tokio::memory::pipe;
use hopmq_tokio::{
    Channel, Config, Connection, Error, ExchangeKind, FieldTable, FieldValue, ShortStr, StreamOffset, Tokio,
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
        let declare = channel.declare_queue("q").durable().lazy().single_active_consumer();
        declare.consumer_timeout(Duration::from_secs(60)).argument("x-own", "value").await.unwrap_err();
    });
    let arguments = FieldTable::new()
        .with("x-queue-mode", "lazy")
        .with("x-single-active-consumer", true)
        .with("x-consumer-timeout", 60_000_i64)
        .with("x-own", "value");
    let declare = queue::Declare { queue: name("q"), durable: true, arguments, ..Default::default() };
    assert_eq!(method, declare.into());
}

#[test]
fn a_consumer_with_everything() {
    let method = sent(async |channel: Channel| {
        let consume = channel.consume("q").tag("t").no_local().no_ack().exclusive().priority(-3);
        consume.stream_offset(StreamOffset::Timestamp(7)).await.unwrap_err();
    });
    let consume = basic::Consume {
        queue: name("q"),
        consumer_tag: name("t"),
        no_local: true,
        no_ack: true,
        exclusive: true,
        no_wait: false,
        arguments: FieldTable::new().with("x-priority", -3).with("x-stream-offset", FieldValue::Timestamp(7)),
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
