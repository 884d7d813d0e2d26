//! The workloads in instructions, counted by valgrind. See the README.

use std::env::{self, args};
use std::error::Error;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::{fs, str};

use hopmq_bench::{Run, WORKLOADS, Workload};

/// Tells this program, under valgrind, what to run.
const CHOICE: &str = "HOPMQ_BENCH_WORKLOAD";

fn main() -> Result<(), Box<dyn Error>> {
    if let Ok(name) = env::var(CHOICE) {
        let workload = WORKLOADS.iter().find(|workload| workload.name == name).ok_or("no such workload")?;
        measured(&mut (workload.prepare)());
        return Ok(());
    }
    let filter: Vec<String> = args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!("| workload | instructions per message |\n|---|---:|");
    for workload in WORKLOADS {
        if filter.is_empty() || filter.iter().any(|part| workload.name.contains(part)) {
            println!("| {workload} | {} |", count(workload)? / u64::from(workload.messages));
        }
    }
    Ok(())
}

/// What is counted. Valgrind finds it by its name.
#[inline(never)]
fn measured(run: &mut Run) {
    run();
}

/// Runs one workload in valgrind, and reads how many instructions `measured` took.
fn count(workload: &Workload) -> Result<u64, Box<dyn Error>> {
    let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{workload}"));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=instructions::measured"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(env::current_exe()?)
        .env(CHOICE, workload.name)
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => "valgrind is not installed".into(),
            _ => format!("valgrind does not start: {error}"),
        })?;
    if !output.status.success() {
        return Err(str::from_utf8(&output.stderr)?.into());
    }
    let profile = fs::read_to_string(profile)?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("no total in the profile")?.trim().parse()?)
}
