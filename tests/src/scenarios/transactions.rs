//! Transactions: all of it takes effect at the commit, or none.

use hopmq::{Channel, Properties};

use super::cancel_safety::{Operation, rounds};
use super::{Server, closes_channel, drain, drop_after, ready};

async fn publish_all(transaction: &hopmq::Transaction, queue: &str, bodies: &[&'static str]) {
    for body in bodies {
        transaction.publish("", queue, &Properties::new(), *body).await.unwrap();
    }
}

/// How many messages others see in a queue, once the broker has seen everything that was sent on `channel`.
async fn seen(channel: &Channel, queue: &str) -> u32 {
    ready(channel, queue).await
}

pub async fn commit(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let transaction = channel.transaction().await.unwrap();
    for round in 1..=3 {
        publish_all(&transaction, queue.name(), &["1", "2"]).await;
        assert_eq!(seen(&channel, queue.name()).await, 2 * (round - 1), "not before the commit");
        transaction.commit().await.unwrap();
        assert_eq!(seen(&channel, queue.name()).await, 2 * round);
    }
}

pub async fn rollback(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let transaction = channel.transaction().await.unwrap();
    publish_all(&transaction, queue.name(), &["never"]).await;
    transaction.rollback().await.unwrap();
    publish_all(&transaction, queue.name(), &["later"]).await;
    transaction.commit().await.unwrap();
    assert_eq!(drain(&channel, queue.name()).await, ["later"]);
}

pub async fn acknowledgements_are_part_of_it(server: &Server) {
    let connection = server.connect().await;
    let (channel, watcher) =
        (connection.open_channel().await.unwrap(), connection.open_channel().await.unwrap());
    let queue = watcher.declare_queue("").exclusive().await.unwrap();
    super::publish_each(&watcher, queue.name(), ["kept", "done"]).await;
    let transaction = channel.transaction().await.unwrap();
    let kept = channel.get(queue.name()).await.unwrap().unwrap();
    kept.ack().unwrap();
    transaction.rollback().await.unwrap();
    let done = channel.get(queue.name()).await.unwrap().unwrap();
    done.ack().unwrap();
    transaction.commit().await.unwrap();
    // Asked for on the same channel: a channel's end gives back what it holds at some time after its close-ok.
    channel.recover().await.unwrap();
    let left = drain(&channel, queue.name()).await;
    assert_eq!(left, ["!kept"], "what was rolled back was not acknowledged");
}

/// What is behind a commit is held back until it is answered (trap 37), and comes in its order.
pub async fn trap_37_pipelined(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let transaction = channel.transaction().await.unwrap();
    let mut calls = Vec::new();
    for round in ["1", "2", "3", "4"] {
        publish_all(&transaction, queue.name(), &[round]).await;
        calls.push(transaction.commit());
        calls.push(channel.set_prefetch(1));
        calls.push(transaction.rollback());
        calls.push(transaction.commit());
    }
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(drain(&channel, queue.name()).await, ["1", "2", "3", "4"]);
}

/// Transactions and confirms exclude each other (trap 28).
pub async fn trap_28_not_with_confirms(server: &Server) {
    let text = "PRECONDITION_FAILED - cannot switch from confirm to tx mode";
    let channel = server.channel().await;
    channel.publisher().await.unwrap();
    closes_channel(&channel, channel.transaction(), 406, text).await;
    let text = "PRECONDITION_FAILED - cannot switch from tx to confirm mode";
    let channel = server.channel().await;
    let _transaction = channel.transaction().await.unwrap();
    closes_channel(&channel, channel.publisher(), 406, text).await;
}

pub async fn dropping_rolls_back(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let transaction = channel.transaction().await.unwrap();
    publish_all(&transaction, queue.name(), &["never"]).await;
    drop(transaction);
    let transaction = channel.transaction().await.unwrap();
    publish_all(&transaction, queue.name(), &["once"]).await;
    drop_after(transaction.commit(), 1).await; // sent is sent
    transaction.rollback().await.unwrap();
    assert_eq!(seen(&channel, queue.name()).await, 1);
    drop(transaction);
    let dropped = channel.transaction();
    drop(dropped);
    assert_eq!(seen(&channel, queue.name()).await, 1);
}

/// A transaction that is dropped on the way leaves the connection in order, and nothing behind.
pub async fn at_every_poll(server: &Server) {
    const TRANSACTION: Operation = |stage| {
        Box::pin(async {
            let channel = stage.connection.open_channel().await.unwrap();
            let transaction = channel.transaction().await.unwrap();
            publish_all(&transaction, &stage.names.sink, &["1", "2"]).await;
            transaction.commit().await.unwrap();
            publish_all(&transaction, &stage.names.sink, &["3"]).await;
            transaction.rollback().await.unwrap();
        })
    };
    rounds(server, &[("transaction", TRANSACTION)], 1, |_| ()).await;
}
