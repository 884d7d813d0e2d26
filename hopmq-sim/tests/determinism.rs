//! The same seed makes the same world, to the last byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hopmq_sim::{BrokerConfig, Connection, Disk, Host, Link, Random, RunError, Sim};

const MESSAGES: u64 = 60;

fn millis(random: &mut Random, low: u64, high: u64) -> Duration {
    Duration::from_millis(random.between(low, high))
}

/// Consumes and acknowledges, and keeps what it saw.
async fn consume(host: Host, seen: Arc<Mutex<Vec<String>>>) {
    loop {
        let Ok(connection) = host.connect("amqp://rabbit?recovery=always&heartbeat=5").await else {
            continue;
        };
        if work(&host, &connection, &seen).await.is_none() {
            connection.abort();
            host.sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn work(host: &Host, connection: &Connection, seen: &Mutex<Vec<String>>) -> Option<()> {
    let channel = connection.open_channel().await.ok()?;
    channel.declare_queue("q").durable().await.ok()?;
    let mut deliveries = channel.consume("q").prefetch(5).await.ok()?;
    while let Some(delivery) = deliveries.next().await {
        host.sleep(Duration::from_millis(3)).await;
        seen.lock().unwrap().push(String::from_utf8_lossy(delivery.body()).into_owned());
        delivery.ack().ok();
    }
    None
}

async fn publish(host: &Host, from: u64, random: &mut Random) {
    let connection = host.connect("amqp://rabbit?recovery=always&heartbeat=5").await.expect("a connection");
    let channel = connection.open_channel().await.expect("a channel");
    channel.declare_queue("q").durable().await.expect("a queue");
    let publisher = channel.publisher().await.expect("a publisher");
    for n in 0..MESSAGES {
        let size = random.between(1, 3000) as usize;
        let body = format!("{from}:{n}:{}", "x".repeat(size));
        publisher.publish("q", body).await.expect("a confirm");
        if random.percent(30) {
            host.sleep(millis(random, 1, 500)).await;
        }
    }
}

/// Trouble of every kind.
async fn trouble(sim: &Sim, random: &mut Random) {
    let hosts = ["one", "two", "shop"].map(|name| sim.host(name));
    let rabbit = sim.host("rabbit");
    for _ in 0..random.between(1, 8) {
        sim.sleep(millis(random, 10, 4000)).await;
        let host = random.pick(&hosts).expect("there are three");
        match random.below(8) {
            0 => host.cut(&rabbit),
            1 => rabbit.lose(host),
            2 => host.lose(&rabbit),
            3 => {
                host.partition(&rabbit);
                sim.sleep(millis(random, 100, 15_000)).await;
                host.heal(&rabbit);
            }
            4 => {
                rabbit.crash();
                sim.sleep(millis(random, 100, 5000)).await;
                rabbit.restart();
            }
            5 => {
                hosts[0].kill();
                sim.sleep(millis(random, 100, 5000)).await;
                hosts[0].restart();
            }
            6 => {
                rabbit.freeze();
                sim.sleep(millis(random, 100, 12_000)).await;
                rabbit.thaw();
            }
            _ => host.set_link(&rabbit, Link::new().bandwidth(random.between(2_000, 1_000_000)).segment(7)),
        }
    }
}

struct Run {
    hash: u64,
    events: String,
    at: Duration,
    seen: Vec<String>,
}

fn run(seed: u64) -> Run {
    let sim = Sim::builder(seed).time_limit(Duration::from_secs(3600)).kept_events(100_000).build();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let result = sim.run(async {
        let mut random = sim.random();
        sim.host("rabbit").broker(BrokerConfig::default()).expect("a broker");
        for name in ["one", "two"] {
            let seen = seen.clone();
            sim.host(name).start(move |host| consume(host, seen.clone()));
        }
        let shop = sim.host("shop");
        let mut choices = sim.random();
        let host = shop.clone();
        let publishing = shop.spawn(async move { publish(&host, 1, &mut choices).await });
        trouble(&sim, &mut random).await;
        publishing.await.expect("nobody crashes the shop");
        while seen.lock().unwrap().iter().collect::<BTreeSet<_>>().len() < MESSAGES as usize {
            sim.sleep(Duration::from_millis(100)).await;
        }
    });
    let seen = seen.lock().unwrap().clone();
    if let Err(error) = result {
        panic!("seed {seed}: {error}\nseen {}\n{}", seen.len(), sim.last_events());
    }
    Run {
        hash: sim.trace_hash(),
        events: sim.last_events(),
        at: Duration::from_nanos(sim.now().as_nanos()),
        seen,
    }
}

#[test]
fn the_same_seed_makes_the_same_world_and_another_seed_another() {
    let mut hashes = BTreeSet::new();
    for seed in 1..=40 {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first.events, second.events, "seed {seed}");
        assert_eq!((first.hash, first.at), (second.hash, second.at), "seed {seed}");
        assert_eq!(first.seen, second.seen, "seed {seed}");
        hashes.insert(first.hash);
    }
    assert_eq!(hashes.len(), 40);
}

#[test]
fn what_is_random_outside_of_the_world_shows_in_the_hash() {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let run = || {
        let sim = Sim::new(1);
        let nanos = RandomState::new().build_hasher().finish() % 1_000_000;
        sim.run(sim.sleep(Duration::from_nanos(nanos))).expect("it ends");
        sim.trace_hash()
    };
    let hashes: BTreeSet<_> = (0..10).map(|_| run()).collect();
    assert!(hashes.len() > 1);
}

#[test]
fn a_world_that_stands_still_says_who_waits() {
    let sim = Sim::new(1);
    let host = sim.host("h");
    let _waiting = host.spawn(std::future::pending::<()>());
    let error = sim.run(std::future::pending::<()>()).expect_err("nothing happens");
    let RunError::Stalled { .. } = error else { panic!("{error}") };
    let text = error.to_string();
    assert!(text.contains("a task of h, spawned at hopmq-sim/tests/determinism.rs:"), "{text}");
    assert_eq!(sim.run(async {}), Err(RunError::Over { seed: sim.seed() }));
}

#[test]
fn a_world_has_limits_of_time_and_steps() {
    let sim = Sim::builder(1).time_limit(Duration::from_secs(10)).build();
    let waits = sim.run(async {
        loop {
            sim.sleep(Duration::from_secs(1)).await;
        }
    });
    let Err(RunError::OutOfTime { .. }) = waits else { panic!("{waits:?}") };
    let sim = Sim::builder(1).step_limit(1000).build();
    let spins: Result<(), _> = sim.run(std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    }));
    let Err(RunError::OutOfSteps { .. }) = spins else { panic!("{spins:?}") };
}

#[test]
fn an_hour_with_heartbeats_passes() {
    let sim = Sim::new(1);
    sim.run(async {
        let broker = sim.host("rabbit").broker(BrokerConfig::default()).expect("a broker");
        let connection = sim.host("a").connect("amqp://rabbit?heartbeat=2").await.expect("a connection");
        sim.sleep(Duration::from_secs(3600)).await;
        assert!(connection.close_reason().is_none());
        assert_eq!(broker.connections(), 1);
        broker.crash(Disk::Lost);
    })
    .expect("it ends");
    assert!(sim.now().as_nanos() >= 3_600_000_000_000);
}
