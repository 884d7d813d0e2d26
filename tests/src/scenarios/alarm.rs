use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use hopmq::{CloseReason, Connection, ConnectionEvent, Events, PublishError};

use super::Server;

/// Trap 34: a server that is blocked by an alarm reads nothing of who publishes. `set` raises the alarm, and ends it.
pub async fn holds_back_publishes_only(server: &Server, set: impl Fn(bool)) {
    let connection = server.connect().await;
    let doomed = server.connect().await;
    let mut events = connection.events();
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    publisher.publish(queue.name(), "before").await.unwrap();
    let mut deliveries = channel.consume(queue.name()).await.unwrap();
    let before = deliveries.next().await.unwrap();

    // The server tells who publishes.
    set(true);
    let last = publisher.publish(queue.name(), "last").send().await.unwrap();
    let ConnectionEvent::Blocked { reason } = next(&mut events).await else { panic!() };
    assert!(reason.contains("memory"), "{reason}");
    assert!(connection.is_blocked());
    assert_eq!(
        connection.events().next().await,
        Some(ConnectionEvent::Blocked { reason }),
        "who listens later is told too"
    );

    // Publishes are held back; the rest is sent, though this server reads none of it until the alarm is over.
    let refused = publisher.publish(queue.name(), "refused").try_send().unwrap_err();
    assert!(matches!(refused, PublishError::Full { .. }), "{refused:?}");
    let mut waiting = pin!(publisher.publish(queue.name(), "waiting").send());
    assert!(poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
    before.ack().unwrap();
    let declared = channel.declare_queue(queue.name()).passive();

    // Whoever does not publish notices nothing.
    let other = server.connect().await;
    round_trip_without_publishing(&other).await;
    assert!(!other.is_blocked());
    assert!(connection.is_blocked());

    // The server blocks behind a frame of content: by then a message without a body is whole.
    let third = server.connect().await;
    let mut third_events = third.events();
    third.open_channel().await.unwrap().publisher().await.unwrap().publish("nowhere", "").await.unwrap();
    assert!(matches!(next(&mut third_events).await, ConnectionEvent::Blocked { .. }));

    // One that ends amid the alarm is no longer blocked.
    let doomed_channel = doomed.open_channel().await.unwrap();
    let doomed_publisher = doomed_channel.publisher().await.unwrap();
    let mut doomed_events = doomed.events();
    let lost = doomed_publisher.publish("nowhere", "lost").send().await.unwrap();
    assert!(matches!(next(&mut doomed_events).await, ConnectionEvent::Blocked { .. }));
    doomed.abort();
    assert_eq!(*doomed.closed().await, CloseReason::Aborted);
    assert!(!doomed.is_blocked());
    assert!(matches!(lost.await, Ok(()) | Err(PublishError::Unconfirmed(_))));

    set(false);
    assert_eq!(next(&mut events).await, ConnectionEvent::Unblocked);
    assert!(!connection.is_blocked());
    waiting.await.unwrap().await.unwrap();
    last.await.unwrap();
    declared.await.unwrap();
    for body in ["last", "waiting"] {
        let delivery = deliveries.next().await.unwrap();
        assert_eq!(delivery.body(), body.as_bytes());
        delivery.ack().unwrap();
    }
    connection.close().await.unwrap();
}

/// Declares, and asks for what is not there.
pub async fn round_trip_without_publishing(connection: &Connection) {
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    assert!(channel.get(queue.name()).await.unwrap().is_none());
    channel.close().await.unwrap();
}

async fn next(events: &mut Events) -> ConnectionEvent {
    events.next().await.expect("the stream goes on")
}
