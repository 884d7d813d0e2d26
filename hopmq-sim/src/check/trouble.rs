use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hopmq::Instant;

use super::fault::Fault;
use super::moment::Moment;
use crate::host::Host;
use crate::network::Link;
use crate::sim::Sim;
use crate::tasks::JoinHandle;

/// How many faults there are at most, unless it is said.
const AT_MOST: usize = 4;
/// Within how long they begin, unless it is said.
const WITHIN: Duration = Duration::from_secs(30);
/// How long a fault waits for its moment.
const PATIENCE: Duration = Duration::from_secs(5);

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
    pub(super) sim: Sim,
    pub(super) hosts: Vec<String>,
    pub(super) disks: Vec<String>,
    pub(super) links: Vec<(String, String)>,
    pub(super) brokers: Vec<String>,
    pub(super) at_most: usize,
    pub(super) within: Duration,
    /// In place of what is drawn.
    pub(super) exactly: Option<Vec<Fault>>,
}

impl Sim {
    /// Trouble that is to come. Nothing goes wrong yet: say what may.
    pub fn trouble(&self) -> Trouble {
        Trouble {
            sim: self.clone(),
            hosts: Vec::new(),
            disks: Vec::new(),
            links: Vec::new(),
            brokers: Vec::new(),
            at_most: AT_MOST,
            within: WITHIN,
            exactly: None,
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

    /// The broker on this host may do what RabbitMQ does by itself at times: close every connection, hold publishers back, and
    /// nack what is published. It is one that was started from outside of the host, with [`Host::broker`](crate::Host::broker), before such
    /// a fault comes: what a task there has started is that task's. Where there is none, the fault panics.
    pub fn broker(mut self, host: &Host) -> Self {
        self.brokers.push(host.name());
        self
    }

    /// How many faults there are at most: four unless it is said.
    pub const fn at_most(mut self, faults: usize) -> Self {
        self.at_most = faults;
        self
    }

    /// Within how long they begin: 30 s unless it is said. Each lasts up to 20 s. Work that is to be hit has to go on
    /// meanwhile. A fault that waits for a [moment](super::Moment) may begin 5 s later.
    pub const fn within(mut self, duration: Duration) -> Self {
        self.within = duration;
        self
    }

    /// No faults are drawn: these happen. A [`Failure`](super::Failure) has those that it took, and the
    /// [`link`](super::Failure::link) with which it did: with both, and its seed, it is a test that a change of what is drawn spares.
    ///
    /// ```
    /// use std::time::Duration;
    /// use hopmq_sim::{Check, Does, Fault, FaultKind, Link, Sim};
    ///
    /// Check::new().seed(42).link(Link::new()).run(|sim: Sim| async move {
    ///     let [rabbit, pay] = ["rabbit", "pay"].map(|name| sim.host(name));
    ///     let crash = Fault::new(Duration::from_millis(3670), FaultKind::Crash("pay".to_owned()));
    ///     let crash = crash.lasts(Duration::from_secs(1)).when("pay", Does::Sends);
    ///     sim.trouble().host(&pay).link(&pay, &rabbit).exactly([crash]).begin().await;
    /// });
    /// ```
    pub fn exactly(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.exactly = Some(faults.into_iter().collect());
        self
    }

    /// Draws the faults, and lets them happen in the background. What this gives is ready once all are over and everything that may
    /// go wrong is right: hosts are up, links are whole.
    ///
    /// # Panics
    ///
    /// When one of the faults that there are to be [exactly](Self::exactly) names a host that there is not, or waits for a host to wake with
    /// another.
    #[track_caller]
    pub fn begin(self) -> Calm {
        for fault in self.exactly.iter().flatten() {
            let unknown = fault.hosts().find(|name| !self.sim.world.has_host(name));
            assert!(unknown.is_none(), "there is no host {:?}: {fault}", unknown.unwrap_or_default());
            let never = fault.moment.as_ref().is_some_and(Moment::never_comes);
            assert!(!never, "a host wakes with nobody: {fault}");
        }
        self.begin_known()
    }

    /// Its task is not the caller's own.
    fn begin_known(self) -> Calm {
        let serves = |name: &&String| !self.sim.host(name).brokers().is_empty();
        let servers: Vec<_> = self.hosts.iter().chain(&self.disks).filter(serves).collect();
        let sim = self.sim.clone();
        let begin = Duration::from_millis(sim.now().as_nanos().div_ceil(1_000_000));
        let number = sim.world.next_schedule(|random| self.draw(begin, &servers, random));
        Calm(sim.spawn(async move { self.play(number, begin).await }))
    }

    async fn play(self, schedule: usize, begin: Duration) {
        let faults = self.sim.world.schedule(schedule);
        let playing: Vec<_> = faults
            .into_iter()
            .enumerate()
            .map(|(number, mut fault)| {
                fault.at = fault.at.max(begin);
                self.sim.spawn(play(self.sim.clone(), fault, (schedule, number)))
            })
            .collect();
        for fault in playing {
            fault.await.ok();
        }
        self.put_right();
    }

    /// Faults that overlapped may have ended one another early, and never late; but who knows what the test has done.
    fn put_right(&self) {
        for name in self.hosts.iter().chain(&self.disks) {
            let host = self.sim.host(name);
            if !host.is_up() {
                host.restart();
            }
        }
    }
}

/// Waits for the time of a fault, and for its moment; lets it happen, and puts it right.
async fn play(sim: Sim, mut fault: Fault, place: (usize, usize)) {
    let time = |at: Duration| Instant::ZERO + at;
    let links = fault.kind.between().map_or([Link::new(); 2], |(a, b)| links_between(&sim, a, b));
    if let Some(mut moment) = fault.moment.take() {
        let sight = moment.watch(&sim, time(fault.at));
        // What does not come for long is no reason to let nothing happen.
        let latest = fault.at + PATIENCE;
        fault.at = match sim.timeout(time(latest) - sim.now(), sight).await {
            Ok((milli, nth)) => {
                sim.sleep(moment.delay).await;
                moment.nth = nth;
                fault.moment = Some(moment);
                Duration::from_nanos(milli.as_nanos())
            }
            Err(_) => latest,
        };
    } else {
        sim.sleep(time(fault.at) - sim.now()).await;
    }
    sim.world.happened(place, fault.clone());
    fault.kind.begin(&sim);
    if !fault.kind.is_brief() {
        sim.sleep(fault.lasts).await;
        sim.world.fault_is_over();
        fault.kind.end(&sim, links);
    }
}

fn links_between(sim: &Sim, a: &str, b: &str) -> [Link; 2] {
    let (a, b) = (sim.host(a), sim.host(b));
    [a.link_to(&b), b.link_to(&a)]
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
