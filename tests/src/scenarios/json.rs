//! Payloads in JSON, with a content type that is set and checked.

use std::collections::BTreeMap;

use hopmq::{ConsumerEnd, PayloadError, Properties, Received, Response, from_json, json_properties};

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

pub async fn of_calls(server: &Server) {
    let (queue, channel) = (server.name("sum"), server.channel().await);
    channel.declare_queue(&queue).durable().await.unwrap();
    let sum = async |request: Received| {
        assert_eq!(request.properties().unwrap().content_type.unwrap(), "application/json");
        Response::json(&request.json::<Vec<u64>>()?.iter().sum::<u64>())
    };
    let serving = server.spawn(channel.serve(&queue, sum));
    let client = server.channel().await.rpc_client().await.unwrap();
    let reply = client.call_json(&queue, &[19, 23]).unwrap().await.unwrap();
    assert_eq!(reply.properties().unwrap().content_type.unwrap(), "application/json");
    assert_eq!(from_json::<u64>(&reply).unwrap(), 42);
    let keys = BTreeMap::from([(vec![1], 2)]);
    assert!(matches!(client.call_json(&queue, &keys), Err(PayloadError::Encode(_))));
    assert!(matches!(Response::json(&keys), Err(PayloadError::Encode(_))));
    channel.delete_queue(&queue).await.unwrap();
    assert_eq!(serving.await, Ok(ConsumerEnd::Cancelled));
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
