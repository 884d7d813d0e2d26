//! Remote procedure calls: each reply to its own call, and an answer for each call that gets none.

use std::convert::Infallible;
use std::future::{IntoFuture, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{join, join_all};
use hopmq::{Channel, ConsumerEnd, FieldTable, Message, OnError, Properties, Received, Response, RpcError};

use super::{Server, Task, drain, drop_after, eventually, ready};

type Reply = Result<Response, Infallible>;

async fn echo(request: Received) -> Reply {
    Ok(request.into_message().into_body().into())
}

/// A queue, and a task that answers each request in it with its body.
async fn echoing(server: &Server, concurrency: u16) -> (String, Channel, Task<ConsumerEnd>) {
    let queue = server.name("rpc");
    let channel = server.channel().await;
    channel.declare_queue(&queue).durable().await.unwrap();
    let serving = spawn_echo(server, &channel, &queue, concurrency);
    (queue, channel, serving)
}

fn spawn_echo(server: &Server, channel: &Channel, queue: &str, concurrency: u16) -> Task<ConsumerEnd> {
    let worker = channel.rpc_server(queue).concurrency(concurrency);
    server.spawn(async move { worker.serve(echo).await.unwrap() })
}

/// The queue goes, and with it the worker.
async fn end(channel: &Channel, queue: &str, serving: Task<ConsumerEnd>) {
    channel.delete_queue(queue).await.unwrap();
    assert_eq!(serving.await, ConsumerEnd::Cancelled);
}

pub async fn trap_38_each_gets_its_own_reply(server: &Server) {
    let (queue, channel, serving) = echoing(server, 3).await;
    let client = server.channel().await.rpc_client().await.unwrap();
    let mut calls = Vec::new();
    for n in 0..200_u32 {
        let (client, queue) = (client.clone(), queue.clone());
        calls.push(server.spawn(async move {
            let reply = client.call(&queue, n.to_string()).await.unwrap();
            assert_eq!(reply.body(), n.to_string().as_bytes());
        }));
    }
    join_all(calls).await;
    end(&channel, &queue, serving).await;
}

/// A reply is not kept waiting by one that nobody takes.
pub async fn one_that_is_not_polled_keeps_no_other_waiting(server: &Server) {
    let (queue, channel) = (server.name("rpc"), server.channel().await);
    channel.declare_queue(&queue).durable().await.unwrap();
    let client = server.channel().await.rpc_client().await.unwrap();
    let mut idle = client.call(&queue, "idle").into_future();
    let is_sent = poll_fn(|cx| Poll::Ready(idle.as_mut().poll(cx).is_pending())).await;
    assert!(is_sent, "and not polled until the others have their replies");
    let serving = spawn_echo(server, &channel, &queue, 1);
    for n in 0..20 {
        assert_eq!(client.call(&queue, n.to_string()).await.unwrap().body(), n.to_string().as_bytes());
    }
    assert_eq!(idle.await.unwrap().body(), b"idle");
    end(&channel, &queue, serving).await;
}

pub async fn unroutable_fails_at_once(server: &Server) {
    let channel = server.channel().await;
    let client = channel.rpc_client().timeout(Duration::from_secs(3600)).await.unwrap();
    let nobody = server.name("nobody");
    let error = client.call(&nobody, "anybody?").await.unwrap_err();
    assert!(error.is_unroutable(), "{error:?}");
}

/// Late replies are nobody's, and disturb nobody.
pub async fn late_replies_are_dropped(server: &Server) {
    let (client_channel, worker) = (server.channel().await, server.channel().await);
    let queue = server.name("rpc");
    worker.declare_queue(&queue).durable().await.unwrap();
    let client = client_channel.rpc_client().await.unwrap();
    let late = client.call(&queue, "late").timeout(Duration::from_millis(50)).await;
    assert_eq!(late, Err(RpcError::TimedOut));
    assert!(!drop_after(client.call(&queue, "dropped"), 1).await, "it is sent");
    let publisher = worker.publisher().await.unwrap();
    let answer = async |what: &str| {
        let mut got = None;
        eventually("the request is there", async || {
            got = worker.get(&queue).await.unwrap();
            got.is_some()
        })
        .await;
        let request = got.unwrap();
        let asked = request.properties().unwrap();
        let mut properties = Properties::new();
        properties.correlation_id = asked.correlation_id;
        let reply_to = asked.reply_to.unwrap().to_string();
        assert_eq!(request.body(), what.as_bytes());
        publisher.publish(&reply_to, what.to_owned()).properties(&properties).await.unwrap();
        publisher.publish(&reply_to, "twice").properties(&properties).await.unwrap();
        publisher.publish(&reply_to, "whose?").await.unwrap();
        request.into_delivery().ack().unwrap();
    };
    answer("late").await;
    answer("dropped").await;
    let (reply, ()) = join(client.call(&queue, "in time").into_future(), answer("in time")).await;
    assert_eq!(reply.unwrap().body(), b"in time");
    worker.delete_queue(&queue).await.unwrap();
}

pub async fn the_end_of_the_channel_fails_every_call(server: &Server) {
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let client = channel.rpc_client().await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..20 {
        let (client, queue) = (client.clone(), queue.name().to_owned());
        calls.push(server.spawn(async move { client.call(&queue, "x").await }));
    }
    let watcher = connection.open_channel().await.unwrap();
    eventually("all are sent", async || ready(&watcher, queue.name()).await == 20).await;
    channel.close().await.unwrap();
    for outcome in join_all(calls).await {
        assert!(matches!(outcome, Err(RpcError::Ended(ConsumerEnd::Closed(_)))), "{outcome:?}");
    }
    let later = client.call(queue.name(), "x").await;
    assert!(matches!(later, Err(RpcError::Request(_) | RpcError::Ended(_))), "{later:?}");
}

/// Whatever is dropped, and after however many polls, the client goes on.
pub async fn dropped_at_every_poll(server: &Server) {
    let (queue, channel, serving) = echoing(server, 4).await;
    let client = server.channel().await.rpc_client().await.unwrap();
    for polls in 0..6 {
        drop_after(client.call(&queue, "dropped"), polls).await;
        assert_eq!(client.call(&queue, "kept").await.unwrap().body(), b"kept");
    }
    for polls in 0..4 {
        let channel = server.channel().await;
        drop_after(channel.rpc_client(), polls).await;
        channel.set_prefetch(0).await.unwrap(); // what it was granted is seen, and given back
        let client = channel.rpc_client().await.unwrap(); // one of a channel: the other was given back
        assert_eq!(client.call(&queue, "kept").await.unwrap().body(), b"kept");
    }
    end(&channel, &queue, serving).await;
}

/// A handler that fails: the request is dropped, or tried again.
pub async fn failures_by_policy(server: &Server) {
    let channel = server.channel().await;
    let client = server.channel().await.rpc_client().timeout(Duration::from_millis(300)).await.unwrap();
    for on_error in [OnError::Reject, OnError::RequeueOnce] {
        let queue = server.name("rpc");
        channel.declare_queue(&queue).durable().await.unwrap();
        let worker = server.channel().await.rpc_server(&queue).on_error(on_error);
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = tries.clone();
        let serving = server.spawn(async move {
            let handler = move |request: Received| {
                let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
                assert_eq!(request.redelivered(), !first);
                async move { if first { Err(()) } else { Ok(request.into_message().into_body()) } }
            };
            worker.serve(handler).await.unwrap()
        });
        let outcome = client.call(&queue, "once more").await;
        let is_tried_again = on_error == OnError::RequeueOnce;
        match is_tried_again {
            false => assert_eq!(outcome, Err(RpcError::TimedOut)),
            true => assert_eq!(outcome.unwrap().body(), b"once more"),
        }
        assert_eq!(tries.load(Ordering::SeqCst), 1 + usize::from(is_tried_again));
        end(&channel, &queue, serving).await;
    }
}

/// A reply that cannot be sent is a failure, and the worker goes on. So is a request whose reply has nowhere to go, but
/// one that wants none is done.
pub async fn replies_that_cannot_be_sent(server: &Server) {
    let channel = server.channel().await;
    let queue = server.name("rpc");
    channel.declare_queue(&queue).durable().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let worker = server.channel().await.rpc_server(&queue).on_error(OnError::RequeueOnce);
    let served = Arc::new(AtomicUsize::new(0));
    let counted = served.clone();
    let serving = server.spawn(async move {
        let handler = move |request: Received| {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut properties = Properties::new();
            if request.body() == b"too much" {
                let long = "x".repeat(200_000); // more than a frame holds, and a header cannot be split
                properties.headers = Some(FieldTable::new().with("long", long));
            }
            std::future::ready(Ok::<_, ()>(Response::new("done", properties)))
        };
        worker.serve(handler).await.unwrap()
    });
    let asking = Properties::new().with_reply_to(server.name("nobody")).unwrap();
    publisher.publish(&queue, "too much").properties(&asking).await.unwrap();
    eventually("it is tried twice", async || served.load(Ordering::SeqCst) == 2).await;
    publisher.publish(&queue, "no reply").await.unwrap();
    publisher.publish(&queue, "nobody is there").properties(&asking).await.unwrap();
    let client = server.channel().await.rpc_client().await.unwrap();
    assert_eq!(client.call(&queue, "go on").await.unwrap().body(), b"done");
    assert_eq!(served.load(Ordering::SeqCst), 5);
    end(&channel, &queue, serving).await;
}

/// What a reply says of itself, and what the worker says for it.
pub async fn properties_of_replies(server: &Server) {
    let channel = server.channel().await;
    let (queue, replies) = (server.name("rpc"), server.name("replies"));
    for name in [&queue, &replies] {
        channel.declare_queue(name).durable().await.unwrap();
    }
    let worker = server.channel().await.rpc_server(&queue);
    let serving = server.spawn(async move {
        let handler = async |_| {
            let properties = Properties::new().with_content_type("text/x-reply").unwrap();
            Ok::<_, Infallible>(Response::new("reply", properties.with_correlation_id("ignored").unwrap()))
        };
        worker.serve(handler).await.unwrap()
    });
    let client = server.channel().await.rpc_client().await.unwrap();
    let said = |message: &Message| message.properties().unwrap();
    let reply = said(&client.call(&queue, "x").await.unwrap());
    assert_eq!(reply.content_type.unwrap(), "text/x-reply");
    assert_eq!(reply.delivery_mode, None);

    // A client of another kind, whose replies outlive the broker.
    let asking = Properties::new().persistent().with_reply_to(&replies).unwrap();
    let asking = asking.with_correlation_id("mine").unwrap();
    channel.publish("", &queue, &asking, "x").await.unwrap();
    let mut replied = channel.consume(&replies).no_ack().await.unwrap();
    let reply = said(&replied.next().await.unwrap());
    assert_eq!((reply.correlation_id, reply.delivery_mode), (asking.correlation_id, asking.delivery_mode));
    channel.delete_queue(&replies).await.unwrap();
    end(&channel, &queue, serving).await;
}

/// No more calls at once than is said: one more is refused, and sends nothing.
pub async fn at_most_so_many_calls(server: &Server) {
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let client = connection.open_channel().await.unwrap().rpc_client().max_calls(2).await.unwrap();
    let mut first = client.call(queue.name(), "1").into_future();
    let mut second = client.call(queue.name(), "2").into_future();
    for call in [&mut first, &mut second] {
        assert!(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await);
    }
    let refused = client.call(queue.name(), "3").await;
    assert_eq!(refused, Err(RpcError::TooMany { body: "3".into() }));
    drop(first);
    let timed_out = client.call(queue.name(), "4").timeout(Duration::ZERO).await;
    assert_eq!(timed_out, Err(RpcError::TimedOut), "there is room again");
    drop(second);
    eventually("what was sent is there", async || ready(&channel, queue.name()).await == 3).await;
    assert_eq!(drain(&channel, queue.name()).await, ["1", "2", "4"]);
}

/// A worker that is cancelled answers what it has begun.
pub async fn a_cancelled_worker_answers_first(server: &Server) {
    let (queue, channel) = (server.name("rpc"), server.channel().await);
    channel.declare_queue(&queue).durable().await.unwrap();
    let (worker, stopper) = (channel.rpc_server(&queue).tag("worker").concurrency(1), channel.clone());
    let serving = server.spawn(async move {
        let handler = async |_| {
            stopper.cancel_consumer("worker").await.unwrap();
            Ok::<_, Infallible>("the last one")
        };
        worker.serve(handler).await.unwrap()
    });
    let client = server.channel().await.rpc_client().await.unwrap();
    assert_eq!(client.call(&queue, "x").await.unwrap().body(), b"the last one");
    assert_eq!(serving.await, ConsumerEnd::Cancelled);
    channel.recover().await.unwrap();
    assert!(drain(&channel, &queue).await.is_empty(), "it was acknowledged");
    channel.delete_queue(&queue).await.unwrap();
}

/// A worker that is dropped at work leaves its requests to the next one.
pub async fn a_dropped_worker_gives_its_requests_back(server: &Server) {
    let channel = server.channel().await;
    let queue = server.name("rpc");
    channel.declare_queue(&queue).durable().await.unwrap();
    super::publish_each(&channel, &queue, ["1", "2", "3"]).await;
    let started = Arc::new(AtomicUsize::new(0));
    let counted = started.clone();
    let worker = server.channel().await.rpc_server(&queue);
    let serving = server.spawn(async move {
        let stuck = move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<Reply>()
        };
        worker.serve(stuck).await.unwrap()
    });
    eventually("all are worked on", async || started.load(Ordering::SeqCst) == 3).await;
    drop(serving);
    eventually("all are back", async || ready(&channel, &queue).await == 3).await;
    assert_eq!(drain(&channel, &queue).await, ["!1", "!2", "!3"]);
    channel.delete_queue(&queue).await.unwrap();
}
