//! Replays the committed corpus through the fuzz bodies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hopmq_tests::fuzz;

type Body = fn(&[u8]);

const TARGETS: [(&str, Body); 6] = [
    ("broker_input", fuzz::broker_input),
    ("client_input", fuzz::client_input),
    ("frame", fuzz::frame),
    ("method", fuzz::method),
    ("properties", fuzz::properties),
    ("table", fuzz::table),
];

#[test]
fn every_input_of_the_corpus_holds() {
    for (name, body) in TARGETS {
        let inputs = entries(&fuzz_crate().join("corpus").join(name));
        assert!(!inputs.is_empty(), "the corpus of {name} is empty");
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            let replay = std::panic::catch_unwind(|| body(&bytes));
            assert!(replay.is_ok(), "{} fails", input.display());
        }
    }
}

#[test]
fn every_target_has_a_body_and_a_corpus() {
    let bodies: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(stems("fuzz_targets"), bodies);
    assert_eq!(stems("corpus"), bodies);
    let manifest = fs::read_to_string(fuzz_crate().join("Cargo.toml")).unwrap();
    for name in bodies {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml has no {name}");
    }
}

fn fuzz_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    let list = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    list.map(|entry| entry.unwrap().path()).collect()
}

fn stems(folder: &str) -> BTreeSet<String> {
    let paths = entries(&fuzz_crate().join(folder));
    paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}
