use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::fault::{Fault, FaultKind};
use crate::host::Host;
use crate::network::Link;
use crate::random::Random;
use crate::sim::Sim;
use crate::tasks::JoinHandle;

/// How many faults there are at most, unless it is said.
const AT_MOST: usize = 4;
/// Within how long they begin, unless it is said.
const WITHIN: Duration = Duration::from_secs(30);

/// What may go wrong in a world, of which the seed draws what does; [`Sim::trouble`] begins it.
///
/// ```
/// use hopmq_sim::Sim;
///
/// let sim = Sim::new(42);
/// let [rabbit, shop] = ["rabbit", "shop"].map(|name| sim.host(name));
/// # let run = sim.run(async {
/// let calm = sim.trouble().host(&shop).host(&rabbit).link(&shop, &rabbit).begin();
/// // ... work goes on meanwhile, and what must never happen is checked ...
/// calm.await;
/// // ... and what must have happened at last
/// # assert!(rabbit.is_up());
/// # });
/// # assert_eq!(run, Ok(()));
/// ```
#[derive(Debug, Clone)]
#[must_use = "begin() begins it"]
pub struct Trouble {
    sim: Sim,
    hosts: Vec<String>,
    disks: Vec<String>,
    links: Vec<(String, String)>,
    at_most: usize,
    within: Duration,
}

impl Sim {
    /// Trouble that is to come. Nothing goes wrong yet: say what may.
    pub fn trouble(&self) -> Trouble {
        Trouble {
            sim: self.clone(),
            hosts: Vec::new(),
            disks: Vec::new(),
            links: Vec::new(),
            at_most: AT_MOST,
            within: WITHIN,
        }
    }
}

impl Trouble {
    /// This host may crash, be killed, and freeze; and come back.
    pub fn host(mut self, host: &Host) -> Self {
        self.hosts.push(host.name());
        self
    }

    /// This host may lose its disk, too.
    pub fn disk(mut self, host: &Host) -> Self {
        self.disks.push(host.name());
        self
    }

    /// Between these two anything may happen that happens in networks.
    pub fn link(mut self, a: &Host, b: &Host) -> Self {
        self.links.push((a.name(), b.name()));
        self
    }

    /// How many faults there are at most: four unless it is said.
    pub const fn at_most(mut self, faults: usize) -> Self {
        self.at_most = faults;
        self
    }

    /// Within how long they begin: 30 s unless it is said. Each lasts up to 20 s.
    pub const fn within(mut self, duration: Duration) -> Self {
        self.within = duration;
        self
    }

    /// Draws the faults, and lets them happen in the background. What this gives is ready once all are over and everything that may
    /// go wrong is right: hosts are up, links are whole.
    pub fn begin(self) -> Calm {
        let sim = self.sim.clone();
        let faults = sim.world.next_schedule(|random| self.draw(random));
        Calm(sim.spawn(async move { self.play(&faults).await }))
    }

    fn draw(&self, random: &mut Random) -> Vec<Fault> {
        let count = random.below(self.at_most as u64 + 1);
        let mut faults: Vec<Fault> = (0..count).filter_map(|_| self.fault(random)).collect();
        faults.sort_by_key(|fault| fault.at);
        faults
    }

    fn fault(&self, random: &mut Random) -> Option<Fault> {
        let choice = random.index(self.hosts.len() + self.disks.len() + self.links.len());
        let kind = if let Some(host) = self.hosts.get(choice) {
            let host = host.clone();
            match random.below(3) {
                0 => FaultKind::Crash(host),
                1 => FaultKind::Kill(host),
                _ => FaultKind::Freeze(host),
            }
        } else if let Some(host) = self.disks.get(choice - self.hosts.len()) {
            FaultKind::Wipe(host.clone())
        } else {
            let (a, b) = self.links.get(choice - self.hosts.len() - self.disks.len())?;
            of_link(a.clone(), b.clone(), random)
        };
        let within = u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX);
        let at = Duration::from_millis(random.below(within));
        // Long ones are rarer: heartbeats and timeouts notice them, and a stumble is more often what is overlooked.
        let most = *random.pick(&[50, 1000, 5000, 20_000])?;
        let lasts =
            if kind.is_brief() { Duration::ZERO } else { Duration::from_millis(random.between(1, most)) };
        Some(Fault { at, lasts, kind })
    }

    async fn play(&self, faults: &[Fault]) {
        let begin = self.sim.now();
        let mut links: Vec<[Link; 2]> = Vec::new();
        let mut steps: Vec<(Duration, usize, bool)> = Vec::new();
        for (number, fault) in faults.iter().enumerate() {
            links.push(fault.kind.between().map_or([Link::new(); 2], |(a, b)| self.links_between(a, b)));
            steps.push((fault.at, number, true));
            steps.push((fault.at + fault.lasts, number, false));
        }
        steps.sort_by_key(|(at, number, is_begin)| (*at, *number, !is_begin));
        for (at, number, is_begin) in steps {
            self.sim.sleep((begin + at) - self.sim.now()).await;
            match (faults.get(number), links.get(number)) {
                (Some(fault), _) if is_begin => fault.kind.begin(&self.sim),
                (Some(fault), Some(before)) => fault.kind.end(&self.sim, *before),
                _ => {}
            }
        }
        self.put_right();
    }

    fn links_between(&self, a: &str, b: &str) -> [Link; 2] {
        let (a, b) = (self.sim.host(a), self.sim.host(b));
        [a.link_to(&b), b.link_to(&a)]
    }

    /// Faults that overlapped may have ended one another early, and never late; but who knows what the test has done.
    fn put_right(&self) {
        for name in self.hosts.iter().chain(&self.disks) {
            let host = self.sim.host(name);
            host.thaw();
            host.restart();
        }
        for (a, b) in &self.links {
            let (a, b) = (self.sim.host(a), self.sim.host(b));
            a.heal(&b);
            a.answer_dials(&b);
        }
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

/// Ready when the trouble is over; [`Trouble::begin`] gives it. Dropping it changes nothing.
#[derive(Debug)]
#[must_use = "the trouble goes on without it, but nobody knows when it is over"]
pub struct Calm(JoinHandle<()>);

impl Future for Calm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}
