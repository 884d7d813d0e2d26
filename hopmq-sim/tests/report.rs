//! What a failure is, and what is said of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::{Cell, RefCell};
use std::env;
use std::future::{pending, poll_fn};
use std::panic::catch_unwind;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hopmq_sim::{BrokerConfig, Check, Fault, FaultKind, RunError, Sim};

#[test]
fn what_is_reported_fails() {
    for failing in 1..8 {
        let runs = Cell::new(0);
        let failure = Check::new().seeds(1).find(|_| {
            runs.set(runs.get() + 1);
            let fails = runs.get() <= failing;
            async move { if fails { Err("the first runs fail") } else { Ok(()) } }
        });
        let failure = failure.expect("it fails");
        assert!(!failure.cause().is_empty(), "{failure}");
        let differ = failure.cause().contains("two runs of this seed differ");
        assert_eq!(differ, failing < runs.get(), "{failure}");
    }
}

#[test]
fn a_failure_that_only_the_second_run_sees_is_not_dropped() {
    let runs = Cell::new(0);
    let failure = Check::new().seeds(1).find(|_| {
        runs.set(runs.get() + 1);
        let fails = runs.get() == 2;
        async move { if fails { Err("the second fails") } else { Ok(()) } }
    });
    let failure = failure.expect("it fails");
    assert!(failure.cause().contains("two runs of this seed differ"), "{failure}");
    assert!(failure.cause().ends_with("One of them failed: the second fails"), "{failure}");
}

/// Fails when the shop has had to start again; a minute later.
async fn starts_once(sim: Sim) -> Result<(), String> {
    let [rabbit, shop] = ["rabbit", "shop"].map(|name| sim.host(name));
    rabbit.broker(BrokerConfig::default()).unwrap();
    let (starts, noting) = (Arc::new(AtomicUsize::new(0)), sim.clone());
    let counting = starts.clone();
    shop.start(move |host| {
        let (starts, sim) = (counting.clone(), noting.clone());
        async move {
            let connection = host.connect("amqp://rabbit").await.unwrap();
            starts.fetch_add(1, Ordering::Relaxed);
            sim.note("it serves");
            connection.closed().await;
        }
    });
    let crash = Fault::new(Duration::from_secs(20), FaultKind::Crash("shop".to_owned()));
    sim.trouble().exactly([crash.lasts(Duration::from_secs(10))]).begin().await;
    for second in 0..60 {
        sim.sleep(Duration::from_secs(1)).await;
        sim.note(format!("{second} seconds"));
    }
    if starts.load(Ordering::Relaxed) == 1 { Ok(()) } else { Err("it has started again".to_owned()) }
}

#[test]
fn a_report_tells_what_follows_a_fault_and_not_how_connections_open() {
    let failure = Check::new().seed(1).kept_events(3).find(starts_once).expect("it fails");
    let events = failure.events();
    let behind = events.split_once("shop restarts\n").expect("it restarts").1;
    let (now, last) = behind.split_once("...\n").expect("not all is told");
    assert!(now.contains("connection.open-ok") && now.contains("it serves"), "{events}");
    assert_eq!(last.lines().count(), 3, "{events}");
    assert!(!events.contains("connection.start") && !events.contains("protocol header"), "{events}");
}

#[test]
fn what_is_reported_is_the_bug_that_was_found_first() {
    let said = RefCell::new(None);
    let failure = Check::new().find(|sim| {
        let said = &said;
        async move {
            let rabbit = sim.host("rabbit");
            let calm = sim.trouble().host(&rabbit).begin();
            let mut was_down = false;
            for _ in 0..600 {
                sim.sleep(Duration::from_millis(100)).await;
                was_down |= !rabbit.is_up();
            }
            calm.await;
            let end = match (was_down, sim.seed() % 2) {
                (true, _) => Err(format!("order {} was lost", sim.now().as_nanos())),
                (_, 1) => Err("another bug, of every odd seed".to_owned()),
                _ => Ok(()),
            };
            if let Err(error) = &end {
                said.borrow_mut().get_or_insert_with(|| error.clone());
            }
            end
        }
    });
    let failure = failure.expect("there are two bugs");
    let said = said.into_inner().expect("it has failed");
    assert_eq!(said.contains("was lost"), failure.cause().contains("was lost"), "{failure}");
}

#[test]
fn a_panic_that_was_caught_is_not_the_cause() {
    let failure = Check::new().seeds(1).find(|_| async move {
        let caught = catch_unwind(|| panic!("harmless, and caught"));
        assert!(caught.is_err());
        assert_eq!(1, 2, "the real one");
    });
    let failure = failure.expect("it fails");
    assert!(failure.cause().contains("the real one"), "{failure}");
}

/// Panics when it is dropped, and catches that.
struct Stumbles;

impl Drop for Stumbles {
    fn drop(&mut self) {
        catch_unwind(|| panic!("caught by the destructor")).unwrap_err();
    }
}

#[test]
fn a_panic_of_a_destructor_that_was_caught_is_not_the_cause() {
    let failure = Check::new().seeds(1).find(|_| async move {
        let _stumbles = Stumbles;
        assert_eq!(1, 2, "the real one");
    });
    let failure = failure.expect("it fails");
    assert!(failure.cause().contains("the real one"), "{failure}");
}

#[test]
#[should_panic(expected = "with no seed at all nothing is tested")]
fn no_seeds_at_all_is_no_success() {
    Check::new().seeds(0).run(|_| async { assert_eq!(1, 2, "it does not work") });
}

#[test]
fn one_seed_is_run_twice() {
    let seeds = RefCell::new(Vec::new());
    Check::new().seed(221).run(|sim| {
        seeds.borrow_mut().push(sim.seed());
        async {}
    });
    assert_eq!(seeds.into_inner(), [221, 221]);
}

/// Panics when it is dropped.
struct Falls;

impl Drop for Falls {
    fn drop(&mut self) {
        panic!("the destructor's message");
    }
}

#[test]
#[ignore = "it aborts; another runs it"]
fn a_test_and_a_destructor_that_panic() {
    Check::new().seed(7).run(|_| async {
        let _falls = Falls;
        assert_eq!(1, 2, "the test's message");
    });
}

#[test]
fn what_aborts_has_said_everything() {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["a_test_and_a_destructor_that_panic", "--exact", "--ignored"]);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for words in ["seed 7 panics", "the test's message", "the destructor's message", "report.rs:"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_world_that_stands_still_says_whose_tasks_wait() {
    let sim = Sim::new(77);
    let error = sim.run(async {
        let [rabbit, shop] = ["rabbit", "shop"].map(|name| sim.host(name));
        rabbit.broker(BrokerConfig::default()).unwrap();
        let _task = shop.spawn(pending::<()>());
        pending::<()>().await;
    });
    let text = error.unwrap_err().to_string();
    assert!(
        text.starts_with(
            "in the world of seed 77: at 0.000000 s nothing will ever happen again, and the test waits"
        ),
        "{text}"
    );
    assert!(
        text.contains("does it wait for a timer, socket, thread or runtime outside of the world, or for a message that nobody sends?"),
        "{text}"
    );
    let lines: Vec<_> = text.lines().skip(1).collect();
    let [users, own] = lines[..] else { panic!("{text}") };
    assert!(users.starts_with("  a task of shop, spawned at hopmq-sim/tests/report.rs:"), "{text}");
    assert!(!users.contains("own"), "{text}");
    assert!(
        own.starts_with("  a task of rabbit, spawned at hopmq/src/") && own.ends_with("(HopMQ's own)"),
        "{text}"
    );
}

#[test]
fn who_takes_too_long_fails_at_the_limit() {
    let failure = Check::new().time_limit(Duration::from_secs(100)).find(|sim| async move {
        while sim.seed() > 0 {
            sim.sleep(Duration::from_secs(30)).await;
        }
    });
    let text = failure.expect("it lasts").to_string();
    assert!(text.starts_with("seed 1 fails at 100.000000 s: the test still waits after 100 s"), "{text}");
}

#[test]
fn who_waits_busily_is_stopped() {
    let sim = Sim::new(1);
    let error = sim.run(poll_fn(|cx: &mut Context<'_>| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    assert!(matches!(error, Err(RunError::OutOfSteps { seed: 1, limit: 5_000_000, .. })), "{error:?}");
}

#[test]
#[ignore = "it panics; another runs it"]
fn a_world_that_panics() {
    Sim::new(4711).run(async { assert_eq!(1, 2, "as it should") }).unwrap();
}

#[test]
fn a_panic_is_told_with_its_seed() {
    let mut command = Command::new(env::current_exe().unwrap());
    let output =
        command.args(["a_world_that_panics", "--exact", "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("as it should") && text.contains("in the world of seed 4711"), "{text}");
}
