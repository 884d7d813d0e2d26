//! Consumers: what is delivered to whom, and how they end.

use hopmq::{CloseReason, ConsumerEnd, Error, ShortStr};
use hopmq_proto::amqp::basic;

use super::{Server, closes_channel, closes_connection, drain, eventually, publish_each, ready};

pub async fn in_order(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), (0..250).map(|n| n.to_string())).await;
    let mut consumer = channel.consume(queue.name()).prefetch(20).await.unwrap();
    publish_each(&channel, queue.name(), (250..500).map(|n| n.to_string())).await;
    for n in 0..500_u64 {
        let delivery = consumer.next().await.unwrap();
        assert_eq!(delivery.body(), n.to_string().as_bytes());
        assert_eq!((delivery.tag(), delivery.redelivered()), (Some(n + 1), false));
        assert_eq!((&*delivery.exchange(), &*delivery.routing_key()), ("", queue.name()));
        delivery.ack().unwrap();
    }
}

pub async fn tags(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let named = channel.consume(queue.name()).tag("mine").await.unwrap();
    assert_eq!(*named.tag(), "mine");
    let unnamed = channel.consume(queue.name()).await.unwrap();
    assert!(unnamed.tag().as_bytes().starts_with(b"amq.ctag-"), "{}", unnamed.tag());
    named.cancel().await.unwrap();
    let again = channel.consume(queue.name()).tag("mine").await.unwrap();
    assert_eq!(*again.tag(), "mine", "a tag is free again after the cancel");
}

pub async fn duplicate_tag(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let _first = channel.consume(queue.name()).tag("mine").await.unwrap();
    let second = channel.consume(queue.name()).tag("mine");
    closes_connection(second, 530, "NOT_ALLOWED - attempt to reuse consumer tag 'mine'").await;
}

pub async fn missing_queue(server: &Server) {
    let channel = server.channel().await;
    let queue = server.name("missing");
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    closes_channel(&channel, channel.consume(&queue), 404, &text).await;
}

pub async fn prefetch(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), (0..10).map(|n| n.to_string())).await;
    let mut consumer = channel.consume(queue.name()).prefetch(3).await.unwrap();
    let first = consumer.next().await.unwrap();
    let _second = consumer.next().await.unwrap();
    let third = consumer.next().await.unwrap();
    assert_eq!(ready(&channel, queue.name()).await, 7);
    third.ack().unwrap();
    let _fourth = consumer.next().await.unwrap();
    assert_eq!(ready(&channel, queue.name()).await, 6);
    first.nack(true).unwrap(); // makes room for itself
    let again = consumer.next().await.unwrap();
    assert_eq!((again.redelivered(), again.body()), (true, &b"0"[..]));
    assert_eq!(ready(&channel, queue.name()).await, 6);
}

pub async fn trap_32_prefetch_is_for_new_consumers_only(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let mut first = channel.consume(queue.name()).prefetch(2).await.unwrap();
    channel.set_prefetch(5).await.unwrap();
    publish_each(&channel, queue.name(), (0..10).map(|n| n.to_string())).await;
    let _deliveries = (first.next().await.unwrap(), first.next().await.unwrap());
    assert_eq!(ready(&channel, queue.name()).await, 8);
    let mut second = channel.consume(queue.name()).await.unwrap();
    let mut deliveries = Vec::new();
    for _ in 0..5 {
        deliveries.push(second.next().await.unwrap());
    }
    assert_eq!(ready(&channel, queue.name()).await, 3);
}

/// Who does not settle gets no more; the others do.
pub async fn fair_dispatch(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let mut slow = channel.consume(queue.name()).prefetch(1).await.unwrap();
    let mut busy = channel.consume(queue.name()).prefetch(1).await.unwrap();
    publish_each(&channel, queue.name(), (0..20).map(|n| n.to_string())).await;
    let stuck = slow.next().await.unwrap();
    let mut bodies = vec![String::from_utf8_lossy(stuck.body()).into_owned()];
    for _ in 0..19 {
        let delivery = busy.next().await.unwrap();
        bodies.push(String::from_utf8_lossy(delivery.body()).into_owned());
        delivery.ack().unwrap();
    }
    bodies.sort_by_key(|body| body.parse::<u32>().unwrap());
    assert_eq!(bodies, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

pub async fn round_robin(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let mut consumers = Vec::new();
    for _ in 0..3 {
        consumers.push(channel.consume(queue.name()).await.unwrap());
    }
    publish_each(&channel, queue.name(), (0..30).map(|n| n.to_string())).await;
    for consumer in &mut consumers {
        let mut last = None;
        for _ in 0..10 {
            let n: u32 = String::from_utf8_lossy(consumer.next().await.unwrap().body()).parse().unwrap();
            assert!(last.is_none_or(|last| n == last + 3), "{n} after {last:?}");
            last = Some(n);
        }
    }
}

pub async fn no_ack(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), (0..50).map(|n| n.to_string())).await;
    let mut consumer = channel.consume(queue.name()).prefetch(1).no_ack().await.unwrap();
    for n in 0..50 {
        let delivery = consumer.next().await.unwrap();
        assert_eq!((delivery.body(), delivery.tag()), (n.to_string().as_bytes(), None));
        delivery.ack().unwrap(); // does nothing
    }
    consumer.cancel().await.unwrap();
    channel.recover().await.unwrap();
    assert_eq!(ready(&channel, queue.name()).await, 0);
}

pub async fn exclusive(server: &Server) {
    let connection = server.connect().await;
    let owner = connection.open_channel().await.unwrap();
    let queue = owner.declare_queue("").exclusive().await.unwrap();
    let only = owner.consume(queue.name()).exclusive().await.unwrap();
    let text = format!("ACCESS_REFUSED - queue '{}' in vhost '/' in exclusive use", queue.name());
    let channel = connection.open_channel().await.unwrap();
    closes_channel(&channel, channel.consume(queue.name()), 403, &text).await;
    only.cancel().await.unwrap();
    owner.consume(queue.name()).await.expect("it is free again");
}

pub async fn exclusive_refused_while_others_consume(server: &Server) {
    let connection = server.connect().await;
    let owner = connection.open_channel().await.unwrap();
    let queue = owner.declare_queue("").exclusive().await.unwrap();
    let _consumer = owner.consume(queue.name()).await.unwrap();
    let text = format!("ACCESS_REFUSED - queue '{}' in vhost '/' in exclusive use", queue.name());
    let channel = connection.open_channel().await.unwrap();
    closes_channel(&channel, channel.consume(queue.name()).exclusive(), 403, &text).await;
}

pub async fn of_one_channel(server: &Server) {
    let channel = server.channel().await;
    let mut consumers = Vec::new();
    for n in 0..10 {
        let queue = channel.declare_queue("").exclusive().await.unwrap();
        consumers.push((n, channel.consume(queue.name()).await.unwrap()));
        publish_each(&channel, queue.name(), [n.to_string()]).await;
    }
    for (n, consumer) in consumers.iter_mut().rev() {
        assert_eq!(consumer.next().await.unwrap().body(), n.to_string().as_bytes());
    }
}

pub async fn cancel_gives_back_what_was_not_taken(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), (0..10).map(|n| n.to_string())).await;
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    let taken = consumer.next().await.unwrap();
    assert_eq!(ready(&channel, queue.name()).await, 0, "all are on their way");
    consumer.cancel().await.unwrap();
    taken.ack().unwrap();
    let mut bodies = drain(&channel, queue.name()).await;
    bodies.sort();
    assert_eq!(bodies, (1..10).map(|n| format!("!{n}")).collect::<Vec<_>>());
}

/// From another task: what has come is still taken, and no more comes.
pub async fn cancelled_by_tag(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2", "3"]).await;
    let mut consumer = channel.consume(queue.name()).tag("c").prefetch(2).await.unwrap();
    assert_eq!(consumer.next().await.unwrap().body(), b"1");
    channel.cancel_consumer("c").await.unwrap();
    assert_eq!(consumer.next().await.unwrap().body(), b"2", "it had come");
    assert!(consumer.next().await.is_none());
    assert_eq!(consumer.end(), Some(ConsumerEnd::Cancelled));

    // The tag is free again, and what the old one still does is not done to the new one.
    let mut again = channel.consume(queue.name()).tag("c").no_ack().await.unwrap();
    consumer.cancel().await.unwrap();
    assert_eq!(again.next().await.unwrap().body(), b"3");
    drop(channel.cancel_consumer("c")); // unawaited, it is cancelled all the same
    assert!(again.next().await.is_none());
    channel.cancel_consumer("nobody's").await.unwrap();
    let long = "c".repeat(256);
    assert!(matches!(channel.cancel_consumer(&long).await, Err(Error::Argument { .. })));
}

pub async fn end_when_the_queue_is_deleted(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2"]).await;
    let mut consumer = channel.consume(queue.name()).prefetch(1).await.unwrap();
    assert_eq!(consumer.end(), None);
    channel.delete_queue(queue.name()).await.unwrap();
    assert_eq!(consumer.next().await.unwrap().body(), b"1", "what has come is still there");
    assert!(consumer.next().await.is_none());
    assert!(consumer.next().await.is_none(), "an end is an end");
    assert_eq!(consumer.end(), Some(ConsumerEnd::Cancelled));
    channel.declare_queue("").exclusive().await.expect("the channel lives on");
}

pub async fn end_with_their_channel(server: &Server) {
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    let missing = server.name("missing");
    channel.publish(&missing, "", &Default::default(), "x").await.unwrap();
    assert!(consumer.next().await.is_none());
    match consumer.end() {
        Some(ConsumerEnd::Closed(reason)) => {
            let CloseReason::Server(close) = &*reason else { panic!("{reason:?}") };
            assert_eq!(close.code.0, 404);
        }
        other => panic!("{other:?}"),
    }
    drop(consumer);
    connection.open_channel().await.expect("the connection lives on");
}

pub async fn buffered(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let mut consumer = channel.consume(queue.name()).prefetch(10).await.unwrap();
    assert_eq!((consumer.buffered().messages, consumer.buffered().bytes), (0, 0));
    publish_each(&channel, queue.name(), (0..20).map(|n| format!("{n:0>100}"))).await;
    eventually("what may come has come", async || consumer.buffered().messages == 10).await;
    let before = consumer.buffered().bytes;
    assert!((1000..2000).contains(&before), "{before}");
    let _first = consumer.next().await.unwrap();
    let after = consumer.buffered();
    assert_eq!((after.messages, after.bytes), (9, before / 10 * 9));
}

/// Cancelling what is not there is fine.
pub async fn trap_30_cancel_of_nothing(server: &Server) {
    let mut raw = server.raw_channel().await;
    let consumer_tag = ShortStr::from_static("nobody's");
    let cancel = basic::Cancel { consumer_tag: consumer_tag.clone(), no_wait: false };
    assert_eq!(raw.call(1, cancel).await, basic::CancelOk { consumer_tag }.into());
}
