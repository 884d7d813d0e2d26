//! The broker on a simulated host, and what outlives what.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

use std::future::{IntoFuture, poll_fn};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use hopmq_sim::{
    BrokerConfig, Channel, CloseReason, ConnectOptions, Connection, ConnectionState, Host, Link, Sim,
};

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

async fn open(host: &Host) -> (Connection, Channel) {
    let connection = host.connect("amqp://rabbit?recovery=always&heartbeat=5").await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    (connection, channel)
}

fn run(test: impl AsyncFn(&Sim)) {
    for seed in 1..=20 {
        let sim = Sim::builder(seed).time_limit(secs(3600)).build();
        if let Err(error) = sim.run(test(&sim)) {
            panic!("seed {seed}: {error}\n{}", sim.last_events());
        }
    }
}

#[test]
fn what_was_confirmed_outlives_a_crash_and_comes_marked() {
    run(async |sim| {
        let (rabbit, user) = (sim.host("rabbit"), sim.host("user"));
        let broker = rabbit.broker(BrokerConfig::default()).unwrap();
        let (_connection, channel) = open(&user).await;
        channel.declare_queue("q").durable().await.unwrap();
        let publisher = channel.publisher().await.unwrap();
        for n in 1..=5_u8 {
            publisher.publish("q", vec![n]).await.unwrap();
        }
        let (other_connection, other) = open(&user).await;
        let mut first = other.consume("q").prefetch(2).await.unwrap();
        let held = first.next().await.unwrap();
        assert_eq!((held.body(), held.redelivered()), (&[1_u8][..], false));
        rabbit.crash();
        assert_eq!(broker.connections(), 0);
        other_connection.abort();
        sim.sleep(secs(3)).await;
        rabbit.restart();
        let mut deliveries = channel.consume("q").await.unwrap();
        for n in 1..=5_u8 {
            let delivery = deliveries.next().await.unwrap();
            assert_eq!((delivery.body(), delivery.redelivered()), (&[n][..], true));
            delivery.ack().unwrap();
        }
        drop(held);
    });
}

#[test]
fn without_its_disk_it_comes_back_empty_and_the_session_declares_anew() {
    run(async |sim| {
        let (rabbit, user) = (sim.host("rabbit"), sim.host("user"));
        let broker = rabbit.broker(BrokerConfig::default()).unwrap();
        let (connection, channel) = open(&user).await;
        channel.declare_queue("q").durable().await.unwrap();
        channel.publisher().await.unwrap().publish("q", "lost").await.unwrap();
        rabbit.wipe();
        sim.sleep(secs(3)).await;
        assert!(broker.queue("/", "q").is_none());
        rabbit.restart();
        let recovered = async {
            while broker.queue("/", "q").is_none() {
                sim.sleep(secs(1)).await;
            }
        };
        sim.timeout(secs(120), recovered).await.unwrap();
        assert!(channel.get("q").await.unwrap().is_none());
        connection.close().await.unwrap();
    });
}

#[test]
fn a_broker_that_is_frozen_is_given_up_after_its_heartbeats_and_found_again() {
    run(async |sim| {
        let (rabbit, user) = (sim.host("rabbit"), sim.host("user"));
        rabbit.broker(BrokerConfig::default()).unwrap();
        let (connection, channel) = open(&user).await;
        channel.declare_queue("q").durable().await.unwrap();
        rabbit.freeze();
        sim.sleep(secs(60)).await;
        assert!(!matches!(connection.state(), ConnectionState::Connected));
        rabbit.thaw();
        let publisher = sim.timeout(secs(120), channel.publisher().into_future()).await.unwrap().unwrap();
        sim.timeout(secs(120), publisher.publish("q", "x").into_future()).await.unwrap().unwrap();
    });
}

fn options(uri: &str) -> ConnectOptions {
    uri.parse().unwrap()
}

#[test]
fn an_answer_that_came_while_the_client_stood_still_is_in_time() {
    run(async |sim| {
        let (rabbit, user) = (sim.host("rabbit"), sim.host("user"));
        rabbit.broker(BrokerConfig::default()).unwrap();
        let options = options("amqp://rabbit?recovery=off").call_timeout(secs(3));
        let connection = user.connect_with(options).await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        // In pieces, of which one read gets one.
        user.set_link(&rabbit, Link::new().latency(secs(1)).segment(10));
        let declare = sim.spawn(async move { channel.declare_queue("q").durable().await.map(drop) });
        sim.sleep(secs(1)).await; // it has been sent, and nothing has come back
        user.freeze();
        sim.sleep(secs(10)).await;
        user.thaw();
        declare.await.unwrap().unwrap();
    });
}

#[test]
fn a_client_that_stood_still_keeps_the_connection_that_the_broker_has_kept() {
    let kept = AtomicUsize::new(0);
    run(async |sim| {
        let (rabbit, user) = (sim.host("rabbit"), sim.host("user"));
        let broker = rabbit.broker(BrokerConfig::default()).unwrap();
        let connection = user.connect("amqp://rabbit?recovery=off&heartbeat=5").await.unwrap();
        sim.sleep(Duration::from_millis(sim.random().below(10_000))).await;
        user.freeze();
        sim.sleep(secs(11)).await; // more than two of its heartbeats
        let is_kept = broker.connections() == 1;
        kept.fetch_add(is_kept.into(), Ordering::Relaxed);
        user.thaw();
        sim.sleep(secs(30)).await;
        assert_eq!(connection.close_reason().is_none(), is_kept);
    });
    assert!(kept.into_inner() > 5, "the broker keeps some");
}

async fn yield_now() {
    let mut has_yielded = false;
    let once = poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    once.await;
}

#[test]
fn the_reason_that_came_before_the_end_is_the_reason() {
    for seed in 1..=100 {
        let sim = Sim::builder(seed).time_limit(secs(3600)).build();
        let reason = sim.run(async {
            let (rabbit, user) = (sim.host("rabbit"), sim.host("user"));
            let broker = rabbit.broker(BrokerConfig::default()).unwrap();
            let connection = user.connect("amqp://rabbit?recovery=off&heartbeat=5").await.unwrap();
            user.set_link(&rabbit, Link::new().segment(1)); // more reads than a task has in one go
            sim.sleep(secs(1)).await;
            user.freeze();
            broker.close_connections(&"x".repeat(25));
            sim.sleep(Duration::from_millis(1)).await;
            rabbit.kill();
            sim.sleep(secs(1)).await;
            user.thaw();
            for _ in 0..seed % 4 {
                yield_now().await;
            }
            user.freeze();
            sim.sleep(secs(20)).await;
            user.thaw();
            connection.closed().await
        });
        let reason = reason.unwrap();
        assert!(matches!(&*reason, CloseReason::Server(close) if close.code.0 == 320), "{seed}: {reason:?}");
    }
}

#[test]
fn a_broker_that_was_shut_down_comes_back_with_its_host() {
    run(async |sim| {
        let (rabbit, user) = (sim.host("rabbit"), sim.host("user"));
        let broker = rabbit.broker(BrokerConfig::default()).unwrap();
        let (_connection, channel) = open(&user).await;
        channel.declare_queue("q").durable().await.unwrap();
        broker.shutdown().await;
        let connected = user.connect("amqp://rabbit?connection_timeout=5000").await;
        assert!(connected.is_err(), "it is shut down");
        rabbit.kill();
        rabbit.restart();
        user.connect("amqp://rabbit?connection_timeout=5000").await.unwrap();
        assert!(broker.queue("/", "q").is_some());

        // Another takes its place, and keeps it.
        broker.shutdown().await;
        let other = rabbit.broker(BrokerConfig::default()).unwrap();
        rabbit.kill();
        rabbit.restart();
        let connection = user.connect("amqp://rabbit?connection_timeout=5000").await.unwrap();
        assert_eq!((broker.connections(), other.connections()), (0, 1));
        connection.close().await.unwrap();
    });
}

#[test]
fn a_broker_that_was_shut_down_listens_where_it_is_told_anew_and_nowhere_else() {
    run(async |sim| {
        let (rabbit, user) = (sim.host("rabbit"), sim.host("user"));
        let broker = rabbit.broker(BrokerConfig::default()).unwrap();
        sim.sleep(secs(1)).await;
        broker.shutdown().await; // nobody is connected: its listener has not noticed yet
        broker.serve(rabbit.listen(1).unwrap());
        assert!(user.connect("amqp://rabbit:1").await.is_ok());
        assert_eq!(user.dial("rabbit", 5672).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_broker_that_a_program_starts_is_new_in_each_life() {
    run(async |sim| {
        let (rabbit, user) = (sim.host("rabbit"), sim.host("user"));
        rabbit.start(|host| async move {
            let _broker = host.broker(BrokerConfig::default()).unwrap();
            std::future::pending::<()>().await;
        });
        let (_connection, channel) = open(&user).await;
        channel.declare_queue("q").durable().await.unwrap();
        for _ in 0..3 {
            rabbit.crash();
            rabbit.restart();
            let (_connection, channel) = open(&user).await;
            assert!(channel.declare_queue("q").passive().await.is_err());
        }
    });
}

#[test]
fn a_broker_is_found_by_its_name_in_any_case_and_by_localhost_from_its_host() {
    run(async |sim| {
        let rabbit = sim.host("Rabbit_1");
        let broker = rabbit.broker(BrokerConfig::default()).unwrap();
        for uri in [&*broker.uri(), "amqp://rabbit_1", "amqp://RABBIT_1"] {
            assert!(sim.host("user").connect(uri).await.is_ok(), "{uri}");
        }
        for uri in ["amqp://localhost", "amqp://127.0.0.1", "amqp://[::1]"] {
            assert!(rabbit.connect(uri).await.is_ok(), "{uri}");
        }
        assert_eq!(sim.host("rabbit_1").name(), "Rabbit_1");
    });
}

#[test]
fn one_port_is_one_broker_and_a_dead_host_has_none() {
    run(async |sim| {
        let rabbit = sim.host("rabbit");
        let broker = rabbit.broker(BrokerConfig::default()).unwrap();
        assert_eq!(broker.uri(), "amqp://rabbit");
        assert!(rabbit.broker(BrokerConfig::default()).is_err());
        rabbit.crash();
        assert!(sim.host("other").broker(BrokerConfig::default()).is_ok());
        assert!(rabbit.broker(BrokerConfig::default()).is_err());
    });
}

#[test]
fn names_that_the_broker_makes_up_follow_from_the_seed() {
    let name = |seed| {
        let sim = Sim::new(seed);
        sim.run(async {
            sim.host("rabbit").broker(BrokerConfig::default()).unwrap();
            let (_connection, channel) = open(&sim.host("user")).await;
            channel.declare_queue("").exclusive().await.unwrap().name().to_owned()
        })
        .unwrap()
    };
    assert_eq!(name(1), name(1));
    assert_ne!(name(1), name(2));
}
