//! The liveness that is demanded once the trouble is over.

use std::time::Duration;

use super::phase::Phase;
use super::world::World;
use crate::chaos::checker::{Finding, owed};
use crate::chaos::history::QueueKind;

/// By when everything must have come to its end: more than every deadline there is.
const PATIENCE: Duration = Duration::from_secs(900);
const LOOK: Duration = Duration::from_millis(50);
/// Those who accept at the broker.
const TASKS_OF_A_BROKER: usize = 1;

impl World {
    pub(super) async fn finish(&self) {
        let plan = &self.shared.plan;
        let mut expected: Vec<String> = Vec::new();
        expected.extend((0..plan.publishers.len()).map(|number| format!("publisher {number}")));
        expected.extend((0..plan.clients.len()).map(|number| format!("client {number}")));
        expected.extend(plan.rpc.map(|_| "requests".to_owned()));
        let is_back = || self.missing(&expected).is_empty() && self.consumers_are_back();
        if !self.until(is_back).await {
            let ledger = &self.shared.ledger;
            let book = ledger.book();
            let missing = expected.iter().filter(|name| !book.back.contains(*name)).cloned();
            let missing: Vec<String> = missing.collect();
            let consuming: Vec<usize> = book.consuming.values().copied().collect();
            drop(book);
            // What follows could only say so again.
            ledger.find(Finding::NotRecovered(format!("{missing:?}, consumers of {consuming:?}")));
            return ledger.pending().into_iter().for_each(|what| ledger.find(Finding::Stuck(what)));
        }
        let now = self.shared.ledger.now();
        self.shared.ledger.book().history.settled_from = Some(now);
        self.shared.ledger.all_there_again();
        self.begin(Phase::Settled);
        let done: Vec<_> = (0..plan.publishers.len()).map(|n| format!("publisher {n} is done")).collect();
        self.until(|| self.missing(&done).is_empty()).await;
        self.begin(Phase::Draining);
        self.until(|| self.is_drained()).await;
        self.compare();
        self.begin(Phase::Closing);
        let done: Vec<_> = (0..plan.hosts).map(|number| format!("host {number} is done")).collect();
        self.until(|| self.missing(&done).is_empty()).await;
        // A transport whose peer is gone may linger for the time that a close may take.
        self.until(|| self.shared.broker.connections() == 0 && self.left().is_empty()).await;
        self.nobody_is_left();
        self.nobody_waits();
    }

    /// Before tasks are dropped, and what they wait for with them.
    fn nobody_waits(&self) {
        let pending = self.shared.ledger.pending();
        self.shared.ledger.book().history.pending = pending;
    }

    fn begin(&self, phase: Phase) {
        self.shared.ledger.note(format!("{phase:?}"));
        self.shared.phases.begin(phase);
    }

    async fn until(&self, what: impl Fn() -> bool) -> bool {
        let deadline = self.shared.ledger.now() + PATIENCE;
        while !what() {
            if self.shared.ledger.now() > deadline {
                return false;
            }
            self.shared.sim.sleep(LOOK).await;
        }
        true
    }

    fn missing(&self, names: &[String]) -> Vec<String> {
        let book = self.shared.ledger.book();
        names.iter().filter(|name| !book.back.contains(*name)).cloned().collect()
    }

    /// Everybody consumes who should, and the broker knows of each.
    fn consumers_are_back(&self) -> bool {
        let consuming = self.shared.ledger.book().consuming.len();
        consuming == self.shared.plan.consumers.len() && self.believed() == self.listed()
    }

    /// Consumers of each queue whose name is known, as the clients believe.
    fn believed(&self) -> Vec<(String, usize)> {
        let book = self.shared.ledger.book();
        let count = |number: usize| book.consuming.values().filter(|queue| **queue == number).count();
        self.known().map(|(number, name)| (name, count(number))).collect()
    }

    /// And as the broker says.
    fn listed(&self) -> Vec<(String, usize)> {
        let count = |name: &str| self.shared.broker.queue("/", name).map_or(0, |stats| stats.consumers);
        self.known().map(|(_, name)| (name.clone(), count(&name))).collect()
    }

    fn known(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        let queues = self.shared.plan.queues.iter().enumerate();
        let known = queues.filter(|(_, queue)| queue.kind != QueueKind::ServerNamed);
        known.map(|(number, queue)| (number, queue.name.clone()))
    }

    fn is_drained(&self) -> bool {
        let is_empty = |name: &str| {
            self.shared.broker.queue("/", name).is_some_and(|stats| stats.ready == 0 && stats.unacked == 0)
        };
        let is_owed = || !owed(&self.shared.ledger.book().history).is_empty();
        self.known().all(|(_, name)| is_empty(&name)) && self.consumers_are_back() && !is_owed()
    }

    fn compare(&self) {
        let many = |list: Vec<(String, usize)>| -> Vec<String> {
            list.into_iter().flat_map(|(name, count)| std::iter::repeat_n(name, count)).collect()
        };
        let (believed, listed) = (many(self.believed()), many(self.listed()));
        for (_, name) in self.known() {
            let stats = self.shared.broker.queue("/", &name);
            if stats.is_none_or(|stats| stats.ready + stats.unacked > 0) {
                self.shared.ledger.find(Finding::NotRecovered(format!("queue {name}: {stats:?}")));
            }
        }
        let mut book = self.shared.ledger.book();
        book.history.believed = believed;
        book.history.listed = listed;
    }

    fn nobody_is_left(&self) {
        let connections = self.shared.broker.connections();
        if connections > 0 {
            self.shared.ledger.find(Finding::AfterClose(connections as u64));
        }
        for (host, tasks) in self.left() {
            let text = format!("{tasks} tasks of {host} outlive their connections");
            self.shared.ledger.find(Finding::Failed(text));
        }
    }

    /// Tasks that belong to nobody, by their host.
    fn left(&self) -> Vec<(String, usize)> {
        let hosts = self.hosts.clients.iter().map(|host| (host, 0));
        let hosts = hosts.chain([(&self.hosts.rabbit, TASKS_OF_A_BROKER), (&self.hosts.admin, 0)]);
        let left = hosts.filter(|(host, most)| host.tasks() > *most);
        left.map(|(host, _)| (host.name(), host.tasks())).collect()
    }
}
