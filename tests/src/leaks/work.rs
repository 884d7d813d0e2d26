use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use hopmq_tokio::{Confirms, Connection};

/// All sorts of things are under way on a connection when it goes, in one of the ways that there are.
///
/// # Panics
///
/// When something fails that must not.
#[allow(clippy::unwrap_used)] // the caller is a test
pub async fn come_and_go(connection: Connection, way: usize) {
    let (channel, other) =
        (connection.open_channel().await.unwrap(), connection.open_channel().await.unwrap());
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().mandatory().await.unwrap();
    let mut confirms = Confirms::new();
    for _ in 0..5 {
        confirms.push(publisher.publish(queue.name(), "message").send().await.unwrap());
    }
    confirms.wait().await.unwrap();
    let mut consumer = other.consume(queue.name()).prefetch(2).await.unwrap();
    consumer.next().await.unwrap().ack().unwrap();
    let unsettled = consumer.next().await;
    let client = other.rpc_client().await.unwrap();
    let unconfirmed = publisher.publish(queue.name(), "unconfirmed").send().await.unwrap();
    let under_way = [
        begin(async { drop(client.call(queue.name(), "never answered").await) }).await,
        begin(async { drop(channel.get(queue.name()).await) }).await,
        begin(async { drop(connection.open_channel().await) }).await,
        begin(async { drop(other.publisher().await) }).await,
        begin(async { drop(unconfirmed.await) }).await,
    ];
    let mut events = connection.events();
    match way % 4 {
        0 => connection.close().await.unwrap(),
        1 => connection.abort(),
        2 => drop(connection.close()),
        _ => {} // the last handle goes
    }
    for call in under_way {
        if way % 4 < 3 {
            call.await; // whatever it was, it has an end
        }
    }
    drop((unsettled, consumer, client, publisher, channel, other, connection));
    while events.next().await.is_some() {}
}

/// Begins with something that may take its time.
async fn begin<'a>(work: impl Future<Output = ()> + 'a) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    let mut work: Pin<Box<dyn Future<Output = ()> + 'a>> = Box::pin(work);
    let is_done = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_ready())).await;
    if is_done { Box::pin(async {}) } else { work }
}

/// A connection is lost in the middle of its work, comes back, works on, and goes in one of the ways that there are.
///
/// # Panics
///
/// When something fails that must not.
#[allow(clippy::unwrap_used)] // the caller is a test
pub async fn come_back_and_go(connection: Connection, way: usize, cut: impl Fn()) {
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    channel.bind_queue(queue.name(), "amq.direct", "work").await.unwrap(); // for it gets another name
    let publisher = channel.publisher().await.unwrap();
    publisher.publish("work", "before").exchange("amq.direct").await.unwrap();
    let mut consumer = channel.consume(queue.name()).prefetch(2).await.unwrap();
    let unsettled = consumer.next().await;
    let confirm = publisher.publish("work", "meanwhile").exchange("amq.direct").send().await.unwrap();
    cut();
    confirm.await.unwrap();
    publisher.publish("work", "behind").exchange("amq.direct").await.unwrap();
    consumer.next().await.unwrap().ack().unwrap();
    if way.is_multiple_of(3) {
        cut(); // and it goes while it is away
    }
    match way % 4 {
        0 => drop(connection.close().await), // of one that is lost it says so
        1 => connection.abort(),
        2 => drop(connection.close()),
        _ => {} // the last handle goes
    }
    drop((unsettled, consumer, publisher, channel, connection));
}
