//! Hosts and what runs on them, and what a world tells of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hopmq_sim::{BrokerConfig, Host, JoinError, Link, Sim};

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn run(test: impl AsyncFn(&Sim)) {
    for seed in 1..=20 {
        let sim = Sim::new(seed);
        if let Err(error) = sim.run(test(&sim)) {
            panic!("seed {seed}: {error}\n{}", sim.last_events());
        }
    }
}

#[test]
fn what_a_program_starts_lives_as_long_as_it() {
    run(async |sim| {
        let host = sim.host("h");
        host.start(|host| {
            host.start(|_| pending()); // before there is a future, even
            async move {
                host.start(|host| async move {
                    host.start(|_| pending());
                });
                host.spawn(pending::<()>());
            }
        });
        for _ in 0..3 {
            sim.sleep(secs(1)).await;
            assert_eq!(host.tasks(), 3);
            host.crash();
            assert_eq!(host.tasks(), 0);
            host.restart();
        }
    });
}

#[test]
fn what_a_task_of_another_host_starts_comes_back() {
    run(async |sim| {
        let (host, other) = (sim.host("h"), sim.host("other"));
        let started = host.clone();
        other.spawn(async move { started.start(|_| pending()) }).await.unwrap();
        host.crash();
        host.restart();
        assert_eq!(host.tasks(), 1);
    });
}

/// Its end is counted.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_task_that_is_aborted_is_dropped_and_says_so() {
    run(async |sim| {
        let ended = Arc::new(AtomicUsize::new(0));
        for task in [sim.spawn(waiting(&ended)), sim.host("h").spawn(waiting(&ended))] {
            sim.sleep(secs(1)).await;
            let before = ended.load(Ordering::Relaxed);
            assert!(!task.is_finished());
            task.abort();
            assert!(task.is_finished());
            assert_eq!(ended.load(Ordering::Relaxed), before + 1);
            assert_eq!(task.await, Err(JoinError::Aborted));
        }
    });
}

fn waiting(ended: &Arc<AtomicUsize>) -> impl Future<Output = ()> + Send + use<> {
    let counted = Counted(ended.clone());
    async move {
        let _counted = counted;
        pending::<()>().await;
    }
}

#[test]
fn a_task_that_has_ended_is_not_aborted_any_more() {
    run(async |sim| {
        let task = sim.spawn(async { 7 });
        sim.sleep(secs(1)).await;
        assert!(task.is_finished());
        task.abort();
        assert_eq!(task.await, Ok(7));
        let gone = sim.host("h").spawn(pending::<()>());
        sim.host("h").crash();
        gone.abort();
        assert_eq!(gone.await, Err(JoinError::Crashed));
    });
}

#[test]
fn a_task_can_abort_itself() {
    run(async |sim| {
        let (send, receive) = std::sync::mpsc::channel::<hopmq_sim::JoinHandle<()>>();
        let host = sim.host("h");
        let task = host.spawn(async move {
            let own = receive.recv().unwrap();
            own.abort();
            drop(own);
            pending::<()>().await;
        });
        send.send(task).unwrap();
        sim.sleep(secs(1)).await;
        assert_eq!(host.tasks(), 0);
    });
}

#[test]
fn who_has_been_told_of_a_task_is_not_told_otherwise() {
    run(async |sim| {
        let mut task = sim.spawn(async { 7 });
        assert_eq!((&mut task).await, Ok(7));
        assert!(sim.timeout(secs(1), &mut task).await.is_err());
    });
}

#[test]
fn the_trace_tells_what_changes_something() {
    let sim = Sim::builder(1).kept_events(100).build();
    sim.run(async {
        let (a, b) = (sim.host("a"), sim.host("b"));
        let again = |what: fn(&Host, &Host)| {
            what(&a, &b);
            what(&a, &b);
        };
        a.restart();
        a.thaw();
        a.heal(&b);
        a.answer_dials(&b);
        a.set_link(&b, a.link_to(&b));
        again(|a, _| a.freeze());
        again(|a, _| a.thaw());
        again(|a, b| a.partition_to(b));
        again(Host::heal);
        again(Host::refuse_dials);
        again(Host::answer_dials);
        again(|a, b| a.set_link_to(b, Link::new().segment(1)));
        again(|a, _| a.kill());
        again(|a, _| a.crash());
        again(|a, _| a.restart());
        a.wipe();
    })
    .unwrap();
    let events = sim.last_events();
    let told = [
        "a freezes",
        "a thaws",
        "a – b  partition",
        "a – b  heal",
        "a – b  dials are refused",
        "a – b  dials are answered",
        "a – b  has another link",
        "a is killed",
        "a crashes",
        "a restarts",
        "a crashes",
        "a loses its disk",
    ];
    let events: Vec<_> =
        events.lines().filter_map(|line| line.split_once(" s ")).map(|(_, what)| what).collect();
    assert_eq!(events, told);
}

#[test]
fn a_note_may_ask_the_world() {
    struct Where(Host);
    impl From<Where> for String {
        fn from(Where(host): Where) -> Self {
            host.name()
        }
    }
    let sim = Sim::new(1);
    sim.note(Where(sim.host("somewhere")));
    assert!(sim.last_events().contains("somewhere"));
}

#[test]
fn a_world_that_never_runs_goes_with_its_handles() {
    let canary = Arc::new(());
    let sim = Sim::new(1);
    let host = sim.host("h");
    host.broker(BrokerConfig::default()).unwrap();
    let held = canary.clone();
    host.start(move |_| {
        let _held = held.clone();
        pending()
    });
    let (held, own) = (canary.clone(), host.clone());
    host.spawn(async move {
        let _held = held;
        own.sleep(secs(1)).await;
    });
    let other = sim.clone();
    drop(sim);
    assert!(Arc::strong_count(&canary) > 1);
    drop(other);
    assert_eq!(Arc::strong_count(&canary), 1);
}

#[test]
fn a_host_can_be_cut_off_from_itself() {
    run(async |sim| {
        let host = sim.host("h");
        let _listener = host.listen(1).unwrap();
        host.partition(&host);
        assert!(sim.timeout(secs(60), host.dial("localhost", 1)).await.is_err());
        host.heal(&host);
        assert!(sim.timeout(secs(60), host.dial("localhost", 1)).await.unwrap().is_ok());
    });
}
