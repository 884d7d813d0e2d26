//! `basic.qos` beyond what a client's prefetch does.

use hopmq_proto::amqp::{Method, basic, queue};

use super::{Raw, Server, eventually, publish_each, ready};

pub async fn trap_32_size_is_not_implemented(server: &Server) {
    let mut raw = server.raw_channel().await;
    raw.send(1, basic::Qos { prefetch_size: 1, prefetch_count: 0, global: false }).await;
    raw.expect_connection_close(540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)").await;
}

async fn next_tag(raw: &mut Raw) -> u64 {
    let (_, method) = raw.method().await;
    let Method::BasicDeliver(deliver) = method else { panic!("{method:?}") };
    raw.body().await;
    deliver.delivery_tag
}

/// Two consumers share a limit of three.
pub async fn trap_32_global_is_for_the_channel(server: &Server) {
    let mut raw = server.raw_channel().await;
    let queue = raw.declare_queue(1).await;
    let qos = basic::Qos { prefetch_size: 0, prefetch_count: 3, global: true };
    assert_eq!(raw.call(1, qos).await, basic::QosOk {}.into());
    for _ in 0..2 {
        let consume = basic::Consume { queue: queue.clone(), ..basic::Consume::default() };
        assert!(matches!(raw.call(1, consume).await, Method::BasicConsumeOk(_)));
    }
    for _ in 0..5 {
        let publish = basic::Publish { routing_key: queue.clone(), ..basic::Publish::default() };
        raw.publish(1, publish, b"x").await;
    }
    for tag in 1..=3 {
        assert_eq!(next_tag(&mut raw).await, tag);
    }
    // RabbitMQ may count before it has put the last two into the queue: a count goes ahead of publishes there.
    let look = queue::Declare { queue, passive: true, ..queue::Declare::default() };
    eventually("two are left", async || {
        let answer = raw.call(1, look.clone()).await; // and not a fourth delivery
        let Method::QueueDeclareOk(found) = answer else { panic!("{answer:?}") };
        found.message_count == 2
    })
    .await;
    raw.send(1, basic::Ack { delivery_tag: 3, multiple: true }).await;
    assert_eq!([next_tag(&mut raw).await, next_tag(&mut raw).await], [4, 5]);
}

/// The same through a handle; a prefetch for consumers lifts it.
pub async fn channel_prefetch(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    channel.set_channel_prefetch(3).await.unwrap();
    let mut one = channel.consume(queue.name()).await.unwrap();
    let _other = channel.consume(queue.name()).await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2", "3", "4", "5", "6"]).await;
    assert_eq!(ready(&channel, queue.name()).await, 3);
    one.next().await.unwrap().ack().unwrap();
    eventually("one more comes", async || ready(&channel, queue.name()).await == 2).await;
    channel.set_prefetch(1).await.unwrap();
    eventually("all come", async || ready(&channel, queue.name()).await == 0).await;
}

/// A consumer gets what its own connection published, whatever it asked for.
pub async fn trap_32_no_local_is_ignored(server: &Server) {
    let mut raw = server.raw_channel().await;
    let queue = raw.declare_queue(1).await;
    let consume = basic::Consume { queue: queue.clone(), no_local: true, ..basic::Consume::default() };
    assert!(matches!(raw.call(1, consume).await, Method::BasicConsumeOk(_)));
    raw.publish(1, basic::Publish { routing_key: queue, ..basic::Publish::default() }, b"x").await;
    assert_eq!(next_tag(&mut raw).await, 1);
}
