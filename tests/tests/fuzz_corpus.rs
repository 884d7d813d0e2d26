//! Replays the committed corpus through the fuzz bodies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use hopmq_tests::fuzz;

type Body = fn(&[u8]);

const TARGETS: [(&str, Body); 11] = [
    ("broker_input", fuzz::broker_input),
    ("broker_ops", fuzz::broker_ops),
    ("client_input", fuzz::client_input),
    ("client_ops", fuzz::client_ops),
    ("frame", fuzz::frame),
    ("method", fuzz::method),
    ("properties", fuzz::properties),
    ("session_ops", fuzz::session_ops),
    ("table", fuzz::table),
    ("uri", fuzz::uri),
    ("world", fuzz::world),
];

macro_rules! replays {
    ($($name:ident)*) => {
        mod every_input_of_the_corpus_holds {
            $(#[test] fn $name() { super::replay(stringify!($name)); })*
        }

        #[test]
        fn every_target_is_replayed() {
            assert_eq!(TARGETS.map(|(name, _)| name), [$(stringify!($name)),*]);
        }
    };
}

replays! { broker_input broker_ops client_input client_ops frame method properties session_ops table uri world }

fn replay(name: &str) {
    let inputs = entries(&fuzz_crate().join("corpus").join(name));
    assert!(!inputs.is_empty(), "the corpus of {name} is empty");
    for input in inputs {
        let bytes = fs::read(&input).unwrap();
        let replay = std::panic::catch_unwind(|| body(name)(&bytes));
        assert!(replay.is_ok(), "{} fails", input.display());
    }
}

/// What a fuzzer has found, replayed here: `HOPMQ_FUZZ_INPUT=…/artifacts/<target>/crash-…`.
#[test]
fn the_input_that_is_named_holds() {
    let Some(input) = env::var_os("HOPMQ_FUZZ_INPUT").map(PathBuf::from) else { return };
    let target = input.parent().and_then(Path::file_name).expect("it lies in a folder named as its target");
    body(target.to_str().unwrap())(&fs::read(&input).unwrap());
}

fn body(name: &str) -> Body {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    target.unwrap_or_else(|| panic!("there is no target {name}")).1
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
