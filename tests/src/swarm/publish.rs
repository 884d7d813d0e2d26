//! What a publisher does.

use std::sync::Arc;
use std::time::Duration;

use hopmq_sim::{Channel, Confirm, Confirms, ConfirmsError, Properties, Publisher, Random};

use super::client::Client;
use super::phase::{Phase, race};
use super::plan::{Mode, PublisherPlan};
use crate::chaos::checker::Finding;
use crate::chaos::history::{MessageId, Outcome};
use crate::chaos::message::{HEADER, encode};

/// How many messages everybody publishes once all is well.
const AT_THE_END: usize = 2;

/// A publisher on its channel.
struct Writer<'a> {
    client: &'a Client,
    number: usize,
    plan: &'a PublisherPlan,
    channel: Channel,
    publisher: Option<Publisher>,
    exchange: &'static str,
    key: String,
    properties: Properties,
    window: Vec<(MessageId, Confirm)>,
    /// Sent, and to be asked for together.
    together: Vec<MessageId>,
}

/// Publishes until everybody is back, some more then, and ends.
pub(super) async fn publish(client: Arc<Client>, number: usize) {
    let plan = client.shared.plan.publishers[number].clone();
    let mut random = client.random();
    let mut left = plan.count;
    while client.phase() < Phase::Closing {
        let Some(connection) = client.connection().await else { return };
        let Some(mut writer) = Writer::open(&client, &connection, number, &plan).await else {
            client.pause().await;
            continue;
        };
        drop(connection);
        while client.phase() == Phase::Trouble && writer.channel.is_open() {
            if left == 0 {
                client.shared.phases.reached(Phase::Settling).await;
                break;
            }
            left -= 1;
            writer.publish(&mut random).await;
            client.dawdle(&mut random, plan.pause, Phase::Settling).await;
        }
        writer.finish().await;
        if client.phase() == Phase::Trouble {
            client.pause().await;
            continue;
        }
        if writer.come_back(&mut random).await {
            client.ledger().book().back.insert(format!("publisher {number}"));
            client.shared.phases.reached(Phase::Settled).await;
            for _ in 0..AT_THE_END {
                if !writer.publish_one(&mut random).await {
                    client.ledger().find(Finding::NotRecovered(format!("publisher {number}")));
                }
            }
            client.ledger().book().back.insert(format!("publisher {number} is done"));
            return;
        }
        client.pause().await;
    }
}

impl<'a> Writer<'a> {
    async fn open(
        client: &'a Client,
        connection: &hopmq_sim::Connection,
        number: usize,
        plan: &'a PublisherPlan,
    ) -> Option<Self> {
        let queue = &client.shared.plan.queues[plan.queue];
        let (channel, _) = client.set_up(connection, plan.queue, false).await.ok()?;
        let (exchange, key) = queue.address(plan.queue);
        let mut publisher = None;
        let settling = client.phase() >= Phase::Settling;
        if plan.mode != Mode::Plain || settling {
            let mut new = channel.publisher().exchange(exchange).when_lost(plan.when_lost);
            if plan.mandatory {
                new = new.mandatory();
            }
            if plan.window > 1 {
                new = new.max_unconfirmed(plan.window);
            }
            publisher = Some(client.call("confirm select", new.into_future()).await.ok()?);
        }
        let properties = if plan.transient { Properties::new() } else { Properties::new().persistent() };
        let (window, together) = (Vec::new(), Vec::new());
        Some(Self { client, number, plan, channel, publisher, exchange, key, properties, window, together })
    }

    fn message(&self, random: &mut Random) -> (MessageId, bytes::Bytes) {
        let id = self.client.ledger().publishing(self.number);
        let size = if random.percent(10) { random.below(self.plan.largest) } else { random.below(60) };
        (id, encode(self.client.shared.seed, id, HEADER + size as usize))
    }

    async fn publish(&mut self, random: &mut Random) {
        let (id, body) = self.message(random);
        let ledger = self.client.ledger();
        let Some(publisher) = &self.publisher else {
            let publish = self.channel.publish(self.exchange, &self.key, &self.properties, body);
            let limit = self.client.config().publish_timeout;
            if let Err(error) = ledger.within(limit, "publish without confirm", publish).await {
                ledger.ended(id, &Err(error));
            }
            return;
        };
        let publish = publisher.publish(&self.key, body).properties(&self.properties);
        match self.plan.mode {
            Mode::Await => ledger.ended(id, &ledger.track("publish", publish.into_future()).await),
            Mode::Try => match publish.try_send() {
                Ok(confirm) => self.window.push((id, confirm)),
                Err(error) => ledger.ended(id, &Err(error)),
            },
            Mode::Drop => {
                let patience = Duration::from_micros(random.below(100_000));
                let sleep = self.client.host.sleep(patience);
                match race(publish.into_future(), sleep).await {
                    Some(result) => ledger.ended(id, &result),
                    None => ledger.count(|tally| tally.dropped_futures += 1),
                }
            }
            Mode::Window | Mode::All | Mode::Plain => {
                let limit = self.client.config().publish_timeout;
                match ledger.within(limit, "send", publish.send()).await {
                    Ok(confirm) if self.plan.mode == Mode::All => {
                        drop(confirm);
                        self.together.push(id);
                    }
                    Ok(confirm) => self.window.push((id, confirm)),
                    Err(error) => ledger.ended(id, &Err(error)),
                }
            }
        }
        if self.window.len() >= self.plan.window || self.together.len() >= self.plan.window {
            self.finish().await;
        }
    }

    /// Waits for everything that is on its way.
    async fn finish(&mut self) {
        let ledger = self.client.ledger();
        for (id, confirm) in std::mem::take(&mut self.window) {
            ledger.ended(id, &ledger.track("confirm", confirm).await);
        }
        let together = std::mem::take(&mut self.together);
        if let Some(publisher) = &self.publisher
            && !together.is_empty()
        {
            let result = ledger.track("wait for confirms", publisher.wait_for_confirms()).await;
            let outcome = match result {
                Ok(()) => Outcome::Confirmed,
                // Which of them, it does not say.
                Err(ConfirmsError::Failed(failures)) => Outcome::Unknown(format!("{failures:?}")),
                Err(error) => Outcome::Unknown(error.to_string()),
            };
            together.into_iter().for_each(|id| ledger.resolved(id, outcome.clone()));
        }
    }

    /// Whether a message was confirmed that was published since the trouble is over.
    async fn come_back(&mut self, random: &mut Random) -> bool {
        for _ in 0..3 {
            if self.publisher.is_some() && self.publish_one(random).await {
                return true;
            }
            if !self.channel.is_open() || self.publisher.is_none() {
                return false;
            }
            self.client.pause().await;
        }
        false
    }

    async fn publish_one(&self, random: &mut Random) -> bool {
        let Some(publisher) = &self.publisher else { return false };
        let (id, body) = self.message(random);
        let ledger = self.client.ledger();
        let mut confirms = Confirms::new();
        let send = publisher.publish(&self.key, body).properties(&self.properties).send();
        match ledger.track("send", send).await {
            Ok(confirm) => {
                confirms.push(confirm);
                let result = ledger.track("confirms", confirms.wait()).await;
                ledger.ended(id, &result);
                result.is_ok()
            }
            Err(error) => {
                ledger.ended(id, &Err(error));
                false
            }
        }
    }
}
