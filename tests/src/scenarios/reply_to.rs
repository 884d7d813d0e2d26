//! Direct reply-to (trap 38), by hand: what a broker makes of it.

use hopmq::{Channel, Properties, PublishError, ReplyCode};

use super::{Server, closes_channel};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

fn asking() -> Properties {
    Properties::new().with_reply_to(REPLY_TO).unwrap().with_correlation_id("7").unwrap()
}

/// Where replies to `channel` go, as a server sees it.
async fn address(channel: &Channel) -> String {
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    channel.publish("", queue.name(), &asking(), "request").await.unwrap();
    let request = loop {
        if let Some(got) = channel.get(queue.name()).await.unwrap() {
            break got;
        }
    };
    let properties = request.properties().unwrap();
    assert_eq!(properties.correlation_id.unwrap(), "7", "the rest is left alone");
    properties.reply_to.unwrap().to_string()
}

pub async fn trap_38_round_trip(server: &Server) {
    let (client, worker) = (server.channel().await, server.channel().await);
    let mut replies = client.consume(REPLY_TO).no_ack().await.unwrap();
    let address = address(&client).await;
    assert!(address.starts_with("amq.rabbitmq.reply-to.") && address.len() > 40, "{address}");
    let properties = Properties::new().with_correlation_id("7").unwrap();
    let publisher = worker.publisher().await.unwrap();
    publisher.publish(&address, "reply").properties(&properties).await.unwrap();
    let reply = replies.next().await.unwrap();
    assert_eq!((reply.body(), reply.properties().unwrap()), (&b"reply"[..], properties));
    assert_eq!((&*reply.exchange(), &*reply.routing_key()), ("", &*address));

    replies.cancel().await.unwrap();
    publisher.publish(&address, "too late").await.unwrap(); // confirmed, and dropped
    let text = "PRECONDITION_FAILED - fast reply consumer does not exist";
    client.publish("", "anywhere", &asking(), "").await.unwrap();
    closes_channel(&client, client.set_prefetch(1), 406, text).await;
}

pub async fn trap_38_addresses_differ(server: &Server) {
    let connection = server.connect().await;
    let (one, two) = (connection.open_channel().await.unwrap(), connection.open_channel().await.unwrap());
    let _first = one.consume(REPLY_TO).no_ack().await.unwrap();
    let _second = two.consume(REPLY_TO).no_ack().await.unwrap();
    assert_ne!(address(&one).await, address(&two).await);
}

pub async fn trap_38_needs_no_ack(server: &Server) {
    let channel = server.channel().await;
    let text = "PRECONDITION_FAILED - reply consumer cannot acknowledge";
    closes_channel(&channel, channel.consume(REPLY_TO), 406, text).await;
}

/// What it could not be is not looked at.
pub async fn trap_38_arguments_mean_nothing(server: &Server) {
    let channel = server.channel().await;
    let consume = channel.consume(REPLY_TO).no_ack().argument("x-priority", "urgent");
    let _replies = consume.await.unwrap();
    assert!(address(&channel).await.starts_with(REPLY_TO));
}

pub async fn trap_38_one_of_a_channel(server: &Server) {
    let channel = server.channel().await;
    let first = channel.consume(REPLY_TO).no_ack().await.unwrap();
    drop(first);
    let _again = channel.consume(REPLY_TO).no_ack().await.unwrap();
    let text = "PRECONDITION_FAILED - reply consumer already set";
    closes_channel(&channel, channel.consume(REPLY_TO).no_ack(), 406, text).await;
}

pub async fn trap_38_publish_needs_the_consumer(server: &Server) {
    let channel = server.channel().await;
    channel.publish("", "anywhere", &asking(), "").await.unwrap();
    let text = "PRECONDITION_FAILED - fast reply consumer does not exist";
    closes_channel(&channel, channel.set_prefetch(1), 406, text).await;
}

/// A worker may look whether somebody still waits.
pub async fn trap_38_passive_declare(server: &Server) {
    let (client, worker) = (server.channel().await, server.channel().await);
    let replies = client.consume(REPLY_TO).no_ack().await.unwrap();
    let address = address(&client).await;
    for name in [REPLY_TO, &address] {
        let queue = worker.declare_queue(name).passive().await.unwrap();
        assert_eq!((queue.name(), queue.message_count(), queue.consumer_count()), (name, 0, 1));
    }
    replies.cancel().await.unwrap();
    client.close().await.unwrap();
    let gone = worker.declare_queue(&address).passive().await.unwrap_err();
    assert!(gone.to_string().contains("NOT_FOUND"), "{gone}");
}

/// To a broker an address is no queue: a mandatory reply comes back although it is delivered.
pub async fn trap_38_a_mandatory_reply_comes_back(server: &Server) {
    let client = server.channel().await;
    let mut replies = client.consume(REPLY_TO).no_ack().await.unwrap();
    let address = address(&client).await;
    let worker = server.channel().await;
    let publisher = worker.publisher().mandatory().await.unwrap();
    match publisher.publish(&address, "reply").await {
        Err(PublishError::Returned(returned)) => assert_eq!(returned.code, ReplyCode::NO_ROUTE),
        other => panic!("{other:?}"),
    }
    assert_eq!(replies.next().await.unwrap().body(), b"reply");
}
