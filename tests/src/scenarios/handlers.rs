//! Handlers: how many run at once, what they settle, and how they end.

use std::cell::{Cell, RefCell};
use std::future::{pending, ready as now};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::future::FutureExt as _;
use hopmq::{CloseReason, ConsumerEnd, OnError};
use tokio::sync::{Barrier, Notify};

use super::{Server, drain, drop_after, eventually, publish_each, ready};

/// The handler of the last message ends the consumer, by deleting its queue.
pub async fn settle_what_they_did(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), (0..200).map(|n| n.to_string())).await;
    let mut consumer = channel.consume(queue.name()).prefetch(20).await.unwrap();
    let handled = RefCell::new(Vec::new());
    let end = consumer.handle(5, OnError::Reject, async |received| {
        assert!(!received.redelivered() && received.tag().is_some());
        let n: u32 = String::from_utf8_lossy(received.body()).parse().unwrap();
        handled.borrow_mut().push(n);
        if handled.borrow().len() == 200 {
            channel.delete_queue(queue.name()).await.unwrap();
        }
        if n.is_multiple_of(2) { Ok(()) } else { Err("odd") }
    });
    assert_eq!(end.await, ConsumerEnd::Cancelled);
    assert_eq!(handled.into_inner(), (0..200).collect::<Vec<_>>());
    assert_eq!(consumer.end(), Some(ConsumerEnd::Cancelled));
    channel.declare_queue("").exclusive().await.expect("the channel lives on");
}

pub async fn at_most_so_many_at_once(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), (0..30).map(|n| n.to_string())).await;
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    let (running, handled, all_run) = (Cell::new(0), Cell::new(0), Barrier::new(3));
    let end = consumer.handle(3, OnError::Requeue, async |_| {
        running.set(running.get() + 1);
        all_run.wait().await; // for ever, if they did not run at once
        assert!(running.get() <= 3);
        running.set(running.get() - 1);
        handled.set(handled.get() + 1);
        if handled.get() == 30 {
            channel.delete_queue(queue.name()).await.unwrap();
        }
        Ok::<_, ()>(())
    });
    assert_eq!(end.await, ConsumerEnd::Cancelled);
    assert_eq!((handled.get(), running.get()), (30, 0));
}

/// How often a message that always fails is tried; then a message that does not fail ends the consumer.
async fn tries(server: &Server, on_error: OnError, fails: u32) -> u32 {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["poison"]).await;
    let mut consumer = channel.consume(queue.name()).prefetch(1).await.unwrap();
    let tries = Cell::new(0);
    let end = consumer.handle(0, on_error, async |received| {
        if received.body() == b"last" {
            channel.delete_queue(queue.name()).await.unwrap();
            return Ok(());
        }
        assert_eq!(received.redelivered(), tries.get() > 0);
        tries.set(tries.get() + 1);
        if tries.get() == 1 {
            publish_each(&channel, queue.name(), ["last"]).await; // behind what is requeued in position
        }
        if tries.get() > fails { Ok(()) } else { Err(()) }
    });
    assert_eq!(end.await, ConsumerEnd::Cancelled);
    tries.get()
}

pub async fn of_failures(server: &Server) {
    assert_eq!(tries(server, OnError::Reject, u32::MAX).await, 1);
    assert_eq!(tries(server, OnError::RequeueOnce, u32::MAX).await, 2);
    assert_eq!(tries(server, OnError::RequeueOnce, 1).await, 2);
    assert_eq!(tries(server, OnError::Requeue, 4).await, 5);
}

pub async fn dropped_ones_leave_their_messages(server: &Server) {
    let connection = server.connect().await;
    let watcher = connection.open_channel().await.unwrap();
    let queue = watcher.declare_queue("").exclusive().await.unwrap();
    publish_each(&watcher, queue.name(), ["1", "2", "3", "4"]).await;
    let channel = connection.open_channel().await.unwrap();
    let mut consumer = channel.consume(queue.name()).prefetch(3).await.unwrap();
    eventually("they have come", async || consumer.buffered().messages == 3).await;
    let mut begun = 0;
    let handle = consumer.handle(2, OnError::Reject, |_| {
        begun += 1;
        pending::<Result<(), ()>>()
    });
    assert!(!drop_after(handle, 1).await);
    assert_eq!(begun, 2);
    assert_eq!(ready(&watcher, queue.name()).await, 1, "they are unsettled");
    let third = consumer.next().await.unwrap();
    assert_eq!(third.body(), b"3", "what no handler has begun");
    third.ack().unwrap();
    assert_eq!(consumer.next().await.unwrap().body(), b"4");
    channel.close().await.unwrap();
    eventually("the messages are back", async || ready(&watcher, queue.name()).await == 3).await; // after close-ok
    assert_eq!(drain(&watcher, queue.name()).await, ["!1", "!2", "!4"]);
}

/// Cancelled, they do what they have begun and what has come, and leave the rest.
pub async fn stop_when_cancelled(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2", "3", "4"]).await;
    let mut consumer = channel.consume(queue.name()).tag("worker").prefetch(3).await.unwrap();
    eventually("they have come", async || consumer.buffered().messages == 3).await;
    let handled = RefCell::new(Vec::new());
    let end = consumer.handle(2, OnError::Requeue, async |received| {
        channel.cancel_consumer("worker").await.unwrap();
        handled.borrow_mut().push(String::from_utf8_lossy(received.body()).into_owned());
        Ok::<_, ()>(())
    });
    assert_eq!(end.await, ConsumerEnd::Cancelled);
    let mut handled = handled.into_inner();
    handled.sort(); // two run at once, and the second may find its answer there before the first is polled again
    assert_eq!(handled, ["1", "2", "3"]);
    assert_eq!(drain(&channel, queue.name()).await, ["4"]);
}

/// Handlers that run are waited for, though they can settle nothing any more.
pub async fn end_with_their_channel(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2"]).await;
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    let (missing, ended, done) = (server.name("missing"), Notify::new(), Cell::new(false));
    let end = consumer.handle(2, OnError::Requeue, async |received| {
        if received.body() == b"1" {
            ended.notified().await;
            done.set(true);
        } else {
            channel.publish(&missing, "", &Default::default(), "x").await.unwrap();
            channel.declare_queue("").exclusive().await.unwrap_err();
            ended.notify_one();
        }
        Ok::<_, ()>(())
    });
    match end.await {
        ConsumerEnd::Closed(reason) => {
            let CloseReason::Server(close) = &*reason else { panic!("{reason:?}") };
            let text = format!("NOT_FOUND - no exchange '{missing}' in vhost '/'");
            assert_eq!((close.code.0, &*close.text.to_string_lossy()), (404, &*text));
        }
        other => panic!("{other:?}"),
    }
    assert!(done.get());
}

pub async fn panics_are_passed_on(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["1"]).await;
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    let alive = Arc::new(());
    let witness = alive.clone();
    // A task can run it: it is `Send` where its handlers are.
    let task = server.spawn(async move {
        consumer
            .handle(1, OnError::Requeue, |_| {
                assert!(Arc::strong_count(&witness) == 0, "the handler panics");
                now(Ok::<_, ()>(()))
            })
            .await
    });
    assert!(AssertUnwindSafe(task).catch_unwind().await.is_err());
    assert_eq!(Arc::strong_count(&alive), 1);
    eventually("the consumer is gone", async || {
        channel.declare_queue(queue.name()).passive().await.unwrap().consumer_count() == 0
    })
    .await;
}
