//! Channels: many, their numbers, their ends.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use futures_util::future::join_all;
use hopmq::{CloseReason, CommandError, Config, Error};

use super::{Server, closes_channel, drain, eventually, publish_each, ready};

pub async fn many_at_once(server: &Server) {
    let connection = server.connect().await;
    let mut channels = Vec::new();
    for _ in 0..200 {
        channels.push(connection.open_channel().await.unwrap());
    }
    let numbers: BTreeSet<_> = channels.iter().map(hopmq::Channel::number).collect();
    assert_eq!(numbers.len(), 200);
    let queue = channels[0].declare_queue("").exclusive().await.unwrap();
    for (n, channel) in channels.iter().enumerate() {
        publish_each(channel, queue.name(), [n.to_string()]).await;
    }
    assert_eq!(ready(&channels[199], queue.name()).await, 200);
}

pub async fn numbers_are_used_again(server: &Server) {
    let config = Config { channel_max: NonZeroU16::new(2).unwrap(), ..server.config() };
    let connection = server.try_connect(config).await.unwrap();
    for round in 0..20 {
        let channel = connection.open_channel().await.unwrap();
        let queue = channel.declare_queue("").exclusive().await.unwrap();
        publish_each(&channel, queue.name(), [round.to_string()]).await;
        assert_eq!(drain(&channel, queue.name()).await, [round.to_string()]);
        if round % 2 == 0 {
            channel.close().await.unwrap();
        } else {
            let text = "NOT_FOUND - no queue 'no such queue' in vhost '/'";
            closes_channel(&channel, channel.get("no such queue"), 404, text).await;
        }
    }
}

pub async fn too_many(server: &Server) {
    let config = Config { channel_max: NonZeroU16::new(3).unwrap(), ..server.config() };
    let connection = server.try_connect(config).await.unwrap();
    let mut channels = Vec::new();
    for _ in 0..3 {
        channels.push(connection.open_channel().await.unwrap());
    }
    let refused = connection.open_channel().await.unwrap_err();
    assert_eq!(refused, Error::Refused(CommandError::TooManyChannels(3)));
    channels.pop().unwrap().close().await.unwrap();
    connection.open_channel().await.expect("one is free again");
    drop(channels);
    eventually("the dropped ones are free", async || connection.open_channel().await.is_ok()).await;
}

pub async fn an_error_ends_one_channel_only(server: &Server) {
    let connection = server.connect().await;
    let (good, bad) = (connection.open_channel().await.unwrap(), connection.open_channel().await.unwrap());
    let queue = good.declare_queue("").exclusive().await.unwrap();
    let mut consumer = good.consume(queue.name()).await.unwrap();
    let text = "NOT_FOUND - no queue 'no such queue' in vhost '/'";
    closes_channel(&bad, bad.get("no such queue"), 404, text).await;
    publish_each(&good, queue.name(), ["still here"]).await;
    assert_eq!(consumer.next().await.unwrap().body(), b"still here");
}

pub async fn a_closed_channel_says_why(server: &Server) {
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    assert!(channel.is_open() && channel.close_reason().is_none());
    channel.close().await.unwrap();
    let late = channel.get("whatever").await.unwrap_err();
    assert_eq!(late.close_reason(), Some(&CloseReason::Requested));
    let again = channel.close().await.unwrap_err();
    assert_eq!(again.close_reason(), Some(&CloseReason::Requested));

    let other = connection.open_channel().await.unwrap();
    assert_eq!(other.number(), channel.number());
    let text = "NOT_FOUND - no queue 'no such queue' in vhost '/'";
    closes_channel(&other, other.get("no such queue"), 404, text).await;
    let third = connection.open_channel().await.unwrap();
    assert_eq!(third.number(), channel.number());
    let said = other.close_reason().unwrap().to_string();
    assert_eq!(
        said,
        format!("closed by the server: 404 {text}"),
        "its number is another's, and it says why all the same"
    );
    assert!(third.is_open() && !other.is_open() && !channel.is_open());
    assert_eq!(channel.close_reason(), None, "that was two channels ago");
}

pub async fn used_from_many_tasks(server: &Server) {
    let connection = server.connect().await;
    let mut tasks = Vec::new();
    for task in 0..20 {
        let connection = connection.clone();
        tasks.push(server.spawn(async move {
            let channel = connection.open_channel().await.unwrap();
            let queue = channel.declare_queue("").exclusive().await.unwrap();
            let bodies: Vec<_> = (0..20).map(|n| format!("{task} {n}")).collect();
            publish_each(&channel, queue.name(), &bodies).await;
            assert_eq!(drain(&channel, queue.name()).await, bodies);
            channel.close().await.unwrap();
        }));
    }
    join_all(tasks).await;
}
