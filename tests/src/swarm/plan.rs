//! What a seed has.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Duration;

use hopmq_sim::{
    Backoff, BrokerConfig, ConnectOptions, ExchangeKind, Heartbeat, Link, Random, Recovery, RecoveryMode,
    WhenLost,
};

use super::mangler::Habits;
use crate::chaos::history::QueueKind;

/// Everything that is drawn before a world begins.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) broker: BrokerConfig,
    pub(super) link: Link,
    /// How many machines the clients are on.
    pub(super) hosts: usize,
    pub(super) clients: Vec<ClientPlan>,
    pub(super) queues: Vec<QueuePlan>,
    pub(super) publishers: Vec<PublisherPlan>,
    pub(super) consumers: Vec<ConsumerPlan>,
    /// The client that serves requests and the one that makes them.
    pub(super) rpc: Option<[usize; 2]>,
    pub(super) troubles: Vec<Trouble>,
    /// How many of them happen, one after the other.
    pub(super) count: u64,
    /// Milliseconds from one to the next, at most.
    pub(super) pause: u64,
}

/// One connection that comes back, or is made anew.
#[derive(Debug, Clone)]
pub(super) struct ClientPlan {
    pub(super) host: usize,
    pub(super) options: ConnectOptions,
    /// When it comes back.
    pub(super) mode: RecoveryMode,
    /// What stands between it and the broker.
    pub(super) habits: Option<Habits>,
    /// Somebody uses it for other things.
    pub(super) meddles: bool,
    /// Somebody closes it every now and then.
    pub(super) closes: bool,
}

#[derive(Debug, Clone)]
pub(super) struct QueuePlan {
    pub(super) kind: QueueKind,
    pub(super) name: String,
    pub(super) exchange: Exchange,
    /// It is taken from without acknowledgements.
    pub(super) is_lossy: bool,
    /// Its consumer is the only one who ever takes from it.
    pub(super) is_alone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    Default,
    Direct,
    Topic,
    Fanout,
}

#[derive(Debug, Clone)]
pub(super) struct PublisherPlan {
    pub(super) client: usize,
    pub(super) queue: usize,
    pub(super) mode: Mode,
    pub(super) when_lost: WhenLost,
    pub(super) mandatory: bool,
    pub(super) transient: bool,
    pub(super) window: usize,
    pub(super) largest: u64,
    /// Milliseconds between two messages, at most.
    pub(super) pause: u64,
    pub(super) count: u64,
}

/// How a message is published, and what is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// One after the other.
    Await,
    /// Some at once, each with its confirm.
    Window,
    /// When there is room, and not otherwise.
    Try,
    /// Some at once, and then all of their confirms.
    All,
    /// Nobody waits to the end.
    Drop,
    /// Without confirms.
    Plain,
}

#[derive(Debug, Clone)]
pub(super) struct ConsumerPlan {
    pub(super) client: usize,
    pub(super) queue: usize,
    pub(super) prefetch: u16,
    pub(super) no_ack: bool,
    /// How many it has taken and not settled yet.
    pub(super) held: usize,
    /// It settles all that it holds at once.
    pub(super) multiple: bool,
    /// Of a hundred, how many are put back, thrown away, or dropped.
    pub(super) requeues: u64,
    pub(super) rejects: u64,
    pub(super) drops: u64,
    /// Milliseconds that a message takes, at most.
    pub(super) slow: u64,
    /// It takes by `get`.
    pub(super) gets: bool,
    /// Of a hundred messages, after how many it starts anew.
    pub(super) restarts: u64,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Cut,
    HalfOpenClient,
    HalfOpenBroker,
    Partition,
    OneWay,
    Slow,
    Refuse,
    Swallow,
    Crash,
    Kill,
    Wipe,
    CrashClient,
    FreezeBroker,
    FreezeClient,
    Delete,
    /// The broker closes every connection.
    Close,
    /// It holds publishers back.
    Alarm,
    /// It nacks what is published.
    Nack,
}

impl Trouble {
    const ALL: [Self; 18] = [
        Self::Cut,
        Self::HalfOpenClient,
        Self::HalfOpenBroker,
        Self::Partition,
        Self::OneWay,
        Self::Slow,
        Self::Refuse,
        Self::Swallow,
        Self::Crash,
        Self::Kill,
        Self::Wipe,
        Self::CrashClient,
        Self::FreezeBroker,
        Self::FreezeClient,
        Self::Delete,
        Self::Close,
        Self::Alarm,
        Self::Nack,
    ];

    /// Whether somebody is left who is not told that the other side is gone: without heartbeats nobody ever would be.
    const fn is_silent(self) -> bool {
        matches!(
            self,
            Self::HalfOpenClient | Self::HalfOpenBroker | Self::Crash | Self::Wipe | Self::CrashClient
        )
    }
}

/// One of these.
pub(super) fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len() as u64) as usize]
}

fn secs(random: &mut Random, choices: &[u64]) -> Duration {
    Duration::from_secs(pick(random, choices))
}

impl Plan {
    pub(super) fn draw(seed: u64, random: &mut Random) -> Self {
        let share = pick(random, &[10, 30, 60]);
        let mut troubles = Trouble::ALL.to_vec();
        troubles.retain(|_| random.percent(share));
        if random.percent(5) {
            troubles.clear();
        }
        let hosts = random.between(1, 2) as usize;
        let clients = (0..random.between(1, 3)).map(|_| client(random, hosts, &troubles)).collect();
        let mut plan = Self {
            broker: broker(seed, random),
            link: link(random),
            hosts,
            clients,
            queues: Vec::new(),
            publishers: Vec::new(),
            consumers: Vec::new(),
            rpc: None,
            count: if troubles.is_empty() { 0 } else { random.between(1, 8) },
            troubles,
            pause: pick(random, &[200, 2_000, 8_000]),
        };
        for _ in 0..random.between(1, 3) {
            plan.queue(random);
        }
        plan.rpc = random.percent(30).then(|| [plan.any_client(random), plan.any_client(random)]);
        plan
    }

    /// The numbers of some publishers.
    pub(super) fn publishers_that(&self, are: impl Fn(&PublisherPlan) -> bool) -> BTreeSet<u16> {
        (0..).zip(&self.publishers).filter(|(_, it)| are(it)).map(|(number, _)| number).collect()
    }

    fn any_client(&self, random: &mut Random) -> usize {
        random.below(self.clients.len() as u64) as usize
    }

    /// A queue with those who use it.
    fn queue(&mut self, random: &mut Random) {
        let number = self.queues.len();
        let kinds = [QueueKind::Durable, QueueKind::Durable, QueueKind::Exclusive, QueueKind::ServerNamed];
        let kind = pick(random, &kinds);
        let exchanges = [Exchange::Default, Exchange::Direct, Exchange::Topic, Exchange::Fanout];
        // Nobody else knows the name that the server gives.
        let choice = if kind == QueueKind::ServerNamed { &exchanges[1..] } else { &exchanges[..] };
        let queue = QueuePlan {
            kind,
            name: if kind == QueueKind::ServerNamed { String::new() } else { format!("q{number}") },
            exchange: pick(random, choice),
            is_lossy: kind == QueueKind::Durable && random.percent(8),
            is_alone: random.percent(30),
        };
        for _ in 0..random.between(1, 2) {
            let publisher = self.publisher(number, random);
            self.publishers.push(publisher);
        }
        let shared = kind == QueueKind::Durable && !queue.is_alone;
        for _ in 0..random.between(1, if shared { 2 } else { 1 }) {
            self.consumers.push(self.consumer(number, &queue, random));
        }
        self.queues.push(queue);
    }

    fn publisher(&self, queue: usize, random: &mut Random) -> PublisherPlan {
        let modes = [Mode::Await, Mode::Window, Mode::Window, Mode::Try, Mode::All, Mode::Drop, Mode::Plain];
        PublisherPlan {
            client: self.any_client(random),
            queue,
            mode: pick(random, &modes),
            when_lost: pick(random, &[WhenLost::Resend, WhenLost::Resend, WhenLost::Hold, WhenLost::Fail]),
            mandatory: random.percent(60),
            transient: random.percent(10),
            window: pick(random, &[1, 3, 10, 30]),
            largest: pick(random, &[20, 200, 3_000, 30_000]),
            pause: pick(random, &[1, 100, 1_500]),
            count: random.between(5, 40),
        }
    }

    fn consumer(&self, number: usize, queue: &QueuePlan, random: &mut Random) -> ConsumerPlan {
        let prefetches = if queue.is_alone { [1, 1, 2, 5, 20] } else { [0, 1, 2, 5, 20] };
        let prefetch = pick(random, &prefetches);
        let most = if prefetch == 0 { 20 } else { u64::from(prefetch) };
        ConsumerPlan {
            client: self.any_client(random),
            queue: number,
            prefetch,
            no_ack: queue.is_lossy,
            held: random.below(most) as usize,
            multiple: random.percent(30),
            requeues: pick(random, &[0, 0, 10, 40]),
            rejects: pick(random, &[0, 0, 5]),
            // Who starts anew gets another queue where the server names it.
            drops: if queue.kind == QueueKind::ServerNamed { 0 } else { pick(random, &[0, 0, 10]) },
            slow: pick(random, &[0, 0, 20, 2_000]),
            gets: !queue.is_alone
                && !queue.is_lossy
                && queue.kind == QueueKind::Durable
                && random.percent(15),
            restarts: pick(random, &[0, 0, 4]),
        }
    }
}

fn broker(seed: u64, random: &mut Random) -> BrokerConfig {
    BrokerConfig {
        seed: seed | 1,
        heartbeat: secs(random, &[2, 10, 60]),
        max_outbox_bytes: pick(random, &[2_000, 20_000, 1 << 20]),
        frame_max: pick(random, &[8192, 20_000, 131_072]),
        channel_max: pick(random, &[20, 2047]),
        max_unacked_per_channel: pick(random, &[3, 1_000_000]),
        ..BrokerConfig::default()
    }
}

fn link(random: &mut Random) -> Link {
    let millis = Duration::from_millis;
    Link::new()
        .latency(Duration::from_micros(pick(random, &[50, 500, 500, 20_000])))
        .jitter(pick(random, &[Duration::ZERO, Duration::from_micros(500), millis(50)]))
        .window(pick(random, &[1_000, 20_000, 256 * 1024, 256 * 1024]))
        .segment(pick(random, &[7, 1_000, usize::MAX, usize::MAX, usize::MAX]))
}

fn client(random: &mut Random, hosts: usize, troubles: &[Trouble]) -> ClientPlan {
    let seconds = |seconds| Heartbeat::Seconds(NonZeroU16::new(seconds).unwrap_or(NonZeroU16::MIN));
    let mut heartbeats = vec![Heartbeat::Server, seconds(1), seconds(5), seconds(20)];
    if !troubles.iter().any(|trouble| trouble.is_silent()) {
        heartbeats.push(Heartbeat::Off);
    }
    let modes = [RecoveryMode::Always, RecoveryMode::AfterFirstSuccess, RecoveryMode::AfterFirstSuccess];
    let mode = if random.percent(8) { RecoveryMode::Off } else { pick(random, &modes) };
    let recovery = Recovery {
        mode,
        backoff: Backoff {
            initial: Duration::from_millis(pick(random, &[10, 100, 2000])),
            factor: pick(random, &[1, 2, 3]),
            max: secs(random, &[1, 5]),
            jitter_percent: pick(random, &[0, 50, 100]),
        },
        max_rounds: random.percent(5).then_some(3),
        max_elapsed: Some(secs(random, &[20, 3600, 3600, 3600])),
        stable_after: secs(random, &[0, 1, 30]),
        shuffle: random.percent(30),
        max_unconfirmed_bytes: pick(random, &[5_000, 1 << 20, 64 << 20]),
        message_ids: random.percent(20),
        ..Recovery::default()
    };
    let mut options = ConnectOptions::new()
        .host("rabbit")
        .recovery(recovery)
        .heartbeat(pick(random, &heartbeats))
        .frame_max(pick(random, &[0, 8192, 131_072]))
        .connect_timeout(secs(random, &[3, 10]))
        .call_timeout(secs(random, &[4, 20]))
        .publish_timeout(secs(random, &[2, 20]))
        .confirm_timeout(secs(random, &[5, 60]))
        .close_timeout(secs(random, &[2, 10]));
    options.config.max_outbox = pick(random, &[1, 3_000, 1 << 20, 1 << 20]);
    options.config.max_unconfirmed = pick(random, &[1, 5, 65_536, 65_536]);
    options.config.max_calls = pick(random, &[4, 1024, 1024]);
    options.config.max_event_bytes = pick(random, &[1, 5_000, 4 << 20]);
    ClientPlan {
        host: random.below(hosts as u64) as usize,
        habits: random.percent(50).then(|| Habits::draw(random, options.config.heartbeat)),
        options,
        mode,
        meddles: random.percent(40),
        closes: random.percent(15),
    }
}

impl QueuePlan {
    /// What the checker is told: a message that nobody acknowledges may be lost as one in an exclusive queue is.
    pub(super) const fn counts_as(&self) -> QueueKind {
        if self.is_lossy { QueueKind::Exclusive } else { self.kind }
    }

    /// What messages for it are published to: exchange and routing key.
    pub(super) fn address(&self, number: usize) -> (&'static str, String) {
        match self.exchange {
            Exchange::Default => ("", self.name.clone()),
            Exchange::Direct => ("direct", format!("k{number}")),
            Exchange::Topic => ("topic", format!("k{number}.a.b")),
            Exchange::Fanout => (FANOUTS[number % FANOUTS.len()], String::new()),
        }
    }

    /// What it is bound by, unless by its name alone.
    pub(super) fn binding(&self, number: usize) -> Option<(&'static str, ExchangeKind, String)> {
        let (exchange, key) = self.address(number);
        Some(match self.exchange {
            Exchange::Default => return None,
            Exchange::Direct => (exchange, ExchangeKind::Direct, key),
            Exchange::Topic => (exchange, ExchangeKind::Topic, format!("k{number}.#")),
            Exchange::Fanout => (exchange, ExchangeKind::Fanout, key),
        })
    }
}

/// One for each queue.
const FANOUTS: [&str; 3] = ["fanout-0", "fanout-1", "fanout-2"];
