use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hopmq_sim::Sim;

use super::client::Shared;
use super::phase::race;
use super::tally::SwarmTally;
use super::world::World;
use crate::chaos::checker;

/// A day for trouble and more than every deadline: who needs more is stuck.
const TIME_LIMIT: Duration = Duration::from_secs(6 * 3600);
/// Many times what the busiest seed takes.
const STEP_LIMIT: u64 = 3_000_000;

/// What has come of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The hash of everything that happened.
    pub hash: u64,
    /// How often what did.
    pub tally: SwarmTally,
    /// What must not be.
    pub findings: Vec<String>,
    /// What happened last.
    pub last: String,
}

/// Runs the world of a seed. `tell` prints everything that happens.
#[must_use]
pub fn run(seed: u64, tell: bool) -> Report {
    run_keeping(seed, tell, 0)
}

fn run_keeping(seed: u64, tell: bool, kept: usize) -> Report {
    run_with(seed, tell, kept, |_, _| ())
}

/// `plant` may start what does in the world what nobody should.
fn run_with(seed: u64, tell: bool, kept: usize, plant: impl FnOnce(&Sim, &Arc<Shared>)) -> Report {
    let sim =
        Sim::builder(seed).time_limit(TIME_LIMIT).step_limit(STEP_LIMIT).kept_events(kept).tell(tell).build();
    let world = World::new(&sim, tell);
    let shared = world.shared.clone();
    if tell {
        shared.ledger.note(format!("{:#?}", shared.plan));
    }
    plant(&sim, &shared);
    // What is found ends the world, so that its trace ends there.
    let ended = catch_unwind(AssertUnwindSafe(|| sim.run(race(world.run(), shared.ledger.found()))));
    let mut book = shared.ledger.book();
    let mut findings: Vec<String> = book.findings.iter().map(ToString::to_string).collect();
    match ended {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => findings.push(error.to_string()),
        Err(panic) => findings.push(words(panic.as_ref())),
    }
    // A world that did not come to its end owes nothing.
    if findings.is_empty() {
        findings.extend(checker::check_end(&book.history).iter().map(ToString::to_string));
    }
    book.tally.worlds = 1;
    book.tally.virtual_seconds = shared.sim.now().as_nanos() / 1_000_000_000;
    Report { hash: sim.trace_hash(), tally: book.tally, findings, last: sim.last_events() }
}

/// Runs a world of another kind, which fails by panicking and gives the hash of what happened.
#[must_use]
pub fn judge(world: impl FnOnce() -> u64) -> Report {
    let (hash, findings) = match catch_unwind(AssertUnwindSafe(world)) {
        Ok(hash) => (hash, Vec::new()),
        Err(panic) => (0, vec![words(panic.as_ref())]),
    };
    let tally = SwarmTally { worlds: 1, ..SwarmTally::default() };
    Report { hash, tally, findings, last: String::new() }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
        .replace('\n', " ")
}

/// Runs the world of a seed twice, and holds the two against each other.
///
/// # Panics
///
/// When something was found, with the seed and what happened last.
pub fn check(seed: u64) -> SwarmTally {
    let first = run(seed, false);
    let second = run(seed, false);
    assert_eq!(first, second, "HOPMQ_SEED={seed} does not do the same twice");
    if !first.findings.is_empty() {
        let again = run_keeping(seed, false, 120);
        panic!("{}\nfound: {:#?}\nreplay with HOPMQ_SEED={seed}", again.last, first.findings);
    }
    first.tally
}

/// Runs one seed and prints its whole trace.
///
/// # Panics
///
/// When something was found, once the trace is printed.
pub fn replay(seed: u64) {
    let report = run(seed, true);
    assert!(report.findings.is_empty(), "seed {seed} found {:#?}", report.findings);
}

/// Which seeds to run, and on how many threads.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// The first.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Threads.
    pub jobs: usize,
    /// After so many seeds with findings it stops.
    pub most: usize,
}

/// Runs the worlds of many seeds; returns how often what happened, and what was found by seed. Every hundredth is run
/// twice.
#[must_use]
pub fn sweep(
    Sweep { first, seeds, jobs, most }: Sweep,
    run: impl Fn(u64) -> Report + Sync,
    progress: impl Fn(u64, Duration) + Sync,
) -> (SwarmTally, BTreeMap<u64, Vec<String>>) {
    let (next, begun) = (AtomicU64::new(first), Instant::now());
    let all = Mutex::new((SwarmTally::default(), BTreeMap::new()));
    let lock = || all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || lock().1.len() >= most {
                        return;
                    }
                    let mut report = run(seed);
                    if seed % 100 == 0 && run(seed).hash != report.hash {
                        report.findings.push("does not do the same twice".into());
                    }
                    let mut all = lock();
                    all.0 += report.tally;
                    if !report.findings.is_empty() {
                        all.1.insert(seed, report.findings);
                    }
                    let done = all.0.worlds;
                    drop(all);
                    if done % 1000 == 0 {
                        progress(done, begun.elapsed());
                    }
                }
            });
        }
    });
    all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::history::{MessageId, Outcome};

    const WHEN: Duration = Duration::from_millis(1500);

    /// Does something in the world of a seed at its moment; returns what was found, after which it went on for no time.
    fn planted<T>(deed: impl Fn(&Shared) -> T + Send + 'static) -> Vec<String> {
        let mut world = None;
        let report = run_with(3, false, 50, |sim, shared| {
            let (there, sleeper) = (shared.clone(), sim.clone());
            world = Some(shared.clone());
            drop(sim.spawn(async move {
                sleeper.sleep(WHEN).await;
                deed(&there);
            }));
        });
        assert_eq!(world.unwrap().ledger.now(), WHEN, "{}", report.last);
        let told = report.last.contains(&format!("FOUND {}", report.findings[0]));
        assert!(told, "the trace ends where it went wrong: {}", report.last);
        report.findings
    }

    #[test]
    fn a_world_ends_where_something_is_found_and_says_it_once() {
        let id = MessageId { publisher: 0, number: 0 };
        let altered = planted(|shared| shared.ledger.delivered(7, None, false, false));
        assert_eq!(altered, ["from nowhere: an altered body, at consumer 7"]);
        let unknown = MessageId { publisher: 0, number: 10_000 };
        let unknown = planted(move |shared| shared.ledger.delivered(7, Some(unknown), true, false));
        assert_eq!(unknown.len(), 1, "{unknown:?}");
        let twice = planted(move |shared| {
            let ledger = &shared.ledger;
            let id = ledger.publishing(0);
            ledger.delivered(7, Some(id), false, false);
            ledger.delivered(8, Some(id), false, false);
        });
        assert!(matches!(&twice[..], [only] if only.starts_with("unmarked")), "{twice:?}");
        let late = planted(move |shared| {
            let ledger = &shared.ledger;
            let ids = [ledger.publishing(0), ledger.publishing(0)];
            ledger.resolved(ids[0], Outcome::Confirmed);
            ledger.delivered(7, Some(ids[1]), false, false);
            ledger.delivered(7, Some(ids[0]), false, false);
        });
        assert!(matches!(&late[..], [only] if only.starts_with("out of order")), "{late:?}");
        let outcomes = planted(move |shared| {
            let id = shared.ledger.publishing(id.publisher.into());
            shared.ledger.resolved(id, Outcome::Confirmed);
            shared.ledger.resolved(id, Outcome::Nacked);
        });
        assert!(matches!(&outcomes[..], [only] if only.starts_with("an outcome twice")), "{outcomes:?}");
    }

    #[test]
    fn the_same_world_goes_on_where_nothing_is_found() {
        assert_eq!(run(3, false).findings, [""; 0]);
        assert!(run(3, false).tally.virtual_seconds > WHEN.as_secs());
    }
}
