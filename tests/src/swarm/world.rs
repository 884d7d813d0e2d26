//! One world.

use std::sync::Arc;

use hopmq_sim::{Host, JoinHandle, Random, Sim};

use super::client::{Client, Shared};
use super::ledger::Ledger;
use super::phase::{Phase, Phases};
use super::plan::Plan;
use super::trouble::{Hosts, calm, trouble};
use super::{consume, meddle, publish, rpc};

pub(super) struct World {
    pub(super) shared: Arc<Shared>,
    pub(super) hosts: Hosts,
    pub(super) random: Random,
}

impl World {
    pub(super) fn new(sim: &Sim, is_told: bool) -> Self {
        let mut random = sim.random();
        let plan = Plan::draw(sim.seed(), &mut random);
        let hosts = Hosts {
            rabbit: sim.host("rabbit"),
            clients: (0..plan.hosts).map(|number| sim.host(&format!("shop-{number}"))).collect(),
            admin: sim.host("admin"),
        };
        for client in &hosts.clients {
            client.set_link(&hosts.rabbit, plan.link);
        }
        let broker = hosts.rabbit.broker(plan.broker.clone()).unwrap_or_else(|error| panic!("{error}"));
        let ledger = Ledger::new(sim.clone(), &plan, is_told);
        let shared =
            Shared { sim: sim.clone(), seed: sim.seed(), plan, broker, ledger, phases: Phases::new() };
        Self { shared: Arc::new(shared), hosts, random }
    }

    /// Trouble first, then a good network on which everything must come to its end.
    pub(super) async fn run(mut self) {
        for (number, host) in self.hosts.clients.iter().enumerate() {
            let shared = self.shared.clone();
            host.start(move |host| program(shared.clone(), host, number));
        }
        trouble(&self.shared, &self.hosts, &mut self.random).await;
        calm(&self.hosts);
        self.shared.phases.begin(Phase::Settling);
        self.finish().await;
    }
}

/// What runs on a host: all that its clients do.
async fn program(shared: Arc<Shared>, host: Host, number: usize) {
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();
    for (client, plan) in shared.plan.clients.iter().enumerate() {
        if plan.host != number {
            continue;
        }
        let here = Client::new(shared.clone(), host.clone(), client);
        let of = |number: usize| number == client;
        for (number, plan) in shared.plan.consumers.iter().enumerate() {
            if of(plan.client) {
                tasks.push(host.spawn(consume::consume(here.clone(), number)));
            }
        }
        for (number, plan) in shared.plan.publishers.iter().enumerate() {
            if of(plan.client) {
                tasks.push(host.spawn(publish::publish(here.clone(), number)));
            }
        }
        if let Some([server, asker]) = shared.plan.rpc {
            if of(server) {
                tasks.push(host.spawn(rpc::serve(here.clone())));
            }
            if of(asker) {
                tasks.push(host.spawn(rpc::ask(here.clone())));
            }
        }
        tasks.push(host.spawn(meddle::meddle(here)));
    }
    for task in tasks {
        task.await.ok();
    }
    shared.ledger.book().back.insert(format!("host {number} is done"));
}
