use std::fmt;
use std::time::Duration;

use super::moment::{Does, Moment};
use crate::host::Host;
use crate::network::Link;
use crate::sim::Sim;

/// What clients are told.
const BLOCKED: &str = "low on memory";
const CLOSED: &str = "closed by an administrator";

type Broker = hopmq::Broker<Host>;

/// Something that goes wrong for a while, and is put right then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When, in the time of the world; at the beginning of the trouble at the earliest.
    pub at: Duration,
    /// What it waits for from then on, for 5 s at most: then it happens all the same.
    pub moment: Option<Moment>,
    /// For how long. Nothing where it is over at once, as a cut is.
    pub lasts: Duration,
    /// What it is.
    pub kind: FaultKind,
}

/// What can go wrong: with hosts, by their names, or between two of them. Where it is not said, in both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// [`Host::crash`](crate::Host::crash), then [`restart`](crate::Host::restart).
    Crash(String),
    /// [`Host::kill`](crate::Host::kill), then [`restart`](crate::Host::restart).
    Kill(String),
    /// [`Host::wipe`](crate::Host::wipe), then [`restart`](crate::Host::restart).
    Wipe(String),
    /// [`Host::freeze`](crate::Host::freeze), then [`thaw`](crate::Host::thaw).
    Freeze(String),
    /// The broker there closes every connection: [`Broker::close_connections`](hopmq::Broker::close_connections).
    Close(String),
    /// The broker there holds publishers back: [`Broker::block`](hopmq::Broker::block), then
    /// [`unblock`](hopmq::Broker::unblock).
    Block(String),
    /// The broker there nacks what is published: [`Broker::refuse_publishes`](hopmq::Broker::refuse_publishes), then
    /// [`accept_publishes`](hopmq::Broker::accept_publishes). Without confirms it is lost in silence.
    Nack(String),
    /// [`Host::cut`](crate::Host::cut).
    Cut(String, String),
    /// [`Host::lose`](crate::Host::lose): the first is told, the second is not.
    Lose(String, String),
    /// [`Host::partition`](crate::Host::partition), then [`heal`](crate::Host::heal).
    Partition(String, String),
    /// [`Host::partition_to`](crate::Host::partition_to), then [`heal`](crate::Host::heal).
    PartitionTo(String, String),
    /// A cut, and [`Host::refuse_dials`](crate::Host::refuse_dials) for a while.
    Refuse(String, String),
    /// A cut, and [`Host::swallow_dials`](crate::Host::swallow_dials) for a while.
    Swallow(String, String),
    /// [`Host::set_link`](crate::Host::set_link), then the link that was there.
    Slow(String, String, Link),
}

impl Fault {
    /// A fault that happens at this time of the world and is over at once.
    #[must_use]
    pub const fn new(at: Duration, kind: FaultKind) -> Self {
        Self { at, moment: None, lasts: Duration::ZERO, kind }
    }

    /// How long it lasts.
    #[must_use]
    pub const fn lasts(mut self, duration: Duration) -> Self {
        self.lasts = duration;
        self
    }

    /// It waits until this host does this.
    #[must_use]
    pub fn when(mut self, host: &str, does: Does) -> Self {
        self.moment = Some(Moment::new(host, does));
        self
    }

    /// All hosts that it names.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        let peer = self.kind.between().map(|(_, peer)| peer);
        let moment = self.moment.as_ref();
        let waits = moment.map(|moment| moment.host.as_str());
        let waits_for = moment.and_then(|moment| moment.peer.as_deref());
        [Some(self.kind.host()), peer, waits, waits_for].into_iter().flatten()
    }
}

impl FaultKind {
    /// Whether it is over as soon as it has happened.
    pub(super) const fn is_brief(&self) -> bool {
        matches!(self, Self::Close(_) | Self::Cut(..) | Self::Lose(..))
    }

    /// Whether it is what happens to machines, whatever runs there.
    pub(super) const fn is_of_machines(&self) -> bool {
        matches!(self, Self::Crash(_) | Self::Kill(_) | Self::Wipe(_) | Self::Freeze(_))
    }

    pub(super) fn begin(&self, sim: &Sim) {
        let host = |name: &str| sim.host(name);
        match self {
            Self::Crash(name) => host(name).crash(),
            Self::Kill(name) => host(name).kill(),
            Self::Wipe(name) => host(name).wipe(),
            Self::Freeze(name) => host(name).freeze(),
            Self::Close(name) => {
                let close = |broker: &Broker| broker.close_connections(CLOSED);
                host(name).have_brokers("closes every connection", close);
            }
            Self::Block(name) => {
                host(name).have_brokers("blocks publishers", |broker| broker.block(BLOCKED));
            }
            Self::Nack(name) => {
                host(name).have_brokers("nacks publishes", Broker::refuse_publishes);
            }
            Self::Cut(a, b) => host(a).cut(&host(b)),
            Self::Lose(a, b) => host(a).lose(&host(b)),
            Self::Partition(a, b) => host(a).partition(&host(b)),
            Self::PartitionTo(a, b) => host(a).partition_to(&host(b)),
            Self::Refuse(a, b) => {
                host(a).cut(&host(b));
                host(a).refuse_dials(&host(b));
                host(b).refuse_dials(&host(a));
            }
            Self::Swallow(a, b) => {
                host(a).cut(&host(b));
                host(a).swallow_dials(&host(b));
                host(b).swallow_dials(&host(a));
            }
            Self::Slow(a, b, link) => host(a).set_link(&host(b), *link),
        }
    }

    /// Puts it right. `before` is the links that were there, in both directions.
    pub(super) fn end(&self, sim: &Sim, before: [Link; 2]) {
        let host = |name: &str| sim.host(name);
        match self {
            Self::Crash(name) | Self::Kill(name) | Self::Wipe(name) => {
                let host = host(name);
                if !host.is_up() {
                    host.restart();
                }
            }
            Self::Freeze(name) => host(name).thaw(),
            Self::Block(name) => host(name).have_brokers("unblocks publishers", Broker::unblock),
            Self::Nack(name) => {
                host(name).have_brokers("takes publishes again", Broker::accept_publishes);
            }
            Self::Close(_) | Self::Cut(..) | Self::Lose(..) => {}
            Self::Partition(a, b) | Self::PartitionTo(a, b) => host(a).heal(&host(b)),
            Self::Refuse(a, b) | Self::Swallow(a, b) => {
                host(a).answer_dials(&host(b));
                host(b).answer_dials(&host(a));
            }
            Self::Slow(a, b, _) => {
                host(a).set_link_to(&host(b), before[0]);
                host(b).set_link_to(&host(a), before[1]);
            }
        }
    }

    /// The host that it concerns, or the first.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Crash(host)
            | Self::Kill(host)
            | Self::Wipe(host)
            | Self::Freeze(host)
            | Self::Close(host)
            | Self::Block(host)
            | Self::Nack(host) => host,
            _ => self.between().map_or("", |(a, _)| a),
        }
    }

    /// The two hosts between which it happens, if so.
    pub(super) fn between(&self) -> Option<(&str, &str)> {
        match self {
            Self::Crash(_)
            | Self::Kill(_)
            | Self::Wipe(_)
            | Self::Freeze(_)
            | Self::Close(_)
            | Self::Block(_)
            | Self::Nack(_) => None,
            Self::Cut(a, b)
            | Self::Lose(a, b)
            | Self::Partition(a, b)
            | Self::PartitionTo(a, b)
            | Self::Refuse(a, b)
            | Self::Swallow(a, b)
            | Self::Slow(a, b, _) => Some((a, b)),
        }
    }
}

/// `at  3.200 s  rabbit crashes, and is back after 1.000 s`, `at  3.670 s, as pay sends: pay crashes, and is back after 1.000 s`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |duration: Duration| format!("{:.3} s", duration.as_secs_f64());
        let lasts = seconds(self.lasts);
        write!(f, "at {:>9}", seconds(self.at))?;
        match &self.moment {
            Some(moment) => write!(f, ", {moment}: ")?,
            None => f.write_str("  ")?,
        }
        match &self.kind {
            FaultKind::Crash(host) => write!(f, "{host} crashes, and is back after {lasts}"),
            FaultKind::Kill(host) => write!(f, "{host} is killed, and is back after {lasts}"),
            FaultKind::Wipe(host) => {
                write!(f, "{host} crashes and loses its disk, and is back after {lasts}")
            }
            FaultKind::Freeze(host) => write!(f, "{host} freezes for {lasts}"),
            FaultKind::Close(host) => write!(f, "{host} closes every connection"),
            FaultKind::Block(host) => write!(f, "{host} blocks publishers for {lasts}"),
            FaultKind::Nack(host) => write!(f, "{host} nacks what is published for {lasts}"),
            FaultKind::Cut(a, b) => write!(f, "connections between {a} and {b} are cut"),
            FaultKind::Lose(a, b) => {
                write!(f, "connections between {a} and {b} are gone, and {b} is not told")
            }
            FaultKind::Partition(a, b) => write!(f, "nothing gets through between {a} and {b} for {lasts}"),
            FaultKind::PartitionTo(a, b) => write!(f, "nothing gets through from {a} to {b} for {lasts}"),
            FaultKind::Refuse(a, b) => {
                write!(f, "{a} and {b} are cut off, and refuse each other's dials for {lasts}")
            }
            FaultKind::Swallow(a, b) => {
                write!(f, "{a} and {b} are cut off, and swallow each other's dials for {lasts}")
            }
            FaultKind::Slow(a, b, link) => {
                write!(f, "between {a} and {b} there is for {lasts}: {link}")
            }
        }
    }
}
