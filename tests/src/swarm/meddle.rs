//! What else is done on a connection: whatever a program may do, at a bad moment.

use std::sync::Arc;
use std::time::Duration;

use hopmq_sim::{Channel, Connection, Error, FieldTable, Properties, Random};

use super::client::Client;
use super::phase::{Phase, race};
use crate::chaos::checker::Finding;

/// Does this and that while there is trouble, then proves that the connection works.
pub(super) async fn meddle(client: Arc<Client>) {
    let mut random = client.random();
    let (meddles, closes) = (client.plan().meddles, client.plan().closes);
    while client.phase() == Phase::Trouble && (meddles || closes) {
        client.dawdle(&mut random, if closes { 8_000 } else { 1_500 }, Phase::Settling).await;
        let Some(connection) = client.connection().await else { return };
        if client.phase() > Phase::Trouble {
            break;
        }
        if closes && random.percent(40) {
            close(&client, connection, &mut random).await;
        } else if meddles {
            // Whatever comes of it: the deadlines are what is looked at.
            act(&client, &connection, &mut random).await.ok();
        }
    }
    client.shared.phases.reached(Phase::Settling).await;
    come_back(&client).await;
    client.shared.phases.reached(Phase::Closing).await;
    if let Some(connection) = client.current() {
        let limit = client.config().close_timeout;
        let closed = client.ledger().within(limit, "close", connection.close()).await;
        if let Err(error) = closed
            && connection.close_reason().is_none()
        {
            client.ledger().find(Finding::NotRecovered(format!("client {}: close: {error}", client.number)));
        }
    }
}

async fn come_back(client: &Arc<Client>) {
    while let Some(connection) = client.connection().await {
        let opened = client.call("open channel", connection.open_channel()).await;
        if let Ok(channel) = opened
            && client.call("close channel", channel.close()).await.is_ok()
        {
            client.ledger().book().back.insert(format!("client {}", client.number));
            return;
        }
        drop(connection);
        client.pause().await;
    }
}

/// Ends the connection; who uses it finds out.
async fn close(client: &Client, connection: Connection, random: &mut Random) {
    client.is_lost();
    if random.percent(30) {
        connection.abort();
        return client.ledger().count(|tally| tally.aborted += 1);
    }
    client.ledger().count(|tally| tally.closed += 1);
    if random.percent(30) {
        return drop(connection.close());
    }
    let limit = client.config().close_timeout;
    client.ledger().within(limit, "close", connection.close()).await.ok();
}

/// One of the things that a program can do.
async fn act(client: &Client, connection: &Connection, random: &mut Random) -> Result<(), Error> {
    let scratch = format!("scratch-{}", client.number);
    if random.percent(20) {
        return dropped(client, random, connection.open_channel()).await;
    }
    let channel = client.call("open channel", connection.open_channel()).await?;
    match random.below(10) {
        0 => {
            client.call("passive", channel.declare_queue("nowhere").passive().into_future()).await?;
        }
        1 => {
            let sent = channel.publish("nowhere", "x", &Properties::new(), "lost").await;
            if sent.is_ok() {
                client.call("behind a fault", channel.set_prefetch(1)).await?;
            }
        }
        2 => {
            client.call("declare queue", channel.declare_queue(&scratch).durable().into_future()).await?;
            channel.publish("", &scratch, &Properties::new(), "scratch").await.ok();
            client.call("purge", channel.purge_queue(&scratch)).await?;
        }
        3 => {
            client.call("delete queue", channel.delete_queue(&scratch)).await?;
        }
        4 => {
            let kind = hopmq_sim::ExchangeKind::Fanout;
            let declare = channel.declare_exchange(&scratch, &kind).durable().auto_delete();
            client.call("declare exchange", declare.into_future()).await?;
            client
                .call("bind exchange", channel.bind_exchange("amq.fanout", &scratch, "", FieldTable::new()))
                .await?;
            client.call("delete exchange", channel.delete_exchange(&scratch)).await?;
        }
        5 | 6 => borrow(client, &channel, random).await?,
        7 => {
            let declare = channel.declare_queue("").exclusive().auto_delete().into_future();
            let queue = client.call("declare queue", declare).await?;
            let consume = channel.consume(queue.name()).into_future();
            dropped(client, random, consume).await?;
        }
        8 => dropped(client, random, channel.get(&scratch)).await?,
        _ => {
            client.call("channel prefetch", channel.set_channel_prefetch(3)).await?;
        }
    }
    match random.below(3) {
        0 => drop(channel),
        1 => drop(channel.close()),
        _ => client.call("close channel", channel.close()).await?,
    }
    Ok(())
}

/// Takes from a queue that is shared, and gives back what it got.
async fn borrow(client: &Client, channel: &Channel, random: &mut Random) -> Result<(), Error> {
    let queues = &client.shared.plan.queues;
    let queue = &queues[random.below(queues.len() as u64) as usize];
    let is_shared = queue.kind == crate::chaos::history::QueueKind::Durable && !queue.is_alone;
    if !is_shared {
        return Ok(());
    }
    if random.percent(50) {
        return dropped(client, random, channel.consume(&queue.name).prefetch(3).into_future()).await;
    }
    let mut consumer = client.call("consume", channel.consume(&queue.name).into_future()).await?;
    let sleep = client.host.sleep(Duration::from_micros(random.below(50_000)));
    if let Some(Some(delivery)) = race(consumer.next(), sleep).await
        && random.percent(70)
    {
        delivery.nack(true).ok();
    }
    Ok(())
}

/// Waits a little for a call, and then no more.
async fn dropped<T>(
    client: &Client,
    random: &mut Random,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<(), Error> {
    let sleep = client.host.sleep(Duration::from_micros(random.below(30_000)));
    match race(client.call("a call that may be dropped", call), sleep).await {
        Some(result) => result.map(drop),
        None => {
            client.ledger().count(|tally| tally.dropped_futures += 1);
            Ok(())
        }
    }
}
