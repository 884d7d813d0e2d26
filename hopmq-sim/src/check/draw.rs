use std::time::Duration;

use super::fault::{Fault, FaultKind};
use super::moment::{Does, Moment};
use super::trouble::Trouble;
use crate::network::Link;
use crate::random::Random;

/// How many of a hundred faults wait for a moment.
const MOMENTS: u64 = 75;

/// What the network is like in the world of a seed, where the test does not say: from one room to the other side of the earth.
pub(super) fn link(seed: u64) -> Link {
    let mut random = Random::of(seed, 4);
    let micros = *random
        .pick(&[200, 500, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000])
        .unwrap_or(&500);
    let jitter = micros * random.pick(&[0, 1, 2]).unwrap_or(&2) / 2;
    Link::new().latency(Duration::from_micros(micros)).jitter(Duration::from_micros(jitter))
}

impl Trouble {
    /// Draws faults that begin from `begin` on, which is a whole millisecond as all their times are: so a report tells them exactly.
    /// `servers` are the hosts with a broker, of those that things may happen to.
    pub(super) fn draw(&self, begin: Duration, servers: &[&String], random: &mut Random) -> Vec<Fault> {
        if let Some(exactly) = &self.exactly {
            return exactly.clone();
        }
        // A world without any is worth a look, and not many.
        let most = self.at_most as u64;
        let count = if random.percent(5) { 0 } else { random.between(1, most).min(most) };
        let mut faults: Vec<Fault> = (0..count).filter_map(|_| self.fault(begin, servers, random)).collect();
        faults.sort_by_key(|fault| fault.at);
        faults
    }

    fn fault(&self, begin: Duration, servers: &[&String], random: &mut Random) -> Option<Fault> {
        let choice =
            random.index(self.hosts.len() + self.disks.len() + self.links.len() + self.brokers.len());
        let kind = if let Some(host) = self.hosts.get(choice) {
            of_host(host.clone(), random)
        } else if let Some(host) = self.disks.get(choice - self.hosts.len()) {
            FaultKind::Wipe(host.clone())
        } else {
            let choice = choice - self.hosts.len() - self.disks.len();
            match self.links.get(choice) {
                Some((a, b)) => of_link(a.clone(), b.clone(), random),
                None => of_broker(self.brokers.get(choice - self.links.len())?.clone(), random),
            }
        };
        let within = u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX);
        // Earlier ones are likelier to find work still under way.
        let (one, other) = (random.below(within), random.below(within));
        let at = begin + Duration::from_millis(if random.percent(50) { one } else { one.min(other) });
        let moment = random.percent(MOMENTS).then(|| self.moment(&kind, servers, random));
        // Long ones are rarer: heartbeats and timeouts notice them, and a stumble is more often what is overlooked.
        let most = *random.pick(&[50, 1000, 5000, 20_000])?;
        let lasts =
            if kind.is_brief() { Duration::ZERO } else { Duration::from_millis(random.between(1, most)) };
        Some(Fault { at, moment, lasts, kind })
    }

    /// A moment of those whom it concerns.
    fn moment(&self, kind: &FaultKind, servers: &[&String], random: &mut Random) -> Moment {
        let (host, peer) = match kind.between() {
            Some((a, b)) if random.percent(50) => (a, Some(b)),
            Some((a, b)) => (b, Some(a)),
            None => (kind.host(), None),
        };
        // A broker sleeps for heartbeats only.
        let sleeps = kind.is_of_machines() && !servers.iter().any(|name| *name == host);
        let does = match (random.below(100), sleeps) {
            (0..65, false) | (0..45, true) => Does::Sends,
            (_, false) | (45..70, true) => Does::Receives,
            _ => Does::Wakes,
        };
        let nth = random.between(1, 6);
        let latency = u64::try_from(self.sim.world.settings.link.latency.as_micros()).unwrap_or(u64::MAX);
        let micros = match random.below(5) {
            0 | 1 => 0,
            2 | 3 => random.below(latency), // it is still under way
            _ => random.between(1, 1000),
        };
        let delay = Duration::from_micros(micros);
        Moment { host: host.to_owned(), does, peer: peer.map(str::to_owned), nth, delay }
    }
}

/// Anything that happens to machines.
fn of_host(host: String, random: &mut Random) -> FaultKind {
    match random.below(4) {
        0 | 1 => FaultKind::Crash(host),
        2 => FaultKind::Kill(host),
        _ => FaultKind::Freeze(host),
    }
}

/// Anything that a broker does by itself.
fn of_broker(host: String, random: &mut Random) -> FaultKind {
    match random.below(3) {
        0 => FaultKind::Close(host),
        1 => FaultKind::Block(host),
        _ => FaultKind::Nack(host),
    }
}

/// Anything that happens in networks.
fn of_link(a: String, b: String, random: &mut Random) -> FaultKind {
    match random.below(8) {
        0 | 1 => FaultKind::Cut(a, b),
        2 => {
            let (told, other) = if random.percent(50) { (a, b) } else { (b, a) };
            FaultKind::Lose(told, other)
        }
        3 => FaultKind::Partition(a, b),
        4 => {
            let (from, to) = if random.percent(50) { (a, b) } else { (b, a) };
            FaultKind::PartitionTo(from, to)
        }
        5 => FaultKind::Refuse(a, b),
        6 => FaultKind::Swallow(a, b),
        _ => {
            let link = Link::new()
                .latency(Duration::from_millis(random.between(1, 400)))
                .jitter(Duration::from_millis(random.between(1, 400)))
                .bandwidth(random.between(1_000, 200_000))
                .segment(usize::try_from(random.between(1, 2000)).unwrap_or(1));
            FaultKind::Slow(a, b, link)
        }
    }
}
