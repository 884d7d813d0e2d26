//! `docs/features.md` is true: what it names is there, and runs where it says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use hopmq_tests::scenarios::boxed::Scenario;
use hopmq_tests::scenarios::{RABBITMQ_SCENARIOS, SCENARIOS};

/// Where a test can run, in the order of the page.
const SERVERS: [&str; 5] = ["3.10", "4", "embedded", "scripted", "simulated"];
const RABBITMQ: &[usize] = &[0, 1];
const EVERYWHERE: &[usize] = &[0, 1, 2];
const SCRIPTED: &[usize] = &[3];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The rows of the tables: their four cells.
fn rows() -> Vec<[String; 4]> {
    let page = fs::read_to_string(repository().join("docs/features.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what "));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("not four cells: {cells:?}"))
    })
    .collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn has(scenarios: &[(&str, Scenario)], test: &str) -> bool {
    scenarios.iter().any(|(name, _)| *name == test)
}

/// Where a test of `tests/tests` runs.
fn servers_of(file: &str) -> &'static [usize] {
    match file {
        "chaos" | "interop_rabbitmq_own" => &[0],
        "blocking" | "credentials" | "interop_embedded" | "tls" => &[2],
        file if file.starts_with("session/") => &[2],
        file if file.starts_with("sim/") => &[4],
        "metrics" | "tracing" => &[2, 3], // some here, some there
        "judges" => EVERYWHERE,           // its bodies are tests of the interop programs too
        _ => SCRIPTED,
    }
}

/// Where a test runs, if it is there.
fn find(test: &str) -> Option<&'static [usize]> {
    if has(SCENARIOS, test) {
        return Some(EVERYWHERE);
    }
    if has(RABBITMQ_SCENARIOS, test) {
        return Some(RABBITMQ);
    }
    let (file, name) = test.split_once("::")?;
    let folders = ["tests/tests", "hopmq/tests", "hopmq-proto/tests", "hopmq-proto/tests/codec"];
    let places: Vec<_> = match file.strip_prefix("sim/") {
        Some(file) => vec![repository().join("hopmq-sim/tests").join(file)],
        None => folders.iter().map(|folder| repository().join(folder).join(file)).collect(),
    };
    let paths = places.into_iter().map(|place| place.with_extension("rs"));
    paths
        .filter_map(|path| fs::read_to_string(path).ok())
        .any(|source| source.contains(&format!("fn {name}(")) || source.contains(&format!("mod {name} {{")))
        .then(|| servers_of(file))
}

#[test]
fn every_test_is_there_and_runs_where_it_says() {
    let rows = rows();
    assert!(rows.len() > 70, "the tables are not read: {} rows", rows.len());
    for [what, _, tests, on] in &rows {
        let mut servers: BTreeSet<usize> = BTreeSet::new();
        for test in quoted(tests) {
            if let Some((file, kind)) = test.split_once(": ") {
                let source = fs::read_to_string(repository().join("hopmq/src/client").join(file)).unwrap();
                assert!(source.contains(&format!("```{kind},")), "{what}: no {kind} in {file}");
                servers.extend(SCRIPTED);
                continue;
            }
            servers.extend(find(test).unwrap_or_else(|| panic!("{what}: there is no {test}")));
        }
        let servers: Vec<_> = servers.into_iter().map(|server| SERVERS[server]).collect();
        assert!(!servers.is_empty(), "{what}: no test");
        assert_eq!(servers.join(", "), *on, "{what}");
    }
}

/// Every Rust file below `folder`.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_name_is_there() {
    let mut source = String::new();
    for name in ["hopmq", "hopmq-proto", "hopmq-tokio", "hopmq-smol", "hopmq-blocking", "hopmq-sim"] {
        let folder = format!("{name}/src");
        sources(&repository().join(folder), &mut source);
    }
    let words: HashSet<_> = source.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let is_declared = |name: &str| {
        let kinds = ["struct", "enum", "trait", "fn", "async fn"];
        kinds.iter().any(|kind| source.contains(&format!("pub {kind} {name}")))
    };
    for [what, how, ..] in &rows() {
        for name in quoted(how) {
            let mut parts = name.split("::");
            let declared = parts.next().is_some_and(is_declared) && parts.all(|part| words.contains(part));
            assert!(declared, "{what}: there is no {name}");
        }
    }
}
