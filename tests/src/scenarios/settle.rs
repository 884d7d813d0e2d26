//! ack, nack, reject, recover, and what comes back.

use hopmq::{Channel, Consumer, Delivery, SettleError};
use hopmq_proto::amqp::{Method, basic};

use super::{Server, drain, eventually, publish_each, ready};

/// A queue with the messages 1 to `count`, and a consumer that has them all.
async fn delivered(server: &Server, count: u32) -> (Channel, String, Consumer, Vec<Delivery>) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap().name().to_owned();
    publish_each(&channel, &queue, (1..=count).map(|n| n.to_string())).await;
    let mut consumer = channel.consume(&queue).await.unwrap();
    let mut deliveries = Vec::new();
    for _ in 0..count {
        deliveries.push(consumer.next().await.unwrap());
    }
    (channel, queue, consumer, deliveries)
}

pub async fn ack(server: &Server) {
    let (channel, queue, consumer, deliveries) = delivered(server, 4).await;
    consumer.cancel().await.unwrap();
    for delivery in deliveries.into_iter().rev().step_by(2) {
        delivery.ack().unwrap(); // 4 and 2, out of order
    }
    channel.recover().await.unwrap();
    assert_eq!(drain(&channel, &queue).await, ["!1", "!3"]);
}

pub async fn ack_all(server: &Server) {
    let (channel, queue, consumer, mut deliveries) = delivered(server, 5).await;
    consumer.cancel().await.unwrap();
    deliveries.remove(3).ack_all().unwrap();
    assert!(deliveries.remove(0).ack().is_err(), "the client knows that it is settled");
    channel.recover().await.unwrap();
    assert_eq!(drain(&channel, &queue).await, ["!5"]);
}

pub async fn nack_all(server: &Server) {
    let (channel, queue, consumer, mut deliveries) = delivered(server, 5).await;
    consumer.cancel().await.unwrap();
    deliveries.remove(1).nack_all(true).unwrap(); // 1 and 2 go back
    deliveries.remove(2).nack_all(false).unwrap(); // 3 and 4 are dropped
    deliveries.pop().unwrap().ack().unwrap();
    assert_eq!(drain(&channel, &queue).await, ["!1", "!2"]);
}

pub async fn reject(server: &Server) {
    let (channel, queue, consumer, mut deliveries) = delivered(server, 3).await;
    consumer.cancel().await.unwrap();
    deliveries.pop().unwrap().reject(true).unwrap();
    deliveries.pop().unwrap().reject(false).unwrap();
    deliveries.pop().unwrap().nack(false).unwrap();
    assert_eq!(drain(&channel, &queue).await, ["!3"]);
}

/// What goes back goes to where it was, before what was never delivered.
pub async fn requeue_in_position(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2", "3", "4", "5"]).await;
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(channel.get(queue.name()).await.unwrap().unwrap().into_delivery());
    }
    let (three, one) = (taken.remove(2), taken.remove(0));
    three.nack(true).unwrap();
    one.nack(true).unwrap();
    assert_eq!(drain(&channel, queue.name()).await, ["!1", "!3", "5"]);
    for delivery in taken {
        delivery.nack(true).unwrap();
    }
    assert_eq!(drain(&channel, queue.name()).await, ["!2", "!4"]);
}

pub async fn recover(server: &Server) {
    let (channel, _, mut consumer, deliveries) = delivered(server, 3).await;
    channel.recover().await.unwrap();
    for n in 1..=3 {
        let again = consumer.next().await.unwrap();
        assert_eq!((again.redelivered(), again.body()), (true, n.to_string().as_bytes()));
        assert_eq!(again.tag(), Some(n + 3), "a new delivery has a new tag");
        again.ack().unwrap();
    }
    for old in deliveries {
        assert_eq!(old.ack(), Err(SettleError::AlreadySettled)); // 406, if it were sent (trap 29)
    }
    channel.recover().await.expect("the channel lives on");
}

/// What is delivered again has been sent after the answer, so that the answer tells old deliveries from new.
pub async fn recover_ok_comes_before_what_is_delivered_again(server: &Server) {
    let mut raw = server.raw_channel().await;
    let queue = raw.declare_queue(1).await;
    let publish = basic::Publish { routing_key: queue.clone(), ..basic::Publish::default() };
    raw.publish(1, publish, b"again").await;
    let consume = basic::Consume { queue, ..basic::Consume::default() };
    assert!(matches!(raw.call(1, consume).await, Method::BasicConsumeOk(_)));
    for redelivered in [false, true, true] {
        let (_, method) = raw.method().await;
        let Method::BasicDeliver(deliver) = method else { panic!("{method:?}") };
        assert_eq!(deliver.redelivered, redelivered);
        raw.body().await;
        assert_eq!(raw.call(1, basic::Recover { requeue: true }).await, basic::RecoverOk {}.into());
    }
}

pub async fn cancel_keeps_unacked(server: &Server) {
    let (channel, queue, consumer, deliveries) = delivered(server, 3).await;
    consumer.cancel().await.unwrap();
    assert_eq!(ready(&channel, &queue).await, 0, "they still belong to the channel");
    for delivery in deliveries {
        delivery.ack().unwrap();
    }
    channel.recover().await.unwrap();
    assert_eq!(ready(&channel, &queue).await, 0);
}

pub async fn channel_close_requeues_in_order(server: &Server) {
    let connection = server.connect().await;
    let watcher = connection.open_channel().await.unwrap();
    let queue = watcher.declare_queue("").exclusive().await.unwrap();
    publish_each(&watcher, queue.name(), ["1", "2", "3", "4"]).await;
    let channel = connection.open_channel().await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(channel.get(queue.name()).await.unwrap().unwrap().into_delivery());
    }
    taken.remove(1).ack().unwrap();
    channel.close().await.unwrap();
    // RabbitMQ answers before the queue has them again.
    eventually("the messages are back", async || ready(&watcher, queue.name()).await == 3).await;
    assert_eq!(drain(&watcher, queue.name()).await, ["!1", "!3", "4"]);
    assert!(taken.remove(0).ack().is_err(), "its channel has ended");
}

pub async fn connection_loss_requeues(server: &Server) {
    let watcher = server.channel().await;
    let queue = server.name("queue");
    watcher.declare_queue(&queue).durable().await.unwrap();
    publish_each(&watcher, &queue, ["1", "2", "3"]).await;
    let mut raw = server.raw_channel().await;
    let consume = basic::Consume { queue: hopmq::ShortStr::try_from(&queue).unwrap(), ..Default::default() };
    raw.call(1, consume).await;
    for _ in 0..3 {
        raw.method().await;
        raw.body().await;
    }
    drop(raw); // without a word
    eventually("the messages are back", async || ready(&watcher, &queue).await == 3).await;
    assert_eq!(drain(&watcher, &queue).await, ["!1", "!2", "!3"]);
    watcher.delete_queue(&queue).await.unwrap();
}
