//! Confirms: each publish gets one, whatever happens.

use std::collections::HashSet;

use futures_util::future::join_all;
use hopmq::{ConfirmFailures, Confirms, ConfirmsError, Properties, PublishError};

use super::{Fate, Server, drain, drop_after, eventually, fate, ready};

pub async fn of_thousands_all_resolve(server: &Server) {
    const COUNT: u32 = 5000;
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().mandatory().await.unwrap();
    let mut confirms = Confirms::new();
    for n in 0..COUNT {
        confirms.push(publisher.publish(queue.name(), n.to_string()).send().await.unwrap());
    }
    assert_eq!(confirms.len(), COUNT as usize);
    confirms.wait().await.unwrap();
    assert!(confirms.is_empty());
    assert_eq!(ready(&channel, queue.name()).await, COUNT);
}

/// One publisher, many tasks: every message arrives once, and each task's in its order.
pub async fn of_many_tasks(server: &Server) {
    const TASKS: u32 = 20;
    const EACH: u32 = 50;
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().mandatory().await.unwrap();
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let (publisher, queue) = (publisher.clone(), queue.name().to_owned());
        tasks.push(server.spawn(async move {
            for n in 0..EACH {
                publisher.publish(&queue, format!("{task} {n}")).await.unwrap();
            }
        }));
    }
    join_all(tasks).await;
    let mut expected = vec![0; TASKS as usize];
    for body in drain(&channel, queue.name()).await {
        let (task, n) = body.split_once(' ').unwrap();
        let next = &mut expected[task.parse::<usize>().unwrap()];
        assert_eq!(n.parse::<u32>().unwrap(), *next);
        *next += 1;
    }
    assert!(expected.iter().all(|count| *count == EACH), "{expected:?}");
}

pub async fn select_twice_is_fine(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let one = channel.publisher().await.unwrap();
    let before = one.publish(queue.name(), "1").send().await.unwrap();
    let two = channel.publisher().await.unwrap();
    two.publish(queue.name(), "2").await.unwrap();
    before.await.unwrap();
    assert_eq!(drain(&channel, queue.name()).await, ["1", "2"]);
}

pub async fn dropped_ones_disturb_nobody(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let mut kept = Vec::new();
    for n in 0..300 {
        let confirm = publisher.publish(queue.name(), n.to_string()).send().await.unwrap();
        if n % 3 == 0 {
            kept.push(confirm);
        }
    }
    for confirm in kept {
        confirm.await.unwrap();
    }
    let unpolled = drop_after(publisher.publish(queue.name(), "never"), 0).await;
    assert!(!unpolled);
    publisher.publish(queue.name(), "last").await.unwrap();
    let bodies = drain(&channel, queue.name()).await;
    assert_eq!(bodies.len(), 301, "what was sent stays sent, what was never polled was never sent");
    assert_eq!(bodies.iter().collect::<HashSet<_>>().len(), 301);
}

/// When the channel dies, every publish on it is either confirmed or tells why it is not.
pub async fn end_with_their_channel(server: &Server) {
    let connection = server.connect().await;
    let (channel, watcher) =
        (connection.open_channel().await.unwrap(), connection.open_channel().await.unwrap());
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let missing = server.name("missing");
    let mut confirms = Vec::new();
    for n in 0..200 {
        let publish = publisher.publish(queue.name(), n.to_string());
        let publish = if n == 100 { publish.exchange(&missing) } else { publish };
        match publish.send().await {
            Ok(confirm) => confirms.push(confirm),
            Err(error) => assert_eq!(fate(Err(error)), Fate::Closed(404)), // the close came while we were sending
        }
    }
    let mut confirmed = 0;
    for (n, confirm) in confirms.into_iter().enumerate() {
        match fate(confirm.await) {
            Fate::Confirmed if n < 100 => confirmed += 1,
            Fate::Closed(404) => {}
            other => panic!("message {n}: {other:?}"),
        }
    }
    let bodies = drain(&watcher, queue.name()).await;
    assert!(bodies.len() >= confirmed, "{confirmed} were confirmed, {} are there", bodies.len());
    assert_eq!(
        bodies,
        (0..100).map(|n| n.to_string()).collect::<Vec<_>>(),
        "all before the error, none after"
    );
}

pub async fn without_confirms_nothing_is_lost(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    for n in 0..1000 {
        channel.publish("", queue.name(), &Properties::new(), n.to_string()).await.unwrap();
    }
    eventually("all have come", async || ready(&channel, queue.name()).await == 1000).await;
    channel.close().await.unwrap();
    let late = channel.publish("", queue.name(), &Properties::new(), "late").await;
    let Err(PublishError::NotSent { body, .. }) = late else { panic!("{late:?}") };
    assert_eq!(body, "late", "the body comes back");
}

/// All, and not the last: what the broker has when the wait is over is everything.
pub async fn wait_for_all(server: &Server) {
    const COUNT: u32 = 3000;
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    publisher.wait_for_confirms().await.unwrap(); // there is nothing to wait for
    for round in 1..=3 {
        for n in 0..COUNT {
            drop(publisher.publish(queue.name(), n.to_string()).send().await.unwrap());
        }
        publisher.wait_for_confirms().await.unwrap();
        assert_eq!(ready(&channel, queue.name()).await, COUNT * round);
    }
}

pub async fn wait_for_all_counts_what_came_back(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().mandatory().await.unwrap();
    let nowhere = server.name("nowhere");
    for n in 0..300 {
        let key = if n % 3 == 0 { &nowhere } else { queue.name() };
        drop(publisher.publish(key, n.to_string()).send().await.unwrap());
    }
    let counted = ConfirmFailures { nacked: 0, returned: 100, lost: 0 };
    assert_eq!(publisher.wait_for_confirms().await, Err(ConfirmsError::Failed(counted)));
    publisher.publish(queue.name(), "and again").await.unwrap();
    publisher.wait_for_confirms().await.unwrap();
}

pub async fn wait_for_all_ends_with_the_channel(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    drop(publisher.publish("q", "x").exchange(&server.name("missing")).send().await.unwrap());
    match publisher.wait_for_confirms().await {
        Err(ConfirmsError::Ended(error)) => assert!(error.close_reason().is_some(), "{error:?}"),
        other => panic!("{other:?}"),
    }
}

/// One publisher allows itself less than the connection does, on many tasks.
pub async fn at_most_so_many_of_a_publisher(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().max_unconfirmed(3).await.unwrap();
    let mut confirms = Confirms::new();
    let refused = loop {
        match publisher.publish(queue.name(), "at once").try_send() {
            Ok(confirm) => confirms.push(confirm),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, PublishError::Full { body: "at once".into() });
    assert!(confirms.len() >= 3, "{} were let through", confirms.len());
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (publisher, queue) = (publisher.clone(), queue.name().to_owned());
        tasks.push(server.spawn(async move {
            for n in 0..50 {
                publisher.publish(&queue, n.to_string()).await.unwrap();
            }
        }));
    }
    join_all(tasks).await;
    let sent = confirms.len() + 400;
    confirms.wait().await.unwrap();
    assert_eq!(ready(&channel, queue.name()).await as usize, sent);
}
