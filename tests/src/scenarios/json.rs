//! Payloads in JSON, with a content type that is set and checked.

use std::collections::BTreeMap;

use hopmq_tokio::{PayloadError, Properties, json_properties};

use super::Server;

type Order = BTreeMap<String, Vec<Option<u32>>>;

pub async fn round_trip(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().mandatory().await.unwrap();
    let order = Order::from([("ids".into(), vec![Some(7), None]), ("none".into(), vec![])]);
    publisher.publish_json(queue.name(), &order).unwrap().await.unwrap();
    let got = channel.get(queue.name()).await.unwrap().unwrap();
    assert_eq!(got.properties().unwrap(), json_properties());
    assert_eq!(got.json::<Order>().unwrap(), order);
    assert!(matches!(got.json::<Vec<u8>>(), Err(PayloadError::Decode(_))));
    got.into_delivery().ack().unwrap();
    let keys = BTreeMap::from([(vec![1], 2)]);
    assert!(matches!(publisher.publish_json(queue.name(), &keys), Err(PayloadError::Encode(_))));
}

pub async fn content_type_is_checked(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let typed = |content_type: &str| Properties::new().with_content_type(content_type).unwrap();
    for (properties, is_json) in [
        (Properties::new(), true),
        (typed("application/vnd.order+json"), true),
        (typed("application/json; charset=utf-8"), true),
        (typed("text/plain"), false),
    ] {
        publisher.publish(queue.name(), "[1,2]").properties(&properties).await.unwrap();
        let delivery = channel.get(queue.name()).await.unwrap().unwrap().into_delivery();
        match delivery.json::<(u8, u8)>() {
            Ok(value) => assert_eq!((value, is_json), ((1, 2), true)),
            Err(PayloadError::ContentType(other)) => assert_eq!((&*other, is_json), ("text/plain", false)),
            Err(error) => panic!("{error}"),
        }
        delivery.ack().unwrap();
    }
}
