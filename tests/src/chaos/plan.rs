//! What a run is: drawn from its seed, all of it, before it begins.

use std::fmt;
use std::time::Duration;

use super::client::WhenLost;
use super::history::QueueKind;
use super::proxy::{Fault, Side};
use crate::world::rng::Rng;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// On the network.
    Network(Fault),
    /// The administrator closes the connections of the virtual host.
    CloseAll,
    /// A queue is deleted under its consumers.
    DeleteQueue(usize),
    /// The virtual host is deleted, and made again after so long.
    VhostGone(Duration),
    /// The node runs short of memory for so long.
    Alarm(Duration),
    /// The node is killed, and started again.
    Kill,
    /// The node is stopped and started again.
    Restart,
}

impl Trouble {
    /// What it is counted as.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Network(fault) => fault.kind(),
            Self::CloseAll => "closed-by-administrator",
            Self::DeleteQueue(_) => "queue-deleted",
            Self::VhostGone(_) => "vhost-gone",
            Self::Alarm(_) => "memory-alarm",
            Self::Kill => "node-killed",
            Self::Restart => "node-restarted",
        }
    }

    /// Whether connections are lost by it.
    #[must_use]
    pub const fn loses(&self) -> bool {
        match self {
            Self::Network(fault) => fault.loses(),
            Self::DeleteQueue(_) | Self::Alarm(_) => false,
            Self::CloseAll | Self::VhostGone(_) | Self::Kill | Self::Restart => true,
        }
    }
}

/// What the client is given to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints {
    /// One.
    One,
    /// One that refuses for ever, and one that is there.
    FirstDown,
    /// Two that are there; a fault concerns one of them, and from the middle of the run on one of them refuses.
    Two,
}

/// How it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// With a node that is there.
    Up,
    /// Nobody listens for the first while.
    Refused(Duration),
    /// The node itself is started only when the client is dialling.
    NodeDown,
}

/// A publisher.
#[derive(Debug, Clone, Copy)]
pub struct PublisherPlan {
    /// The queue it publishes to.
    pub queue: usize,
    /// How many confirms may be missing.
    pub window: usize,
    /// The longest pause between two messages.
    pub pause: Duration,
    /// Bodies have up to so many bytes, now and then.
    pub largest: usize,
    /// What is to become of its publishes at a loss.
    pub when_lost: WhenLost,
}

/// A queue and its consumers.
#[derive(Debug, Clone, Copy)]
pub struct QueuePlan {
    /// How long it lives.
    pub kind: QueueKind,
    /// How many consumers it has.
    pub consumers: usize,
    /// Their prefetch.
    pub prefetch: u16,
    /// How many deliveries each keeps before it acknowledges the first.
    pub held: usize,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// Whether publishers and consumers share a connection.
    pub one_connection: bool,
    /// Seconds between heartbeats.
    pub heartbeat: u16,
    /// What the client is given to connect to.
    pub endpoints: Endpoints,
    /// How it begins.
    pub beginning: Beginning,
    /// The queues.
    pub queues: Vec<QueuePlan>,
    /// The publishers.
    pub publishers: Vec<PublisherPlan>,
    /// What goes wrong, one after the other, each so long after the one before.
    pub troubles: Vec<(Duration, Trouble)>,
}

/// What the server of a run can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Whether the node is ours to stop, kill and starve.
    pub may_break: bool,
}

impl Plan {
    /// The run of a seed.
    #[must_use]
    pub fn new(seed: u64, server: Server) -> Self {
        let mut rng = Rng::new(seed);
        let queues: Vec<QueuePlan> = (0..rng.between(1, 3)).map(|_| queue(&mut rng)).collect();
        let publishers = (0..rng.between(1, 3)).map(|_| publisher(&mut rng, queues.len())).collect();
        let one_connection = rng.percent(40);
        let heartbeat = rng.pick(&[1, 2, 2, 4]);
        let endpoints = match rng.below(10) {
            0 => Endpoints::FirstDown,
            1 => Endpoints::Two,
            _ => Endpoints::One,
        };
        let beginning = match rng.below(40) {
            0 if server.may_break => Beginning::NodeDown,
            0..5 => Beginning::Refused(millis(&mut rng, 300, 2500)),
            _ => Beginning::Up,
        };
        let count = rng.between(1, 4);
        let broken = server.may_break && rng.percent(12);
        let mut troubles: Vec<_> =
            (0..count).map(|_| (millis(&mut rng, 200, 2000), trouble(&mut rng, &queues))).collect();
        if broken {
            // In place of the first, so that few of them make a run long.
            let trouble = match rng.below(5) {
                0 | 1 => Trouble::Kill,
                2 | 3 => Trouble::Restart,
                _ => Trouble::Alarm(millis(&mut rng, 500, 3000)),
            };
            if let Some(first) = troubles.first_mut() {
                first.1 = trouble;
            }
        }
        Self { seed, one_connection, heartbeat, endpoints, beginning, queues, publishers, troubles }
    }
}

fn queue(rng: &mut Rng) -> QueuePlan {
    let kind = match rng.below(10) {
        0..5 => QueueKind::Durable,
        5 | 6 => QueueKind::Quorum,
        7 | 8 => QueueKind::Exclusive,
        _ => QueueKind::ServerNamed,
    };
    // A server-named queue has the consumer that declared it.
    let consumers = if kind == QueueKind::ServerNamed { 1 } else { rng.between(1, 3) };
    let prefetch = rng.pick(&[2, 10, 50, 200]);
    let held = rng.below(u64::from(prefetch).min(20));
    QueuePlan { kind, consumers: small(consumers), prefetch, held: small(held) }
}

fn publisher(rng: &mut Rng, queues: usize) -> PublisherPlan {
    let when_lost = match rng.below(6) {
        0 => WhenLost::Hold,
        1 => WhenLost::Fail,
        _ => WhenLost::Resend,
    };
    PublisherPlan {
        queue: rng.index(queues),
        window: rng.pick(&[1, 10, 100, 500]),
        pause: millis(rng, 5, 40),
        largest: rng.pick(&[100, 2_000, 20_000, 200_000]),
        when_lost,
    }
}

fn trouble(rng: &mut Rng, queues: &[QueuePlan]) -> Trouble {
    let side = rng.pick(&[Side::Up, Side::Down]);
    let after = rng.pick(&[0, 1, 7, 20, 300, 5_000]) * rng.between(0, 3);
    let network = match rng.below(24) {
        0..4 => Fault::Cut { side, after },
        4..8 => Fault::Reset { side, after },
        8 => Fault::Stall { up: true, down: true, time: millis(rng, 200, 5000) },
        9 => Fault::Stall { up: true, down: false, time: millis(rng, 200, 5000) },
        10 => Fault::Stall { up: false, down: true, time: millis(rng, 200, 5000) },
        11 => Fault::Throttle { rate: rng.pick(&[2_000, 20_000, 200_000]), time: millis(rng, 500, 3000) },
        12 => Fault::SingleBytes { time: millis(rng, 300, 2000) },
        13 => Fault::HalfClose { side, time: millis(rng, 100, 2000) },
        14 | 15 => Fault::Refuse { time: millis(rng, 100, 4000) },
        16 => Fault::Silent { time: millis(rng, 100, 3000), reset: rng.percent(50) },
        17..20 => Fault::Orphan { time: millis(rng, 100, 4000) },
        20 | 21 => return Trouble::CloseAll,
        22 => {
            let queue = rng.index(queues.len());
            let known = queues.get(queue).is_some_and(|it| it.kind != QueueKind::ServerNamed);
            return if known { Trouble::DeleteQueue(queue) } else { Trouble::CloseAll };
        }
        _ => return Trouble::VhostGone(millis(rng, 100, 2500)),
    };
    Trouble::Network(network)
}

fn millis(rng: &mut Rng, low: u64, high: u64) -> Duration {
    Duration::from_millis(rng.between(low, high))
}

fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

/// As a run is told to whoever replays it.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, one_connection, heartbeat, endpoints, beginning, .. } = self;
        writeln!(
            f,
            "seed {seed}: {} connection(s), heartbeat {heartbeat} s, endpoints {endpoints:?}, begins {beginning:?}",
            if *one_connection { 1 } else { 2 }
        )?;
        for (n, queue) in self.queues.iter().enumerate() {
            writeln!(f, "  queue {n}: {queue:?}")?;
        }
        for (n, publisher) in self.publishers.iter().enumerate() {
            writeln!(f, "  publisher {n}: {publisher:?}")?;
        }
        for (pause, trouble) in &self.troubles {
            writeln!(f, "  {pause:?} later: {trouble:?}")?;
        }
        Ok(())
    }
}
