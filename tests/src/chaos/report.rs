//! Many runs, and the table that is made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::checker::{Finding, RecoveryTime};
use super::client::Client;
use super::node::SharedNode;
use super::run::{Report, run};

/// What each of the runs that go on at once may add to what is allocated, bodies and the record of the run included.
pub const MEMORY_PER_RUN: usize = 48 * 1024 * 1024;

/// How many threads there are for each run that goes on at once.
const THREADS_PER_RUN: usize = 8;

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The seeds, one run each.
    pub seeds: Vec<u64>,
    /// How many runs go on at once.
    pub parallel: usize,
    /// Whether each run is told in full.
    pub verbose: bool,
    /// No run is begun later than this after the first.
    pub time: Option<Duration>,
}

impl Options {
    /// From a command line: `--runs N`, `--from S`, `--seed S`, `--parallel P`, `--minutes M`, `--verbose`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut runs, mut from, mut seed, mut parallel, mut verbose, mut time) =
            (20, 1, None, 6, false, None);
        while let Some(argument) = arguments.next() {
            let mut number = || -> Result<u64, String> {
                let value = arguments.next().ok_or_else(|| format!("{argument} needs a number"))?;
                value.parse().map_err(|_| format!("{argument} {value}: not a number"))
            };
            match argument.as_str() {
                "--runs" => runs = number()?,
                "--from" => from = number()?,
                "--seed" => seed = Some(number()?),
                "--parallel" => parallel = number()?,
                "--minutes" => time = Some(Duration::from_secs(60 * number()?)),
                "--verbose" => verbose = true,
                other => return Err(format!("{other} is unknown")),
            }
        }
        let seeds = seed.map_or_else(|| (from..from + runs).collect(), |seed| vec![seed]);
        let parallel = usize::try_from(parallel).map_err(|error| error.to_string())?.max(1);
        Ok(Self { seeds, parallel, verbose: verbose || seed.is_some(), time })
    }
}

/// What came of many runs.
#[derive(Debug, Default)]
pub struct Total {
    runs: u64,
    faults: BTreeMap<&'static str, u64>,
    published: u64,
    confirmed: u64,
    failed: u64,
    consumed: u64,
    duplicates: u64,
    repairs: u64,
    repaired_runs: u64,
    recoveries: Vec<RecoveryTime>,
    findings: Vec<(u64, Finding)>,
    spoilt: u64,
    peak: usize,
}

impl Total {
    /// What is wrong, with the seed of the run.
    #[must_use]
    pub fn findings(&self) -> &[(u64, Finding)] {
        &self.findings
    }

    fn add(&mut self, report: &Report) {
        self.runs += 1;
        for (kind, count) in &report.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.published += report.published;
        self.confirmed += report.confirmed;
        self.failed += report.failed;
        self.consumed += report.consumed;
        self.duplicates += report.duplicates;
        self.repairs += report.repairs;
        self.repaired_runs += u64::from(report.repairs > 0);
        self.spoilt += u64::from(report.is_spoilt);
        self.recoveries.extend(&report.recoveries);
        self.findings.extend(report.findings.iter().map(|it| (report.plan.seed, it.clone())));
    }

    fn count(&self, kinds: &[&str]) -> (usize, usize) {
        let found = self.findings.iter().filter(|(_, finding)| kinds.contains(&finding.kind()));
        let mut seeds: Vec<u64> = found.clone().map(|(seed, _)| *seed).collect();
        seeds.dedup();
        (found.count(), seeds.len())
    }
}

/// Runs them on a node of their own.
///
/// # Errors
///
/// When there is no node.
pub async fn run_all<C: Client>(options: &Options) -> Result<Total, String> {
    let node = Arc::new(SharedNode::start().await?);
    let start = Instant::now();
    let before = PeakAlloc.current_usage();
    PeakAlloc.reset_peak_usage();
    let places = Arc::new(Semaphore::new(options.parallel));
    let mut runs = JoinSet::new();
    let mut total = Total::default();
    for seed in options.seeds.iter().copied() {
        if options.time.is_some_and(|time| start.elapsed() > time) {
            break;
        }
        let place = places.clone().acquire_owned().await.map_err(|error| error.to_string())?;
        let node = node.clone();
        runs.spawn(async move {
            let _place = place;
            // In a task of its own, so that a panic is a finding.
            (seed, tokio::spawn(run::<C>(node, seed)).await)
        });
        while let Some(done) = runs.try_join_next() {
            take(done, &mut total, options.verbose);
        }
    }
    while let Some(done) = runs.join_next().await {
        take(done, &mut total, options.verbose);
    }
    total.peak = PeakAlloc.peak_usage().saturating_sub(before);
    if total.peak > MEMORY_PER_RUN * options.parallel {
        total.findings.push((0, Finding::Memory(total.peak)));
    }
    Ok(total)
}

type Done = Result<(u64, Result<Report, tokio::task::JoinError>), tokio::task::JoinError>;

#[allow(clippy::print_stdout)]
fn take(done: Done, total: &mut Total, verbose: bool) {
    match done {
        Ok((_, Ok(report))) => {
            total.add(&report);
            println!("{}", line(&report));
            if verbose || report.is_spoilt || !report.findings.is_empty() {
                print!("{}", story(&report));
            }
        }
        Ok((seed, Err(error))) => total.findings.push((seed, Finding::Failed(error.to_string()))),
        Err(error) => total.findings.push((0, Finding::Failed(error.to_string()))),
    }
}

/// A run in one line.
fn line(report: &Report) -> String {
    let Report { plan, findings, published, confirmed, consumed, duplicates, failed, repairs, .. } = report;
    let faults: u64 = report.faults.values().sum();
    let verdict = match findings.len() {
        0 if report.is_spoilt => "a quorum queue of the broker's has no leader".to_owned(),
        0 => "ok".to_owned(),
        count => format!("{count} FINDINGS"),
    };
    format!(
        "seed {:>6}: {faults} faults, {published} published, {confirmed} confirmed, {failed} failed, {consumed} consumed, \
         {duplicates} duplicates, {repairs} repairs: {verdict}",
        plan.seed
    )
}

/// A run in full.
fn story(report: &Report) -> String {
    /// Of a kind of finding, no more are told.
    const MOST: usize = 10;
    let mut text = report.plan.to_string();
    for line in &report.log {
        let _ = writeln!(text, "  {line}");
    }
    for finding in report.findings.iter().take(MOST) {
        let _ = writeln!(text, "  !! {finding}");
    }
    if report.findings.len() > MOST {
        let _ = writeln!(text, "  !! and {} more", report.findings.len() - MOST);
    }
    text
}

/// Median, 95 % and worst.
fn spread<'a>(
    recoveries: impl Iterator<Item = &'a RecoveryTime>,
    which: impl Fn(&RecoveryTime) -> Duration,
) -> String {
    let mut times: Vec<Duration> = recoveries.map(which).collect();
    times.sort();
    let part = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    let shown = |time: Option<&Duration>| {
        time.map_or_else(|| "-".to_owned(), |it| format!("{:.3} s", it.as_secs_f64()))
    };
    format!("{} / {} / {}", shown(part(50)), shown(part(95)), shown(times.last()))
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |what: &str, value: String| writeln!(f, "| {what} | {value} |");
        row("runs", self.runs.to_string())?;
        for (kind, count) in &self.faults {
            row(&format!("fault: {kind}"), count.to_string())?;
        }
        row("faults, all", self.faults.values().sum::<u64>().to_string())?;
        row("messages published", self.published.to_string())?;
        row("confirmed", self.confirmed.to_string())?;
        row("publishes that failed", self.failed.to_string())?;
        row("consumed", self.consumed.to_string())?;
        row("duplicates", self.duplicates.to_string())?;
        row("repairs by the program (in runs)", format!("{} ({})", self.repairs, self.repaired_runs))?;
        row("losses measured", self.recoveries.len().to_string())?;
        row(
            "until the first confirm: median / 95 % / worst",
            spread(self.recoveries.iter(), |it| it.confirm),
        )?;
        row(
            "until the first delivery: median / 95 % / worst",
            spread(self.recoveries.iter(), |it| it.delivery),
        )?;
        for kind in self.recoveries.iter().map(|it| it.kind).collect::<BTreeSet<_>>() {
            let of_kind = self.recoveries.iter().filter(|it| it.kind == kind);
            row(&format!("until both after {kind}"), spread(of_kind, |it| it.confirm.max(it.delivery)))?;
        }
        row("runs in which RabbitMQ left a quorum queue without a leader", self.spoilt.to_string())?;
        row("peak of memory", format!("{} MiB", self.peak / 1024 / 1024))?;
        for (what, kinds) in [
            ("lost", &["lost"][..]),
            ("confirmed and not consumed where a queue was not served again", &["undelivered"]),
            ("from nowhere", &["from nowhere"]),
            ("out of order, unmarked duplicates", &["out of order", "unmarked"]),
            ("stuck", &["stuck"]),
            ("not recovered", &["not recovered"]),
            ("phantom or missing consumers", &["phantom", "missing"]),
            ("connections after the close", &["after close"]),
            ("memory", &["memory"]),
            ("failed", &["failed"]),
        ] {
            let (findings, runs) = self.count(kinds);
            row(what, format!("{findings} (in {runs} runs)"))?;
        }
        Ok(())
    }
}

/// The whole program for a client.
#[allow(clippy::print_stdout, clippy::print_stderr)]
#[must_use]
pub fn main<C: Client>() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!(
                "{error}\nusage: [--runs N] [--from SEED] [--seed SEED] [--parallel N] [--minutes N] [--verbose]"
            );
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    // Threads enough that a run whose client blocks one for ever, as lapin may, does not stop the others.
    let threads = THREADS_PER_RUN * options.parallel;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let done = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        let done = runtime.block_on(run_all::<C>(&options));
        runtime.shutdown_background(); // it would wait for the threads that are blocked
        done
    });
    let total = match done {
        Ok(total) => total,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    println!("\n{}, {} s:\n\n| | |\n|---|---|\n{total}", C::NAME, start.elapsed().as_secs());
    for (seed, finding) in total.findings() {
        println!("seed {seed}: {finding}");
    }
    ExitCode::from(u8::from(!total.findings().is_empty()))
}
