//! The front door: what it finds, what it leaves of it, and what it tells.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use hopmq_sim::{BrokerConfig, Check, FaultKind, Sim, check};

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A world of three hosts in which anything may happen, and a test that looks at one of them every second.
async fn looks(sim: Sim, broken: impl Fn(&Sim) -> bool) -> Result<(), String> {
    let [a, b, c] = ["a", "b", "c"].map(|name| sim.host(name));
    let calm = sim.trouble().host(&a).host(&b).host(&c).disk(&c).link(&a, &b).link(&b, &c).at_most(8).begin();
    for _ in 0..60 {
        sim.sleep(secs(1)).await;
        if broken(&sim) {
            return Err("it is broken".to_owned());
        }
    }
    calm.await;
    assert!(a.is_up() && b.is_up() && c.is_up());
    Ok(())
}

#[test]
fn what_always_holds_passes() {
    let runs = Cell::new(0);
    Check::new().seeds(30).run(|sim| {
        runs.set(runs.get() + 1);
        looks(sim, |_| false)
    });
    assert_eq!(runs.get(), 31, "each seed once, and the first one twice");
}

#[test]
fn of_the_faults_only_the_guilty_one_is_left_with_round_times() {
    let failure = Check::new().find(|sim| looks(sim, |sim| !sim.host("b").is_up())).expect("b goes down");
    let [fault] = failure.faults() else { panic!("{failure}") };
    let (FaultKind::Crash(host) | FaultKind::Kill(host)) = &fault.kind else { panic!("{failure}") };
    assert_eq!(host, "b");
    assert_eq!(fault.at.as_millis() % 100, 0, "{failure}");
    assert_eq!(fault.lasts.as_millis() % 100, 0, "{failure}");
    assert_eq!(failure.cause(), "it is broken");
    let text = failure.to_string();
    assert!(text.contains("it takes 1 of ") && text.contains("s  b "), "{text}");
    assert!(failure.events().contains("b crashes") || failure.events().contains("b is killed"), "{text}");
}

#[test]
fn two_faults_that_are_both_needed_are_both_left() {
    let failure = Check::new()
        .seeds(2000)
        .find(|sim| looks(sim, |sim| !sim.host("a").is_up() && !sim.host("b").is_up()));
    let failure = failure.expect("both go down");
    let hosts: BTreeSet<_> = failure
        .faults()
        .iter()
        .map(|fault| match &fault.kind {
            FaultKind::Crash(host) | FaultKind::Kill(host) => host.as_str(),
            _ => panic!("{failure}"),
        })
        .collect();
    assert_eq!(
        (hosts.into_iter().collect::<Vec<_>>(), failure.faults().len()),
        (vec!["a", "b"], 2),
        "{failure}"
    );
}

#[test]
fn what_fails_anyway_takes_no_fault() {
    let failure = Check::new().find(|sim| looks(sim, |_| true)).expect("it is broken");
    assert_eq!((failure.seed(), failure.faults().len()), (1, 0));
    assert!(failure.to_string().contains("it takes no fault"), "{failure}");
}

#[test]
fn every_kind_of_fault_is_drawn() {
    let kinds = std::sync::Mutex::new(BTreeSet::new());
    // Each fails at its end, with the faults that it saw; nothing is shrunk away, as every text counts.
    for seed in 1..=300 {
        let sim = Sim::new(seed);
        sim.run(async {
            let [a, b] = ["a", "b"].map(|name| sim.host(name));
            sim.trouble().host(&a).disk(&b).link(&a, &b).at_most(8).begin().await;
        })
        .unwrap();
        for line in sim.last_events().lines() {
            kinds.lock().unwrap().insert(line.split_once(" s ").unwrap().1.to_owned());
        }
    }
    let kinds = kinds.into_inner().unwrap();
    for kind in [
        "a crashes",
        "a is killed",
        "a freezes",
        "a thaws",
        "a restarts",
        "b crashes",
        "b restarts",
        "a – b  cut",
        "a – b  half open",
        "b – a  half open",
        "a – b  partition",
        "b – a  partition",
        "a – b  heal",
        "a – b  dials are refused",
        "a – b  dials are swallowed",
        "a – b  dials are answered",
        "a – b  has another link",
    ] {
        assert!(kinds.contains(kind), "{kind}: {kinds:#?}");
    }
}

#[test]
fn a_panic_is_told_with_its_place_and_any_task_can_have_it() {
    let failure = Check::new().find(|sim| async move {
        let host = sim.host("h");
        let _task = host.spawn(async { panic!("in a task") });
        sim.sleep(secs(1)).await;
    });
    let failure = failure.expect("it panics");
    assert!(failure.cause().starts_with("in a task\n  panicked at hopmq-sim/tests/check.rs:"), "{failure}");
}

#[test]
fn a_world_that_stands_still_or_takes_too_long_is_a_failure() {
    let failure = Check::new().find(|_| std::future::pending::<()>()).expect("nothing happens");
    assert!(failure.cause().contains("nothing will ever happen again"), "{failure}");
    let failure = Check::new().find(|sim| async move {
        sim.host("rabbit").broker(BrokerConfig::default()).unwrap();
        let connection = sim.host("user").connect("amqp://rabbit").await.unwrap();
        connection.closed().await; // with heartbeats for ever
    });
    let failure = failure.expect("it lasts too long");
    assert!(failure.cause().contains("still waits after 3600 s"), "{failure}");
    assert!(failure.cause().contains("a task of rabbit, spawned at "), "{failure}");
}

#[test]
fn a_test_that_does_not_follow_from_its_seed_is_a_failure() {
    let failure = Check::new().find(|sim| async move {
        let nanos = RandomState::new().build_hasher().finish() % 1_000_000;
        sim.sleep(Duration::from_nanos(nanos)).await;
    });
    let failure = failure.expect("it is random");
    assert!(failure.cause().contains("two runs of this seed differ"), "{failure}");
    assert!(!failure.cause().contains("the first that differs"), "there is nothing to tell apart: {failure}");
    let failure = Check::new().find(|sim| async move {
        sim.note("the same");
        sim.note(format!("a number: {}", RandomState::new().build_hasher().finish()));
    });
    let failure = failure.expect("it is random");
    let lines: Vec<_> = failure.cause().lines().skip(1).collect();
    let [told, one, and, other] = lines[..] else { panic!("{failure}") };
    assert_eq!((told, and), ("Of another two the first that differs is", "and"));
    assert!(one.contains("a number: ") && other.contains("a number: ") && one != other, "{failure}");
}

#[test]
#[should_panic(expected = "to see all of it: HOPMQ_SEED=1 cargo test")]
fn the_report_says_how_to_replay() {
    check(|_| async { Err("broken") });
}
