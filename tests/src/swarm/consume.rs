//! What a consumer does.

use std::collections::VecDeque;
use std::sync::Arc;

use hopmq_sim::{Channel, Connection, Consumer, Delivery, Error, Random, SettleError};

use super::client::Client;
use super::ledger::Consuming;
use super::phase::Phase;
use super::plan::ConsumerPlan;
use super::seat::{Before, Seat};
use crate::chaos::checker::Finding;
use crate::chaos::message::decode;
use crate::chaos::place::Place;

/// The header of a message that may have been sent before.
const POSSIBLE_DUPLICATE: &str = "x-possible-duplicate";

/// Why a consumer does not go on.
enum End {
    /// Everybody goes.
    Over,
    /// It is to start anew, on a channel of its own.
    Again,
}

/// Consumes until everybody goes, and starts again whenever the stream has ended.
pub(super) async fn consume(client: Arc<Client>, number: usize) {
    let plan = client.shared.plan.consumers[number].clone();
    let mut random = client.random();
    let mut before = None;
    while client.phase() < Phase::Closing {
        let Some(connection) = client.connection().await else { return };
        let end = if plan.gets && client.phase() == Phase::Trouble {
            get(&client, &connection, &plan, &mut random).await
        } else {
            run(&client, &connection, &plan, &mut before, &mut random).await
        };
        drop(connection);
        match end {
            Ok(End::Over) => return,
            Ok(End::Again) => {}
            Err(_) => client.pause().await,
        }
    }
}

/// What a consumer has taken, and its life: from one gap to the next.
struct Taker<'a> {
    client: &'a Client,
    plan: &'a ConsumerPlan,
    /// This life's number among all consumers' lives.
    life: usize,
    /// Where nobody else consumes.
    seat: Option<Seat<'a>>,
    held: VecDeque<Held>,
    /// How many were left unsettled.
    left: usize,
}

/// What was taken and is not settled.
struct Held {
    /// The life that it came in.
    life: usize,
    /// Its number among what came then.
    number: usize,
    delivery: Delivery,
}

/// A settlement.
#[derive(Debug, Clone, Copy)]
struct Settle {
    life: usize,
    number: usize,
    multiple: bool,
    requeue: bool,
}

async fn run(
    client: &Arc<Client>,
    connection: &Connection,
    plan: &ConsumerPlan,
    before: &mut Option<Before>,
    random: &mut Random,
) -> Result<End, Error> {
    let (channel, name) = client.set_up(connection, plan.queue, true).await?;
    let mut taker = Taker::new(client, plan);
    taker.seat = Seat::begin(client, plan, taker.life, before);
    let mut consume = channel.consume(&name).prefetch(plan.prefetch);
    if plan.no_ack {
        consume = consume.no_ack();
    }
    let mut consumer = client.call("consume", consume.into_future()).await?;
    taker.seat.iter_mut().for_each(Seat::begun);
    let consuming = Consuming::new(client.ledger(), taker.life, plan.queue);
    let phases = &client.shared.phases;
    loop {
        if client.phase() >= Phase::Draining {
            taker.settle_all();
            // What was left unsettled comes again when its channel is closed.
            if taker.left > 0 {
                break;
            }
        }
        let until = if client.phase() < Phase::Draining { Phase::Draining } else { Phase::Closing };
        let delivery = match phases.unless(until, consumer.next()).await {
            Some(Some(delivery)) => delivery,
            Some(None) => {
                drop(consuming);
                return taker.ended(&channel, &consumer);
            }
            None if until == Phase::Closing => break,
            None => continue,
        };
        taker.take(delivery, random);
        client.dawdle(random, plan.slow, Phase::Settling).await;
        taker.settle(random);
        let restarts = taker.left > 2 || random.percent(plan.restarts);
        if restarts && client.phase() == Phase::Trouble {
            break;
        }
    }
    drop(consuming);
    stop(client, channel, consumer, taker, random).await;
    Ok(if client.phase() >= Phase::Closing { End::Over } else { End::Again })
}

/// Ends a consumer, in one of the ways there are.
async fn stop(
    client: &Client,
    channel: Channel,
    consumer: Consumer,
    mut taker: Taker<'_>,
    random: &mut Random,
) {
    client.ledger().count(|tally| tally.consumers_ended += 1);
    let seat = taker.seat.take();
    let over = async |is_done: bool, how: fn(&mut Place)| {
        if let Some(seat) = seat.filter(|_| is_done) {
            seat.over(how).await;
        }
    };
    if taker.left > 0 {
        // Nothing but the end of the channel, or a recover, puts these back.
        if random.percent(30) {
            client.call("recover", channel.recover()).await.ok();
        }
        drop((consumer, taker));
        return over(client.call("close channel", channel.close()).await.is_ok(), Place::closed).await;
    }
    match random.below(4) {
        0 => drop(consumer),
        1 => over(client.call("cancel", consumer.cancel()).await.is_ok(), Place::cancelled).await,
        2 => drop(consumer.cancel()),
        _ => over(client.call("close channel", channel.close()).await.is_ok(), Place::closed).await,
    }
}

impl<'a> Taker<'a> {
    fn new(client: &'a Client, plan: &'a ConsumerPlan) -> Self {
        let life = client.ledger().consumer();
        Self { client, plan, life, seat: None, held: VecDeque::new(), left: 0 }
    }

    fn take(&mut self, delivery: Delivery, random: &mut Random) {
        let ledger = self.client.ledger();
        if delivery.is_after_gap() {
            self.life = ledger.consumer();
            self.left = 0;
            self.seat.iter_mut().for_each(|seat| seat.resume(self.life));
        }
        let id = decode(self.client.shared.seed, delivery.body());
        let duplicate =
            delivery.properties().is_ok_and(|properties| properties.header(POSSIBLE_DUPLICATE).is_some());
        let number = ledger.delivered(self.life, id, delivery.redelivered(), duplicate);
        if self.plan.no_ack {
            return;
        }
        if random.percent(self.plan.drops) && self.client.phase() < Phase::Draining {
            ledger.count(|tally| tally.left_unsettled += 1);
            self.left += 1;
            return;
        }
        self.held.push_back(Held { life: self.life, number, delivery });
    }

    fn settle(&mut self, random: &mut Random) {
        if self.plan.multiple && self.held.len() > self.plan.held {
            let requeue = random.percent(self.plan.requeues);
            if let Some(Held { life, number, delivery }) = self.held.pop_back() {
                let result = if requeue { delivery.nack_all(true) } else { delivery.ack_all() };
                self.settled(Settle { life, number, multiple: true, requeue }, result);
            }
            // Of this channel only: what is older is stale, and is told so when it is tried.
            let older: Vec<_> = self.held.drain(..).collect();
            for Held { life, number, delivery } in older {
                if life != self.life {
                    self.settled(Settle { life, number, multiple: false, requeue: false }, delivery.ack());
                }
            }
        }
        while self.held.len() > self.plan.held {
            let Some(Held { life, number, delivery }) = self.held.pop_front() else { return };
            let requeue = random.percent(self.plan.requeues);
            let result = if requeue {
                if random.percent(50) { delivery.nack(true) } else { delivery.reject(true) }
            } else if random.percent(self.plan.rejects) {
                delivery.reject(false)
            } else {
                delivery.ack()
            };
            self.settled(Settle { life, number, multiple: false, requeue }, result);
        }
    }

    fn settle_all(&mut self) {
        for Held { life, number, delivery } in std::mem::take(&mut self.held) {
            self.settled(Settle { life, number, multiple: false, requeue: false }, delivery.ack());
        }
    }

    fn settled(&self, settle: Settle, result: Result<(), SettleError>) {
        let ledger = self.client.ledger();
        match result {
            Ok(()) if settle.life != self.life => {
                ledger.find(Finding::Failed("a delivery of a connection that is no more was settled".into()));
            }
            Ok(()) => {
                ledger.count(|tally| {
                    tally.settled += 1;
                    tally.nacked += u64::from(settle.requeue);
                });
                if let Some(seat) = &self.seat {
                    seat.settled(settle.number, settle.multiple, settle.requeue);
                }
            }
            Err(SettleError::Stale | SettleError::Closed(_)) => ledger.count(|tally| tally.stale += 1),
            Err(error) => {
                ledger.find(Finding::Failed(format!("a delivery that nobody has settled: {error}")));
            }
        }
    }

    fn ended(&self, channel: &Channel, consumer: &Consumer) -> Result<End, Error> {
        self.client.ledger().count(|tally| tally.consumers_ended += 1);
        if let Some(reason) = channel.close_reason() {
            self.client.ledger().inspect(&reason);
        }
        if consumer.end().is_none() {
            self.client.ledger().find(Finding::Failed("a stream has ended, and nobody knows why".into()));
        }
        Ok(End::Again)
    }
}

/// Takes one message after the other.
async fn get(
    client: &Arc<Client>,
    connection: &Connection,
    plan: &ConsumerPlan,
    random: &mut Random,
) -> Result<End, Error> {
    let (channel, name) = client.set_up(connection, plan.queue, true).await?;
    let mut taker = Taker::new(client, plan);
    while client.phase() == Phase::Trouble {
        taker.life = client.ledger().consumer();
        if let Some(got) = client.call("get", channel.get(&name)).await? {
            client.ledger().count(|tally| tally.got += 1);
            let life = taker.life;
            let delivery = got.into_delivery();
            let id = decode(client.shared.seed, delivery.body());
            let duplicate = delivery.properties().is_ok_and(|it| it.header(POSSIBLE_DUPLICATE).is_some());
            client.ledger().delivered(life, id, delivery.redelivered(), duplicate);
            client.dawdle(random, plan.slow, Phase::Settling).await;
            // It may have been lost since, and is stale then.
            let requeue = random.percent(plan.requeues);
            let result = if requeue { delivery.nack(true) } else { delivery.ack() };
            taker.settled(Settle { life, number: 0, multiple: false, requeue }, result);
        } else {
            client.dawdle(random, 500, Phase::Settling).await;
        }
    }
    client.call("close channel", channel.close()).await?;
    Ok(End::Again)
}
