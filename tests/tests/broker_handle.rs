//! The embedded broker's own handle: what no other broker has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hopmq_tests::scenarios::{current_thread, drain, eventually, multi_thread, publish_each};
use hopmq_tokio::{
    Broker, BrokerConfig, CloseReason, Config, ConnectError, Connection, ConsumerEnd, Credentials, ShortStr,
    User, connect,
};

fn assert_forced(reason: &CloseReason) {
    let CloseReason::Server(close) = reason else { panic!("{reason:?}") };
    assert_eq!(close.code.0, 320);
    assert!(close.text.to_string_lossy().starts_with("CONNECTION_FORCED - "), "{}", close.text);
}

/// A connection that ends when it is lost.
fn off(uri: &str) -> String {
    format!("{uri}?recovery=off")
}

/// Waits until the connection has ended, and looks why.
async fn assert_forced_out(connection: &Connection) {
    eventually("the connection ends", async || connection.close_reason().is_some()).await;
    assert_forced(&connection.close_reason().unwrap());
}

#[test]
fn shutdown_closes_every_connection() {
    current_thread().block_on(async {
        let broker = Broker::start().await.unwrap();
        let (tcp, memory) = (connect(&off(&broker.uri())).await.unwrap(), broker.connect().await.unwrap());
        let channel = tcp.open_channel().await.unwrap();
        let queue = channel.declare_queue("").exclusive().await.unwrap();
        let mut consumer = channel.consume(queue.name()).await.unwrap();
        assert_eq!(broker.connections(), 2);
        broker.shutdown().await;
        assert_eq!(broker.connections(), 0);
        assert_forced_out(&tcp).await;
        assert_forced_out(&memory).await;
        assert!(consumer.next().await.is_none());
        let Some(ConsumerEnd::Closed(reason)) = consumer.end() else { panic!("{:?}", consumer.end()) };
        assert_forced(&reason);
        broker.connect().await.expect_err("it is shut down");
        broker.shutdown().await;
    });
}

#[test]
fn it_ends_with_its_last_handle() {
    current_thread().block_on(async {
        let broker = Broker::start().await.unwrap();
        let uri = broker.uri();
        let connection = connect(&off(&uri)).await.unwrap();
        let other = broker.clone();
        drop(broker);
        connection.open_channel().await.expect("a handle is left");
        drop(other);
        assert_forced_out(&connection).await;
        eventually("the port is free", async || {
            matches!(connect(&uri).await, Err(ConnectError::Dial { .. }))
        })
        .await;
    });
}

#[test]
fn tcp_and_memory_share_the_queues() {
    multi_thread().block_on(async {
        let broker = Broker::start().await.unwrap();
        let one = broker.connect().await.unwrap().open_channel().await.unwrap();
        let two = connect(&broker.uri()).await.unwrap().open_channel().await.unwrap();
        assert_eq!(broker.queue("/", "shared"), None);
        one.declare_queue("shared").durable().await.unwrap();
        publish_each(&one, "shared", ["1", "2", "3"]).await;
        let held = two.get("shared").await.unwrap().unwrap().into_delivery();
        let stats = broker.queue("/", "shared").unwrap();
        assert_eq!((stats.ready, stats.unacked, stats.consumers), (2, 1, 0));
        held.nack(true).unwrap();
        assert_eq!(drain(&two, "shared").await, ["!1", "2", "3"]);
    });
}

#[test]
fn it_listens_on_both_loopback_addresses() {
    current_thread().block_on(async {
        let broker = Broker::start().await.unwrap();
        let port = broker.local_addr().unwrap().port();
        connect(&format!("amqp://127.0.0.1:{port}")).await.unwrap();
        connect(&format!("amqp://localhost:{port}")).await.unwrap();
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            connect(&format!("amqp://[::1]:{port}")).await.unwrap();
        }
    });
}

#[test]
fn users_and_virtual_hosts_are_separate() {
    current_thread().block_on(async {
        let mut config = BrokerConfig::default();
        config.vhosts.push("orders".into());
        config.users.push(User::new("shop", "s@crets").on(["orders"]));
        let broker = Broker::bind("127.0.0.1:0", config).await.unwrap();
        let address = broker.local_addr().unwrap();
        let shop = connect(&format!("amqp://shop:s%40crets@{address}/orders")).await.unwrap();
        let channel = shop.open_channel().await.unwrap();
        channel.declare_queue("here").durable().await.unwrap();
        assert!(broker.queue("orders", "here").is_some() && broker.queue("/", "here").is_none());
        for (uri, code) in [
            (format!("amqp://shop:s%40crets@{address}"), 530),
            (format!("amqp://guest:guest@{address}/orders"), 530),
            (format!("amqp://shop:guest@{address}/orders"), 403),
        ] {
            let Err(ConnectError::Refused { reason, .. }) = connect(&uri).await else { panic!("{uri}") };
            let CloseReason::Server(close) = &*reason else { panic!("{reason:?}") };
            assert_eq!(close.code.0, code, "{uri}");
        }
        let memory = Broker::in_memory(BrokerConfig::default());
        let config = Config {
            credentials: Credentials::new("guest", "guest"),
            virtual_host: ShortStr::from_static("orders"),
            ..Config::default()
        };
        let reason = memory.connect_with(config).await.unwrap_err();
        assert!(matches!(&*reason, CloseReason::Server(close) if close.code.0 == 530), "{reason:?}");
    });
}
