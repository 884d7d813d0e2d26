//! What happens to the network and to hosts.

use std::time::Duration;

use hopmq_sim::{ConnectOptions, Error, Host, Link, Random};

use super::client::Shared;
use super::ledger::FROZEN_AT_MOST;
use super::plan::{Trouble, pick};
use super::tally::SwarmTally;

/// The machines of a world.
pub(super) struct Hosts {
    pub(super) rabbit: Host,
    pub(super) clients: Vec<Host>,
    /// Where somebody deletes queues.
    pub(super) admin: Host,
}

/// Everything that a seed has of trouble, one after the other.
pub(super) async fn trouble(shared: &Shared, hosts: &Hosts, random: &mut Random) {
    for _ in 0..shared.plan.count {
        wait(shared, random, shared.plan.pause).await;
        let trouble = pick(random, &shared.plan.troubles);
        let client = pick_host(random, &hosts.clients);
        shared.ledger.note(format!("{trouble:?} of {}", client.name()));
        happen(shared, hosts, client, trouble, random).await;
    }
    wait(shared, random, shared.plan.pause).await;
}

fn pick_host<'a>(random: &mut Random, hosts: &'a [Host]) -> &'a Host {
    &hosts[random.below(hosts.len() as u64) as usize]
}

async fn wait(shared: &Shared, random: &mut Random, millis: u64) {
    shared.sim.sleep(Duration::from_micros(random.below(millis * 1000))).await;
}

/// As long as a trouble lasts: seldom so long that heartbeats fail.
async fn last(shared: &Shared, random: &mut Random) {
    let millis = pick(random, &[50, 1_000, 10_000, 30_000]);
    wait(shared, random, millis).await;
}

async fn happen(shared: &Shared, hosts: &Hosts, client: &Host, trouble: Trouble, random: &mut Random) {
    let rabbit = &hosts.rabbit;
    let count = |what: fn(&mut SwarmTally)| shared.ledger.count(what);
    match trouble {
        Trouble::Cut => {
            client.cut(rabbit);
            count(|tally| tally.cuts += 1);
        }
        Trouble::HalfOpenClient => {
            rabbit.lose(client);
            count(|tally| tally.half_open += 1);
        }
        Trouble::HalfOpenBroker => {
            client.lose(rabbit);
            count(|tally| tally.half_open += 1);
        }
        Trouble::Partition | Trouble::OneWay => {
            match (trouble, random.percent(50)) {
                (Trouble::Partition, _) => client.partition(rabbit),
                (_, true) => client.partition_to(rabbit),
                (_, false) => rabbit.partition_to(client),
            }
            last(shared, random).await;
            client.heal(rabbit);
            count(|tally| tally.partitions += 1);
        }
        Trouble::Slow => {
            let slow = shared.plan.link.bandwidth(random.between(3_000, 100_000));
            client.set_link(rabbit, slow.latency(Duration::from_millis(random.below(400))));
            last(shared, random).await;
            client.set_link(rabbit, shared.plan.link);
            count(|tally| tally.slow += 1);
        }
        Trouble::Refuse | Trouble::Swallow => {
            if trouble == Trouble::Refuse {
                client.refuse_dials(rabbit);
                count(|tally| tally.refused += 1);
            } else {
                client.swallow_dials(rabbit);
                count(|tally| tally.swallowed += 1);
            }
            client.cut(rabbit);
            last(shared, random).await;
            client.answer_dials(rabbit);
        }
        Trouble::Crash | Trouble::Kill | Trouble::Wipe => broker(shared, rabbit, trouble, random).await,
        Trouble::CrashClient => {
            if random.percent(50) {
                client.crash();
            } else {
                client.kill();
            }
            shared.crashed(client);
            last(shared, random).await;
            client.restart();
            count(|tally| tally.client_crashes += 1);
        }
        Trouble::FreezeBroker | Trouble::FreezeClient => {
            let host = if trouble == Trouble::FreezeBroker { rabbit } else { client };
            host.freeze();
            wait(shared, random, FROZEN_AT_MOST.as_millis() as u64).await;
            host.thaw();
            count(|tally| tally.freezes += 1);
        }
        Trouble::Delete => {
            let queue = random.below(shared.plan.queues.len() as u64) as usize;
            delete(shared, &hosts.admin, queue).await;
        }
        Trouble::Close => {
            shared.broker.close_connections("an administrator has closed it");
            count(|tally| tally.closings += 1);
        }
        Trouble::Alarm => {
            shared.broker.block("low on memory");
            last(shared, random).await;
            shared.broker.unblock();
            count(|tally| tally.alarms += 1);
        }
        Trouble::Nack => {
            shared.broker.refuse_publishes();
            last(shared, random).await;
            shared.broker.accept_publishes();
            count(|tally| tally.nacking += 1);
        }
    }
}

async fn broker(shared: &Shared, rabbit: &Host, trouble: Trouble, random: &mut Random) {
    let ledger = &shared.ledger;
    match trouble {
        Trouble::Kill => rabbit.kill(),
        Trouble::Wipe => rabbit.wipe(),
        _ => rabbit.crash(),
    }
    ledger.count(|tally| match trouble {
        Trouble::Kill => tally.restarts += 1,
        Trouble::Wipe => tally.wipes += 1,
        _ => tally.crashes += 1,
    });
    ledger.crashed();
    if trouble == Trouble::Wipe {
        ledger.erased(None);
    }
    last(shared, random).await;
    rabbit.restart();
}

/// Somebody deletes a queue, and declares it again.
async fn delete(shared: &Shared, admin: &Host, number: usize) {
    let plan = &shared.plan.queues[number];
    if plan.kind != crate::chaos::history::QueueKind::Durable {
        return;
    }
    let work = async {
        let connection = admin.connect_with(ConnectOptions::new().host("rabbit")).await.ok()?;
        let deleted = async {
            let channel = connection.open_channel().await?;
            channel.delete_queue(&plan.name).await?;
            channel.declare_queue(&plan.name).durable().await?;
            if let Some((exchange, kind, key)) = plan.binding(number) {
                channel.declare_exchange(exchange, &kind).durable().await?;
                channel.bind_queue(&plan.name, exchange, &key).await?;
            }
            Ok::<_, Error>(())
        };
        let deleted = deleted.await;
        connection.close().await.ok();
        deleted.ok()
    };
    shared.ledger.erasing(number);
    // Whoever is not let in deletes nothing; but may have.
    shared.ledger.track("an administrator", work).await;
    shared.ledger.erased(Some(number));
    shared.ledger.count(|tally| tally.deletions += 1);
}

/// Everything is as it should be again.
pub(super) fn calm(hosts: &Hosts) {
    hosts.rabbit.restart();
    for client in &hosts.clients {
        client.heal(&hosts.rabbit);
        client.answer_dials(&hosts.rabbit);
        client.set_link(&hosts.rabbit, Link::new());
        client.restart();
    }
}

impl Shared {
    /// The clients of a host are gone, and what they had on their way may come late, or never.
    fn crashed(&self, host: &Host) {
        let name = host.name();
        let is_there = |client: usize| format!("shop-{}", self.plan.clients[client].host) == name;
        let publishers = self.plan.publishers.iter().enumerate();
        let publishers = publishers.filter(|(_, publisher)| is_there(publisher.client));
        self.ledger.lost(publishers.map(|(number, _)| number));
    }
}
