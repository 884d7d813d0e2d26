//! `basic.get`.

use hopmq_proto::amqp::{Method, basic};

use super::{Server, closes_channel, publish_each, ready};

pub async fn empty(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    assert!(channel.get(queue.name()).await.unwrap().is_none());
}

pub async fn missing_queue(server: &Server) {
    let channel = server.channel().await;
    let queue = server.name("missing");
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    closes_channel(&channel, channel.get(&queue), 404, &text).await;
}

pub async fn counts(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["0", "1", "2"]).await;
    for n in 0..3_u32 {
        let got = channel.get(queue.name()).await.unwrap().unwrap();
        assert_eq!((got.message_count(), got.redelivered()), (2 - n, false));
        assert_eq!(got.body(), n.to_string().as_bytes());
        assert_eq!(got.tag(), Some(u64::from(n) + 1));
    }
}

pub async fn redelivered(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["again"]).await;
    channel.get(queue.name()).await.unwrap().unwrap().nack(true).unwrap();
    let again = channel.get(queue.name()).await.unwrap().unwrap();
    assert!(again.redelivered());
}

pub async fn no_ack(server: &Server) {
    let mut raw = server.raw_channel().await;
    let queue = raw.declare_queue(1).await;
    let publish = basic::Publish { routing_key: queue.clone(), ..basic::Publish::default() };
    raw.publish(1, publish, b"gone").await;
    let get = basic::Get { queue, no_ack: true };
    let Method::BasicGetOk(got) = raw.call(1, get.clone()).await else { panic!("no message") };
    assert_eq!((got.delivery_tag, got.message_count), (1, 0));
    assert_eq!(raw.body().await, "gone");
    assert_eq!(raw.call(1, get).await, basic::GetEmpty {}.into());
    raw.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    raw.expect_channel_close(1, 406, "PRECONDITION_FAILED - unknown delivery tag 1").await;
}

pub async fn shares_tags_with_consumers(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2", "3"]).await;
    let first = channel.get(queue.name()).await.unwrap().unwrap();
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    let second = consumer.next().await.unwrap();
    let third = consumer.next().await.unwrap();
    assert_eq!([first.tag(), second.tag(), third.tag()], [Some(1), Some(2), Some(3)]);
    third.ack_all().unwrap();
    consumer.cancel().await.unwrap();
    channel.recover().await.unwrap();
    assert_eq!(ready(&channel, queue.name()).await, 0, "the get was acked with the others");
}

pub async fn of_a_handle_without_ack(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2"]).await;
    let got = channel.get_no_ack(queue.name()).await.unwrap().unwrap();
    assert_eq!((got.body(), got.message_count(), got.tag()), (&b"1"[..], 1, None));
    got.ack().unwrap(); // does nothing
    channel.recover().await.unwrap();
    assert_eq!(ready(&channel, queue.name()).await, 1);
}
