//! Mandatory messages that no queue takes.

use hopmq_tokio::{FieldTable, Properties, PublishError, ReplyCode};

use super::{Fate, Server, fate, ready};

pub async fn carry_the_message(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().exchange("amq.topic").mandatory().await.unwrap();
    let (key, body) = (server.name("nowhere"), vec![7; 300_000]);
    let properties = Properties::new()
        .with_message_id("m1")
        .unwrap()
        .with_priority(3)
        .with_headers(FieldTable::new().with("tried", true));
    let Err(PublishError::Returned(returned)) =
        publisher.publish(&key, body.clone()).properties(&properties).await
    else {
        panic!("it was not returned");
    };
    assert_eq!((returned.code, returned.text.as_bytes()), (ReplyCode::NO_ROUTE, &b"NO_ROUTE"[..]));
    let message = &returned.message;
    assert_eq!((&*message.exchange(), &*message.routing_key()), ("amq.topic", &*key));
    assert_eq!(message.properties().unwrap(), properties);
    assert!(message.body() == body, "the body came back changed");
}

/// Each confirm must get the fate of its own publish.
pub async fn mixed_with_routable(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let nowhere = server.name("nowhere");
    let mut confirms = Vec::new();
    for n in 0..600_u32 {
        let key = if n % 3 == 0 { &nowhere } else { queue.name() };
        let publish = publisher.publish(key, n.to_string());
        let publish = if n % 2 == 0 { publish.mandatory() } else { publish };
        confirms.push(publish.send().await.unwrap());
    }
    for (n, confirm) in confirms.into_iter().enumerate() {
        match fate(confirm.await) {
            Fate::Returned(returned) if n % 6 == 0 => {
                assert_eq!(returned.message.body(), n.to_string().as_bytes());
            }
            Fate::Confirmed if n % 6 != 0 => {}
            other => panic!("message {n}: {other:?}"),
        }
    }
    assert_eq!(ready(&channel, queue.name()).await, 400);
}

pub async fn identical_messages(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().mandatory().await.unwrap();
    let nowhere = server.name("nowhere");
    let mut confirms = Vec::new();
    for _ in 0..200 {
        confirms.push(publisher.publish(&nowhere, "same").send().await.unwrap());
    }
    for confirm in confirms {
        assert!(matches!(fate(confirm.await), Fate::Returned(_)));
    }
}
