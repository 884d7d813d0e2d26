//! The handles, against the embedded broker in memory: what they keep open, and what dropping them gives back.

#![allow(clippy::expect_used, clippy::panic)]

use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use hopmq_tokio::{
    Broker, BrokerConfig, Call, Channel, CloseReason, CommandError, Config, Confirm, Confirms,
    ConnectOptions, Connection, Consumer, ConsumerEnd, Delivery, Error, Properties, Publisher, Queue,
    connect_with,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A broker and a channel to it, on a connection of this configuration.
async fn channel_with(config: Config) -> (Broker, Channel) {
    let broker = Broker::in_memory(BrokerConfig::default());
    let connection = broker.connect_with(config).await.expect("a connection");
    let channel = connection.open_channel().await.expect("a channel");
    (broker, channel)
}

/// Returns once the broker has seen everything that was sent on the connection.
async fn settle(channel: &Channel, queue: &str) -> Queue {
    channel.declare_queue(queue).passive().await.expect("the queue")
}

#[tokio::test]
async fn a_connection_is_shown_in_one_short_line() -> Outcome {
    let config =
        BrokerConfig { product: "A broker".to_owned(), version: "1.2.3".to_owned(), ..Default::default() };
    let connection = Broker::in_memory(config).connect().await?;
    assert_eq!(format!("{connection:?}"), r#"Connection { product: "A broker", version: "1.2.3", .. }"#);
    Ok(())
}

#[test]
fn handles_go_to_any_task() {
    fn send<T: Send + 'static>() {}
    fn send_and_sync<T: Send + Sync + 'static>() {}
    send_and_sync::<Broker>();
    send_and_sync::<Connection>();
    send_and_sync::<Channel>();
    send_and_sync::<Publisher>();
    send_and_sync::<Confirm>();
    send_and_sync::<Confirms>();
    send_and_sync::<Consumer>();
    send_and_sync::<Delivery>();
    send::<Call<Channel>>();
}

#[tokio::test]
async fn an_old_consumer_does_not_take_a_new_one_of_its_name_with_it() -> Outcome {
    let (broker, channel) = channel_with(Config::default()).await;
    for cancels in [false, true] {
        channel.declare_queue("q").durable().await?;
        let mut old = channel.consume("q").tag("worker").await?;
        channel.delete_queue("q").await?;
        assert!(old.next().await.is_none());
        assert_eq!(old.end(), Some(ConsumerEnd::Cancelled));

        channel.declare_queue("q").durable().await?;
        let new = channel.consume("q").tag("worker").await?;
        if cancels {
            old.cancel().await?;
        } else {
            drop(old);
        }
        settle(&channel, "q").await;
        assert_eq!(broker.queue("/", "q").map(|stats| stats.consumers), Some(1));
        drop(new);
    }
    Ok(())
}

#[tokio::test]
async fn a_cancel_that_is_refused_cancels_all_the_same() -> Outcome {
    let (broker, channel) = channel_with(Config { max_calls: 1, ..Config::default() }).await;
    channel.declare_queue("q").durable().await?;
    let consumer = channel.consume("q").await?;
    let other = channel.declare_queue("q").passive().into_future();
    assert!(matches!(consumer.cancel().await, Err(Error::Refused(CommandError::TooManyCalls))));
    other.await?;
    // The cancel has no caller, but it has the place of a call until the broker has answered it.
    while let Err(Error::Refused(CommandError::TooManyCalls)) = channel.declare_queue("q").passive().await {
        tokio::task::yield_now().await;
    }
    assert_eq!(broker.queue("/", "q").map(|stats| stats.consumers), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_confirm_and_a_call_keep_their_channel_open() -> Outcome {
    let (broker, channel) = channel_with(Config::default()).await;
    let declare = channel.declare_queue("q").durable().into_future();
    drop(channel);
    declare.await?;

    let channel = broker.connect().await?.open_channel().await?;
    let publisher = channel.publisher().await?;
    drop(channel);
    let confirm = publisher.publish("q", "hello").send().await?;
    drop(publisher);
    confirm.await?;
    assert_eq!(broker.queue("/", "q").map(|stats| stats.ready), Some(1));
    Ok(())
}

#[tokio::test]
async fn a_consumer_that_lags_behind_can_still_wait_for_confirms() -> Outcome {
    let config = Config { max_event_bytes: 4096, ..Config::default() };
    let (_broker, channel) = channel_with(config).await;
    for queue in ["in", "out"] {
        channel.declare_queue(queue).durable().await?;
    }
    let publisher = channel.publisher().await?;
    for _ in 0..40 {
        publisher.publish("in", vec![7; 1000]).await?;
    }
    let mut deliveries = channel.consume("in").prefetch(40).await?;
    for _ in 0..40 {
        let delivery = deliveries.next().await.expect("a delivery");
        publisher.publish("out", "done").await?;
        delivery.ack()?;
    }
    assert_eq!(settle(&channel, "out").await.message_count(), 40);
    Ok(())
}

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

/// On a runtime of one thread nothing is written between two awaits, so the outbox stays full.
#[tokio::test]
async fn a_publish_that_no_longer_waits_for_room_leaves_nothing_behind() -> Outcome {
    let (_broker, channel) = channel_with(Config { max_outbox: 1, ..Config::default() }).await;
    let publisher = channel.publisher().await?;
    let confirm = publisher.publish("nowhere", "first").try_send()?;
    let nobody = Arc::new(Nobody);
    let waker = Waker::from(nobody.clone());
    let held = Arc::strong_count(&nobody);
    {
        let mut waits = pin!(publisher.publish("nowhere", "second").send());
        for _ in 0..2 {
            assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(Arc::strong_count(&nobody), held + 1);
        }
    }
    assert_eq!(Arc::strong_count(&nobody), held);
    confirm.await?;
    Ok(())
}

#[tokio::test]
async fn a_broker_that_was_shut_down_takes_no_connection() {
    let broker = Broker::in_memory(BrokerConfig::default());
    broker.shutdown().await;
    let reason = broker.connect().await.expect_err("no broker");
    assert!(matches!(*reason, CloseReason::Handshake(_)), "{reason}");
    assert_eq!(broker.connections(), 0);
}

#[tokio::test]
async fn no_time_is_too_long_to_connect() -> Outcome {
    let broker = Broker::start().await?;
    let mut options: ConnectOptions = broker.uri().parse()?;
    options.config.connect_timeout = Duration::MAX;
    connect_with(options).await?.close().await?;
    Ok(())
}

/// A task that holds a connection. Like on many executors, it is dropped with its last waker.
struct Task(Connection);

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Task {
    fn drop(&mut self) {
        let _ = self.0.is_blocked(); // any use of the connection will do
    }
}

/// Polls the future from one task, which goes then, and from another, which is left to the future.
fn poll_from_two_tasks(connection: &Connection, future: &mut (impl Future + Unpin)) {
    for _ in 0..2 {
        let waker = Waker::from(Arc::new(Task(connection.clone())));
        assert!(Pin::new(&mut *future).poll(&mut Context::from_waker(&waker)).is_pending());
    }
}

async fn drop_wakers() -> Outcome {
    let broker = Broker::in_memory(BrokerConfig::default());
    let config = Config { max_outbox: 1, ..Config::default() };
    let connection = broker.connect_with(config).await.expect("a connection");
    let channel = connection.open_channel().await?;
    let publisher = channel.publisher().await?;
    channel.declare_queue("q").durable().await?;

    let mut confirm = publisher.publish("q", "").try_send()?;
    poll_from_two_tasks(&connection, &mut confirm);
    poll_from_two_tasks(&connection, &mut publisher.publish("q", "waits for room").send());
    poll_from_two_tasks(&connection, &mut connection.open_channel());
    confirm.await?;
    channel.get("q").await?.expect("a message").into_delivery().ack()?;
    let mut consumer = channel.consume("q").await?;
    poll_from_two_tasks(&connection, &mut pin!(consumer.next()));
    drop(consumer);
    Ok(())
}

#[test]
fn dropping_a_waker_may_use_the_connection() {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        done.send(runtime.block_on(drop_wakers()).map_err(|error| error.to_string()))
    });
    assert_eq!(finished.recv_timeout(Duration::from_secs(10)), Ok(Ok(())), "a deadlock, or a panic");
}

/// A wait that is dropped has found out already that a message came back; the next wait must tell.
#[tokio::test]
async fn a_wait_for_confirms_that_is_dropped_forgets_no_failure() -> Outcome {
    let (_broker, channel) = channel_with(Config::default()).await;
    let (_other_broker, other_channel) = channel_with(Config::default()).await;
    let (publisher, other) = (channel.publisher().await?, other_channel.publisher().await?);
    let returned = publisher.publish("nowhere", "").mandatory().try_send()?;
    channel.declare_queue("q").durable().await?; // its return has come by now
    let mut confirms = Confirms::new();
    confirms.push(other.publish("nowhere", "").try_send()?); // its confirm has not
    confirms.push(returned);

    let mut cx = Context::from_waker(Waker::noop());
    assert!(pin!(confirms.wait()).poll(&mut cx).is_pending());
    assert_eq!(confirms.len(), 1);
    assert!(matches!(confirms.wait().await, Err(hopmq_tokio::PublishError::Returned(_))));
    assert!(confirms.wait().await.is_ok());
    Ok(())
}

/// A body whose owner uses the connection once more when it goes.
struct Owner(Connection, Arc<AtomicUsize>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &[7; 10_000]
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.0.is_blocked();
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn what_owns_a_body_may_use_the_connection_when_it_goes() -> Outcome {
    for way in 0..3 {
        let (broker, channel) = channel_with(Config::default()).await;
        let connection = broker.connect_with(Config::default()).await?;
        drop(channel);
        let channel = connection.open_channel().await?;
        let gone = Arc::new(AtomicUsize::new(0));
        let body = Bytes::from_owner(Owner(connection.clone(), gone.clone()));
        channel.publish("", "nowhere", &Properties::new(), body).await?;
        assert_eq!(gone.load(Ordering::SeqCst), 0, "it waits to be written");
        match way {
            0 => connection.abort(),
            1 => drop(connection.close()),
            _ => drop(broker),
        }
        while gone.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Every deadline may be for ever.
#[tokio::test]
async fn the_longest_durations_are_no_error() -> Outcome {
    let max = Duration::MAX;
    let config = Config {
        connect_timeout: max,
        call_timeout: max,
        confirm_timeout: max,
        publish_timeout: max,
        close_timeout: max,
        ..Config::default()
    };
    let (broker, channel) = channel_with(config).await;
    channel.declare_queue("q").durable().await?;
    let publisher = channel.publisher().max_unconfirmed(1).await?;
    let all = [0; 20].map(|_| publisher.publish("q", "x").into_future());
    for confirmed in all {
        confirmed.await?;
    }
    publisher.wait_for_confirms().await?;
    let connection = broker.connect().await?;
    let client = connection.open_channel().await?.rpc_client().timeout(max).await?;
    let channel = channel.clone();
    let serve = tokio::spawn(async move { channel.serve("q", async |_| Ok::<_, Error>("yes")).await });
    assert_eq!(client.call("q", "?").timeout(max).await?.body(), b"yes");
    connection.close().await?;
    serve.abort();
    Ok(())
}
