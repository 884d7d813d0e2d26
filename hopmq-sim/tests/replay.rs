//! What the environment says: each test runs another of this program, which fails.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::env;
use std::process::{Command, Output};

use hopmq_sim::Check;

const SEED: &str = "HOPMQ_SEED";
const SEEDS: &str = "HOPMQ_SIM_SEEDS";
const FIRST: &str = "HOPMQ_SIM_FIRST_SEED";

#[test]
#[ignore = "it fails; the others run it"]
fn one_world_of_many_is_broken() {
    Check::new().seeds(50).run(|sim| async move {
        println!("world {}", sim.seed());
        let host = sim.host("shop");
        host.sleep(std::time::Duration::from_secs(1)).await;
        sim.note("something happens");
        assert_ne!(sim.seed(), 30, "seed 30 panics");
        if sim.seed() == 20 { Err("seed 20 is broken") } else { Ok(()) }
    });
}

fn run(variables: &[(&str, &str)]) -> (Output, String) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["one_world_of_many_is_broken", "--exact", "--ignored", "--nocapture"]);
    command
        .env_remove(SEED)
        .env_remove(SEEDS)
        .env_remove(FIRST)
        .env_remove("RUST_BACKTRACE")
        .envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output, String::from_utf8_lossy(&text).into_owned())
}

/// The worlds that were run, each once.
fn worlds(text: &str) -> Vec<&str> {
    let mut worlds: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("world ")).collect();
    worlds.dedup();
    worlds
}

#[test]
fn the_report_is_replayed_by_the_seed_that_it_names() {
    let (first, text) = run(&[]);
    assert!(!first.status.success());
    assert_eq!(worlds(&text).last(), Some(&"20"), "it stops at the first that fails");
    let says = "HOPMQ_SEED=20 cargo test one_world_of_many_is_broken";
    assert!(text.contains(says) && text.contains("seed 20 is broken"), "{text}");

    let (again, text) = run(&[(SEED, "20")]);
    assert!(!again.status.success());
    assert_eq!(worlds(&text), ["20"]);
    assert!(text.contains("seed 20 is broken") && text.contains("something happens"), "{text}");
}

#[test]
fn a_seed_that_is_not_broken_passes() {
    let (output, text) = run(&[(SEED, "19")]);
    assert!(output.status.success(), "{text}");
    assert_eq!(worlds(&text), ["19"]);
    assert!(text.contains("something happens"), "{text}");
}

#[test]
fn fewer_seeds_are_run_where_fewer_are_asked_for() {
    let (output, text) = run(&[(SEEDS, "5")]);
    assert!(output.status.success(), "{text}");
    assert_eq!(worlds(&text), ["1", "2", "3", "4", "5"]);
}

#[test]
fn what_is_no_number_is_said_and_nothing_is_run() {
    for (name, value) in [(SEED, "0x2"), (SEED, ""), (SEEDS, "-1"), (FIRST, "one")] {
        let (output, text) = run(&[(name, value)]);
        assert!(!output.status.success());
        assert!(text.contains(&format!("{name} is {value:?}, which is no number")), "{text}");
        assert_eq!(worlds(&text), [""; 0]);
    }
}

#[test]
fn seeds_are_run_from_the_first_that_is_asked_for() {
    let (output, text) = run(&[(FIRST, "21"), (SEEDS, "3")]);
    assert!(output.status.success(), "{text}");
    assert_eq!(worlds(&text), ["21", "22", "23"]);
}

#[test]
fn no_seed_is_an_error() {
    let (output, text) = run(&[(SEEDS, "0")]);
    assert!(!output.status.success() && text.contains("with no seed at all nothing is tested"), "{text}");
}

#[test]
fn a_panic_is_replayed_with_its_backtrace() {
    let (output, text) = run(&[(SEED, "30")]);
    assert!(!output.status.success());
    let frame = "replay::one_world_of_many_is_broken::{{closure}}";
    assert!(text.contains("seed 30 panics") && text.contains(frame), "{text}");
}

#[test]
#[cfg(unix)]
fn what_is_no_text_is_no_number() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["one_world_of_many_is_broken", "--exact", "--ignored", "--nocapture"]);
    let output = command.env(SEED, OsStr::from_bytes(b"\xff1")).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("which is no number"));
}
