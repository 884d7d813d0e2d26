//! Changes that ask for no answer.

use hopmq::{ExchangeKind, FieldTable};

use super::{Server, closes_channel, publish_each, ready, routed};

const NO_ARGUMENTS: FieldTable = FieldTable::new();

pub async fn of_queues(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let (queue, key) = (server.name("queue"), server.name("key"));
    channel.declare_queue(&queue).exclusive().no_wait().unwrap();
    channel.no_wait().bind_queue(&queue, "amq.topic", &key, NO_ARGUMENTS).unwrap();
    assert!(routed(&publisher, "amq.topic", &key, &Default::default()).await);
    channel.no_wait().purge_queue(&queue).unwrap();
    assert_eq!(ready(&channel, &queue).await, 0);
    channel.no_wait().delete_queue(&queue).unwrap();
    assert!(!routed(&publisher, "", &queue, &Default::default()).await);

    channel.declare_queue(&queue).exclusive().no_wait().unwrap();
    channel.no_wait().delete_queue_if_unused(&queue).unwrap();
    assert!(!routed(&publisher, "", &queue, &Default::default()).await);

    channel.declare_queue(&queue).exclusive().no_wait().unwrap();
    channel.no_wait().delete_queue_if_empty(&queue).unwrap();
    assert!(!routed(&publisher, "", &queue, &Default::default()).await);
}

pub async fn of_exchanges(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let (outer, inner) = (server.name("outer"), server.name("inner"));
    let routed = async || routed(&publisher, &outer, "key", &Default::default()).await;
    for exchange in [&outer, &inner] {
        channel.declare_exchange(exchange, &ExchangeKind::Topic).durable().no_wait().unwrap();
    }
    channel.no_wait().bind_queue("", &inner, "#", NO_ARGUMENTS).unwrap();
    channel.no_wait().bind_exchange(&inner, &outer, "key", NO_ARGUMENTS).unwrap();
    assert!(routed().await);
    channel.no_wait().unbind_exchange(&inner, &outer, "key", NO_ARGUMENTS).unwrap();
    assert!(!routed().await);
    channel.no_wait().delete_exchange_if_unused(&outer).unwrap();
    channel.no_wait().delete_exchange(&inner).unwrap();
    assert_eq!(ready(&channel, queue.name()).await, 1, "the channel lives on");
    let text = format!("NOT_FOUND - no exchange '{inner}' in vhost '/'");
    closes_channel(&channel, channel.declare_exchange(&inner, &ExchangeKind::Topic).passive(), 404, &text)
        .await;
}

/// What was refused is told to the next call.
pub async fn refused(server: &Server) {
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = server.name("queue");
    channel.declare_queue(&queue).exclusive().no_wait().unwrap();
    publish_each(&channel, &queue, ["1"]).await;
    channel.no_wait().delete_queue_if_empty(&queue).unwrap();
    let text = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty");
    closes_channel(&channel, channel.declare_queue("").exclusive(), 406, &text).await;
    assert!(channel.no_wait().purge_queue(&queue).is_err());
    assert_eq!(ready(&connection.open_channel().await.unwrap(), &queue).await, 1);
}
