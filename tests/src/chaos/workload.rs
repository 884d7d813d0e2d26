//! What a program does with its client: publishers and consumers, as they would be written for use.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::{Ack, Client, Consumer, Publisher, QueueSpec};
use super::history::Outcome;
use super::ledger::Ledger;
use super::message::{HEADER, decode, encode};
use super::plan::{PublisherPlan, QueuePlan};
use crate::world::rng::Rng;

/// The pause after something has failed.
const PAUSE: Duration = Duration::from_millis(50);
/// After so many failures in a row a publisher opens another channel.
const FAILURES: u32 = 40;
/// No publisher publishes more.
const MOST: u32 = 20_000;

/// What publishers and consumers of a run share.
#[derive(Debug)]
pub(super) struct Shared<C> {
    pub(super) client: C,
    pub(super) ledger: Arc<Ledger>,
    pub(super) seed: u64,
    /// Set once: from then on nothing new is begun.
    pub(super) stop: watch::Receiver<bool>,
}

impl<C: Clone> Clone for Shared<C> {
    fn clone(&self) -> Self {
        let Self { client, ledger, seed, stop } = self;
        Self { client: client.clone(), ledger: ledger.clone(), seed: *seed, stop: stop.clone() }
    }
}

impl<C> Shared<C> {
    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    async fn until_stopped(&self) {
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }
}

/// Publishes until it is stopped, and returns when everything is resolved.
pub(super) async fn publish<C: Client>(
    shared: Shared<C>,
    number: u16,
    plan: PublisherPlan,
    key: String,
    mut publisher: C::Publisher,
) {
    let ledger = &shared.ledger;
    let mut rng = Rng::new(shared.seed ^ (u64::from(number) << 32) ^ 0xBEEF);
    let window = Arc::new(Semaphore::new(plan.window));
    let mut confirms = JoinSet::new();
    let mut failures = 0;
    for _ in 0..MOST {
        while confirms.try_join_next().is_some() {}
        let room = tokio::select! {
            biased;
            () = shared.until_stopped() => break,
            room = window.clone().acquire_owned() => room,
        };
        let Ok(room) = room else { break };
        let id = ledger.publishing(number);
        let size = if rng.percent(4) { rng.between(0, plan.largest as u64) } else { rng.between(0, 200) };
        let body = encode(shared.seed, id, HEADER + usize::try_from(size).unwrap_or_default());
        match ledger.track("send", publisher.send(&key, body)).await {
            Ok(confirm) => {
                failures = 0;
                let ledger = ledger.clone();
                confirms.spawn(async move {
                    let outcome = ledger.track("confirm", confirm).await;
                    ledger.resolved(id, outcome);
                    drop(room);
                });
            }
            Err(outcome) => {
                failures += 1;
                if failures % FAILURES == 1 {
                    ledger.log(&format!("publisher {number}: {outcome:?}"));
                }
                ledger.resolved(id, outcome);
                sleep(PAUSE).await;
            }
        }
        if failures >= FAILURES {
            failures = 0;
            ledger.repaired(&format!("publisher {number} opens another channel"));
            match ledger.track("publisher", shared.client.publisher(plan.when_lost)).await {
                Ok(another) => publisher = another,
                Err(error) => ledger.log(&format!("publisher {number}: {error}")),
            }
        }
        if !rng.percent(30) {
            let micros = u64::try_from(plan.pause.as_micros()).unwrap_or(u64::MAX);
            sleep(Duration::from_micros(rng.below(micros))).await;
        }
    }
    confirms.join_all().await;
    // Until the connection is closed, so that nothing ends with the last handle.
    shared.until_stopped().await;
}

/// Consumes until it is stopped, and starts again whenever the stream has ended.
pub(super) async fn consume<C: Client>(
    shared: Shared<C>,
    number: usize,
    plan: QueuePlan,
    queue: QueueSpec,
    mut consumer: C::Consumer,
    tag: watch::Sender<Option<String>>,
) {
    let ledger = &shared.ledger;
    let mut again = 0;
    let mut held = VecDeque::new();
    loop {
        let taken = tokio::select! {
            biased;
            () = shared.until_stopped() => return,
            taken = consumer.next() => taken,
        };
        match taken {
            Ok(taken) => {
                let id = decode(shared.seed, &taken.body);
                ledger.delivered(number, id, taken.redelivered, taken.possible_duplicate);
                held.push_back(taken.ack);
                while held.len() > plan.held {
                    let Some(ack) = held.pop_front() else { break };
                    // What came before a loss is settled in vain.
                    let _ = ledger.track("ack", ack.ack()).await;
                }
            }
            Err(error) => {
                held.clear();
                let mut told = String::new();
                tag.send_replace(None);
                ledger.repaired(&format!("consumer {number} starts again: {error}"));
                consumer = loop {
                    if shared.stopped() {
                        return;
                    }
                    again += 1;
                    let name = format!("c{number}-{again}");
                    let consumer = shared.client.consumer(&queue, &name, plan.prefetch);
                    match ledger.track("consumer", consumer).await {
                        Ok(consumer) => {
                            tag.send_replace(Some(name));
                            break consumer;
                        }
                        Err(error) => {
                            if told != error {
                                ledger.log(&format!("consumer {number}: {error}"));
                                told = error;
                            }
                            sleep(PAUSE).await;
                        }
                    }
                };
            }
        }
    }
}

/// Keeps what ended well apart from what did not, for the table.
pub(super) const fn is_failed(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Confirmed | Outcome::Returned | Outcome::Nacked)
}
