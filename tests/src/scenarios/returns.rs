//! Mandatory messages that no queue takes.

use hopmq::{FieldTable, Properties, PublishError, ReplyCode};

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
    let said =
        format!(r#"the message to exchange "amq.topic" with routing key "{key}" came back: 312 NO_ROUTE"#);
    assert_eq!(PublishError::Returned(returned).to_string(), said);
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

/// `basic.return` carries no tag (trap 26): only where nothing tells two messages apart may it be either's, and says so.
pub async fn trap_26_ambiguous_only_where_identical(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().mandatory().await.unwrap();
    let nowhere = server.name("nowhere");
    let send = async |count: usize, ids: bool| {
        let mut confirms = Vec::new();
        for n in 0..count {
            let properties =
                Properties::new().with_message_id(if ids { n.to_string() } else { String::new() });
            let properties = properties.unwrap();
            let publish = publisher.publish(&nowhere, "same").properties(&properties);
            confirms.push(publish.send().await.unwrap());
        }
        let mut ambiguous = Vec::new();
        for confirm in confirms {
            let Fate::Returned(returned) = fate(confirm.await) else { panic!("it was taken") };
            ambiguous.push(returned.ambiguous);
        }
        ambiguous
    };
    assert_eq!(send(1, false).await, [false]);
    assert_eq!(send(100, true).await, [false; 100], "each has an id");
    let identical = send(100, false).await;
    assert!(!identical[99], "when the last one came back no other was left");
    let one_by_one = send(1, false).await;
    assert_eq!(one_by_one, [false]);
}
