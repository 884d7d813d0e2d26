//! Hosts, and what they send each other.

mod alarm;
mod faults;
mod line;
mod link;
mod listener;
mod stream;
mod way;

pub(crate) mod dial;

use std::collections::BTreeMap;
use std::io;
use std::task::Waker;

use hopmq::Instant;

pub(crate) use faults::Death;
pub(crate) use link::Dials;
pub use link::Link;
pub use listener::Listener;
pub use stream::Stream;

use crate::host::Program;
use crate::random::Random;
use crate::timers::Timers;
use crate::wakers::Wakers;
use line::{Line, Lines};
use link::Path;
use listener::Backlog;

/// A host, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostId(pub(crate) usize);

#[derive(Debug)]
pub(crate) struct Network {
    hosts: Vec<Machine>,
    /// What the network is like where nothing else is said.
    link: Link,
    paths: BTreeMap<(HostId, HostId), Path>,
    lines: Lines,
    /// The port of the last connection's client.
    last_port: u16,
    random: Random,
    /// Woken when anything changes that may let a dial go on.
    waiting: Vec<Waker>,
}

/// What a host is.
#[derive(Debug)]
struct Machine {
    name: String,
    power: Power,
    is_frozen: bool,
    /// Who accepts, by port.
    ports: BTreeMap<u16, Backlog>,
    /// What runs there, again after a restart.
    programs: Vec<Program>,
}

/// What of a host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    On,
    /// Its kernel, and nothing else.
    Killed,
    Off,
}

impl HostId {
    /// Outside of all hosts, where the test itself is.
    pub(crate) const NOWHERE: Self = Self(usize::MAX);
}

impl Network {
    pub(crate) const fn new(link: Link, random: Random) -> Self {
        Self {
            hosts: Vec::new(),
            link,
            paths: BTreeMap::new(),
            lines: Lines::new(),
            last_port: 49_151, // the dynamic ports are behind it (RFC 6335, section 6)
            random,
            waiting: Vec::new(),
        }
    }

    /// The host of this name, whose case does not matter.
    pub(crate) fn find(&self, name: &str) -> Option<HostId> {
        self.hosts.iter().position(|host| host.name.eq_ignore_ascii_case(name)).map(HostId)
    }

    pub(crate) fn add(&mut self, name: &str) -> HostId {
        self.hosts.push(Machine {
            name: name.to_owned(),
            power: Power::On,
            is_frozen: false,
            ports: BTreeMap::new(),
            programs: Vec::new(),
        });
        HostId(self.hosts.len() - 1)
    }

    pub(crate) fn name(&self, host: HostId) -> &str {
        self.hosts.get(host.0).map_or("the test", |host| &host.name)
    }

    fn power(&self, host: HostId) -> Power {
        let elsewhere = if host == HostId::NOWHERE { Power::On } else { Power::Off };
        self.hosts.get(host.0).map_or(elsewhere, |host| host.power)
    }

    /// Whether tasks run there.
    pub(crate) fn is_up(&self, host: HostId) -> bool {
        self.power(host) == Power::On
    }

    /// Whether anybody answers there: its kernel at least.
    fn has_kernel(&self, host: HostId) -> bool {
        self.power(host) != Power::Off
    }

    /// What fails on a host that is down.
    pub(crate) fn is_down(&self, host: HostId) -> io::Error {
        io::Error::new(io::ErrorKind::NotConnected, format!("host {} is down", self.name(host)))
    }

    pub(crate) fn is_frozen(&self, host: HostId) -> bool {
        self.hosts.get(host.0).is_some_and(|host| host.is_frozen)
    }

    pub(crate) fn add_program(&mut self, host: HostId, program: Program) {
        if let Some(host) = self.hosts.get_mut(host.0) {
            host.programs.push(program);
        }
    }

    /// Takes out the broker that was shut down before another took its port; to be dropped without the lock.
    pub(crate) fn take_brokers(&mut self, host: HostId) -> Vec<Program> {
        let programs = self.hosts.get_mut(host.0).map(|host| &mut host.programs);
        let is_broker = |program: &mut Program| matches!(program, Program::Broker(_));
        programs.map(|programs| programs.extract_if(.., is_broker).collect()).unwrap_or_default()
    }

    pub(crate) fn programs(&self, host: HostId) -> Vec<Program> {
        self.hosts.get(host.0).map(|host| host.programs.clone()).unwrap_or_default()
    }

    pub(crate) fn take_programs(&mut self) -> Vec<Program> {
        self.hosts.iter_mut().flat_map(|host| std::mem::take(&mut host.programs)).collect()
    }

    fn path(&self, from: HostId, to: HostId) -> Path {
        let path = self.paths.get(&(from, to)).copied();
        path.unwrap_or_else(|| Path::new(if from == to { Link::loopback() } else { self.link }))
    }

    /// Changes what the network is like from one host to another.
    fn change(&mut self, from: HostId, to: HostId, change: impl FnOnce(&mut Path)) {
        let mut path = self.path(from, to);
        change(&mut path);
        self.paths.insert((from, to), path);
    }

    /// The network is like this from now on, also for what has not been sent yet. False when it was.
    pub(crate) fn set_link(
        &mut self,
        from: HostId,
        to: HostId,
        link: Link,
        timers: &mut Timers,
        now: Instant,
        wakers: &mut Wakers,
    ) -> bool {
        let was = self.link(from, to);
        if was == link {
            return false;
        }
        self.change(from, to, |path| path.link = link);
        let path = self.path(from, to);
        let Self { lines, random, .. } = self;
        for way in lines.ways(from, to) {
            way.change(&was, &path, now, random);
            way.arm(timers, now, wakers);
        }
        true
    }

    pub(crate) fn link(&self, from: HostId, to: HostId) -> Link {
        self.path(from, to).link
    }

    /// Opens a connection to who accepts there, who need not have accepted it yet. None when nobody does, or too many wait.
    fn connect(&mut self, from: HostId, to: HostId, port: u16, wakers: &mut Wakers) -> Option<u64> {
        let (there, back) = (self.path(from, to).link, self.path(to, from).link);
        self.last_port = self.last_port.checked_add(1).unwrap_or(49_152);
        let backlog = self.hosts.get_mut(to.0)?.ports.get_mut(&port)?;
        let number = self.lines.next_number();
        wakers.wake(backlog.push(number)?);
        self.lines.insert(number, Line::new(from, to, self.last_port, &there, &back));
        Some(number)
    }

    /// Whether so many wait to be accepted that the kernel takes no more.
    fn is_full(&self, host: HostId, port: u16) -> bool {
        let backlog = self.hosts.get(host.0).and_then(|host| host.ports.get(&port));
        backlog.is_some_and(Backlog::is_full)
    }

    /// Everybody who waits for anything, for it will not come; to be dropped without the lock.
    pub(crate) fn end(&mut self) -> impl Sized + use<> {
        let ports = self.hosts.iter_mut().map(|host| {
            host.power = Power::Off;
            std::mem::take(&mut host.ports)
        });
        (ports.collect::<Vec<_>>(), self.lines.take(), std::mem::take(&mut self.waiting))
    }

    pub(crate) fn wait(&mut self, waker: &Waker, wakers: &mut Wakers) {
        if !self.waiting.iter().any(|kept| kept.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
        // A dial that was given up leaves its waker here until the next change.
        if self.waiting.len() > 1024 {
            wakers.wake(std::mem::take(&mut self.waiting));
        }
    }

    /// Whether something that is sent now reaches the other host; when, if so.
    fn reaches(&mut self, from: HostId, to: HostId, now: Instant) -> Option<Instant> {
        let path = self.path(from, to);
        let is_open = !path.is_partitioned && self.has_kernel(to);
        is_open.then(|| now + path.link.delay(&mut self.random))
    }
}
