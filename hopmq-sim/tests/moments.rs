//! Faults that wait for their moment: a bug that is there for a millisecond is found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

use std::collections::BTreeSet;
use std::error::Error;
use std::io::IoSlice;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hopmq_sim::io::Transport as _;
use hopmq_sim::{BrokerConfig, Check, Connection, Does, Fault, FaultKind, Host, Instant, Link, Moment, Sim};

const URI: &str = "amqp://rabbit?recovery=always&heartbeat=5";
const REQUESTS: usize = 60;

/// Where a service acknowledges a request: the result of each is published, and must not be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acks {
    /// A bug, for as long as it stores.
    BeforeItStores,
    /// A bug, from then until the result is confirmed.
    BeforeItPublishes,
    Last,
}

/// Stores in 50 ms, publishes the result, acknowledges.
async fn serve(connection: Connection, host: Host, acks: Acks) -> Result<(), hopmq_sim::Error> {
    let channel = connection.open_channel().await?;
    for queue in ["requests", "results"] {
        channel.declare_queue(queue).durable().await?;
    }
    let publisher = channel.publisher().await?;
    let mut requests = channel.consume("requests").prefetch(10).await?;
    while let Some(request) = requests.next().await {
        let body = request.body().to_vec();
        if acks == Acks::BeforeItStores {
            request.ack().ok();
            host.sleep(Duration::from_millis(50)).await;
            publisher.publish("results", body).await.ok();
            continue;
        }
        host.sleep(Duration::from_millis(50)).await;
        if acks == Acks::BeforeItPublishes {
            request.ack().ok();
            publisher.publish("results", body).await.ok();
        } else if publisher.publish("results", body).await.is_ok() {
            request.ack().ok();
        }
    }
    Ok(())
}

async fn every_request_has_a_result(sim: Sim, acks: Acks) -> Result<(), Box<dyn Error>> {
    requests(sim, acks, None).await
}

async fn requests(sim: Sim, acks: Acks, exactly: Option<Vec<Fault>>) -> Result<(), Box<dyn Error>> {
    let [rabbit, pay, shop] = ["rabbit", "pay", "shop"].map(|name| sim.host(name));
    rabbit.broker(BrokerConfig::default())?;
    pay.start(move |host| async move {
        loop {
            if let Ok(connection) = host.connect(URI).await {
                serve(connection, host.clone(), acks).await.ok();
            }
            host.sleep(Duration::from_secs(1)).await;
        }
    });
    let connection = shop.connect(URI).await?;
    let channel = connection.open_channel().await?;
    for queue in ["requests", "results"] {
        channel.declare_queue(queue).durable().await?;
    }
    let publisher = channel.publisher().await?;
    let results: Arc<Mutex<BTreeSet<Vec<u8>>>> = Arc::default();
    let mut incoming = channel.consume("results").prefetch(10).await?;
    let seen = results.clone();
    let _reader = shop.spawn(async move {
        while let Some(result) = incoming.next().await {
            seen.lock().unwrap().insert(result.body().to_vec());
            result.ack().ok();
        }
    });
    let trouble = sim.trouble().host(&pay).host(&rabbit).link(&pay, &rabbit);
    let calm = match exactly {
        Some(faults) => trouble.exactly(faults).begin(),
        None => trouble.begin(),
    };
    for number in 0..REQUESTS {
        publisher.publish("requests", number.to_string()).await?;
        sim.sleep(Duration::from_millis(300)).await;
    }
    calm.await;
    let missing = || REQUESTS - results.lock().unwrap().len();
    let all = async {
        while missing() > 0 {
            sim.sleep(Duration::from_millis(100)).await;
        }
    };
    let waited = sim.timeout(Duration::from_secs(120), all).await;
    waited.map_err(|_| format!("{} results are missing", missing()))?;
    Ok(())
}

#[test]
fn a_bug_of_a_moment_is_found_within_a_hundred_seeds_wherever_they_begin() {
    for acks in [Acks::BeforeItStores, Acks::BeforeItPublishes] {
        for first in 0..4 {
            let seeds = first * 100 + 1..first * 100 + 101;
            let found = seeds
                .into_iter()
                .find_map(|seed| Check::new().seed(seed).find(|sim| every_request_has_a_result(sim, acks)));
            let failure = found.unwrap_or_else(|| panic!("{acks:?} is not found from {first} on"));
            assert_eq!(failure.cause(), "1 results are missing", "{failure}");
        }
    }
}

#[test]
fn the_service_without_the_bug_passes() {
    Check::new().seeds(150).run(|sim| every_request_has_a_result(sim, Acks::Last));
}

#[test]
fn what_was_found_is_kept_as_a_test() {
    let (mut had_moment, mut kept, mut count) = (false, 0, 0);
    for seed in 1..=100 {
        let check = Check::new().seed(seed);
        let found = check.find(|sim| every_request_has_a_result(sim, Acks::BeforeItPublishes));
        let Some(failure) = found else { continue };
        let faults = failure.faults().to_vec();
        had_moment |= faults.iter().any(|fault| fault.moment.is_some());
        let again = check.link(failure.link()).find(|sim| {
            let faults = faults.clone();
            requests(sim, Acks::BeforeItPublishes, Some(faults))
        });
        let again = again.unwrap_or_else(|| panic!("not found again: {failure}"));
        assert_eq!(again.cause(), failure.cause(), "{failure}{again}");
        // It may have been made simpler still.
        assert!(again.faults().len() <= failure.faults().len(), "{failure}{again}");
        kept += usize::from(again.faults() == failure.faults());
        count += 1;
    }
    assert!(had_moment && kept * 2 > count, "{kept} of {count} are the same");
}

/// Sends a byte more each time, 10 ms after each whole second.
async fn talk(sim: &Sim, fault: Fault) -> Duration {
    let [a, b, _c] = ["a", "b", "c"].map(|name| sim.host(name));
    let mut listener = b.listen(1).unwrap();
    let _reader = b.spawn(async move {
        let (mut stream, mut input) =
            (listener.accept().await.unwrap(), bytes::BytesMut::with_capacity(10_000));
        while std::future::poll_fn(|cx| stream.poll_read(cx, &mut input)).await.is_ok_and(|count| count > 0) {
        }
    });
    let mut stream = a.dial("b", 1).await.unwrap();
    let _calm = sim.trouble().within(Duration::from_secs(60)).exactly([fault]).begin();
    for count in 1.. {
        let second = Duration::from_secs(count as u64) + Duration::from_millis(10);
        sim.sleep((Instant::ZERO + second) - sim.now()).await;
        if !a.is_up() {
            break;
        }
        std::future::poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(&vec![0; count])])).await.ok();
    }
    crash_of_a(sim)
}

/// When that was.
fn crash_of_a(sim: &Sim) -> Duration {
    let events = sim.last_events();
    let line = events.lines().find(|line| line.ends_with("a crashes")).expect("it has crashed");
    let micros = line.trim_start().split(' ').next().unwrap().replace('.', "");
    Duration::from_micros(micros.parse().unwrap())
}

#[test]
fn a_fault_happens_at_its_moment() {
    let at = |fault: Fault| {
        let sim = Sim::builder(1).link(Link::new().jitter(Duration::ZERO)).build();
        sim.run(talk(&sim, fault)).unwrap()
    };
    let crash = |millis| {
        Fault::new(Duration::from_millis(millis), FaultKind::Crash("a".to_owned()))
            .lasts(Duration::from_secs(100))
    };
    let millis = |millis| Duration::from_millis(millis);
    assert_eq!(at(crash(2500)), millis(2500));
    assert_eq!(at(crash(2500).when("a", Does::Sends)), millis(3010));
    assert_eq!(at(crash(2500).when("b", Does::Receives)), Duration::from_micros(3_010_500));
    let mut third = crash(2500).when("a", Does::Sends);
    let moment = third.moment.as_mut().unwrap();
    (moment.nth, moment.delay) = (3, millis(200));
    assert_eq!(
        third.to_string(),
        "at   2.500 s, 200.000 ms after a sends for the 3rd time: a crashes, and is back after 100.000 s"
    );
    assert_eq!(at(third), millis(5210));
    let never = crash(2500).when("b", Does::Sends);
    assert_eq!(at(never), millis(7500), "what does not come is not waited for for ever");
    let of_another = Fault {
        moment: crash(0)
            .when("a", Does::Sends)
            .moment
            .map(|moment| Moment { peer: Some("c".to_owned()), ..moment }),
        ..crash(2500)
    };
    assert_eq!(at(of_another), millis(7500));
    assert_eq!(at(crash(6500).when("a", Does::Sends)), millis(7010));
    assert_eq!(
        at(crash(7500).when("a", Does::Sends)),
        millis(9010),
        "a heartbeat, or what is as long, does not count"
    );
}

#[test]
fn a_host_wakes_when_a_timer_of_its_own_fires() {
    let crashed_at = |faults: Vec<Fault>| {
        let sim = Sim::new(1);
        let run = sim.run(async {
            let [a, b] = ["a", "b"].map(|name| sim.host(name));
            for (host, millis) in [(&a, 1000), (&b, 300)] {
                host.start(move |host| async move {
                    loop {
                        host.sleep(Duration::from_millis(millis)).await;
                    }
                });
            }
            let _calm = sim.trouble().exactly(faults).begin();
            sim.sleep(Duration::from_secs(10)).await;
        });
        run.unwrap();
        crash_of_a(&sim)
    };
    let millis = Duration::from_millis;
    let crash = Fault::new(millis(1500), FaultKind::Crash("a".to_owned())).lasts(millis(500));
    let mut third = crash.clone().when("a", Does::Wakes);
    third.moment.as_mut().unwrap().nth = 3;
    assert_eq!(
        third.to_string().split_once(", ").unwrap().1.split_once(':').unwrap().0,
        "as a wakes for the 3rd time"
    );
    assert_eq!(crashed_at(vec![third]), millis(4000));
    let freeze = Fault::new(millis(1200), FaultKind::Freeze("a".to_owned())).lasts(millis(1000));
    let crash = crash.when("a", Does::Wakes);
    assert_eq!(crashed_at(vec![freeze, crash]), millis(3200), "nobody wakes while it is frozen");
}

/// Takes a thing out of one drawer and puts it into another, 2 ms each, again and again.
async fn both_drawers_or_one(sim: Sim, at_once: bool) -> Result<(), Box<dyn Error>> {
    let clerk = sim.host("clerk");
    let (drawers, stays) = (Arc::new(Mutex::new((60, 0))), Duration::from_millis(2));
    let theirs = drawers.clone();
    clerk.start(move |host| {
        let drawers = theirs.clone();
        async move {
            while drawers.lock().unwrap().0 > 0 {
                host.sleep(Duration::from_millis(500)).await;
                drawers.lock().unwrap().0 -= 1;
                if !at_once {
                    host.sleep(stays).await;
                }
                drawers.lock().unwrap().1 += 1;
                host.sleep(stays).await;
            }
        }
    });
    sim.trouble().host(&clerk).begin().await;
    sim.sleep(Duration::from_secs(40)).await;
    let left = *drawers.lock().unwrap();
    if left == (0, 60) { Ok(()) } else { Err(format!("there is {left:?} in the drawers").into()) }
}

#[test]
fn what_is_half_done_between_two_writes_is_found() {
    let broken = |seed| Check::new().seed(seed).find(|sim| both_drawers_or_one(sim, false));
    let found: Vec<_> = (1..=100).filter_map(broken).collect();
    assert!(found.len() > 10, "{} of 100 seeds", found.len());
    let wakes = |fault: &Fault| fault.moment.as_ref().is_some_and(|moment| moment.does == Does::Wakes);
    let failure =
        found.iter().find(|failure| failure.faults().iter().any(wakes)).expect("one of them needs it");
    assert!(failure.to_string().contains("clerk wakes"), "{failure}");
    Check::new().run(|sim| both_drawers_or_one(sim, true));
}
