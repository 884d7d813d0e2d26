//! `docs/traps.md` is true: each trap has its row, and each test that a row names exists and is of that trap.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn each_trap_has_a_test_that_cites_it() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut functions = BTreeMap::new();
    for folder in ["hopmq-proto", "hopmq", "hopmq-tokio", "hopmq-blocking", "tests"] {
        for file in rust_files(&workspace.join(folder)) {
            functions_of(&fs::read_to_string(&file).unwrap(), &mut functions);
        }
    }

    let table = fs::read_to_string(workspace.join("docs/traps.md")).unwrap();
    let mut expected = 1..=40;
    for row in table
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter(|it| it.starts_with(|c: char| c.is_ascii_digit()))
    {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [number, _trap, _what_we_do, tests] = cells[..] else { panic!("four cells: {row}") };
        let number: u32 = number.parse().unwrap();
        assert_eq!(Some(number), expected.next());
        assert!(!tests.is_empty(), "trap {number} has no test");
        for test in tests.split(", ") {
            let name = test
                .strip_prefix('`')
                .and_then(|it| it.strip_suffix('`'))
                .unwrap_or_else(|| panic!("{test}"));
            let texts =
                functions.get(name).unwrap_or_else(|| panic!("trap {number}: there is no test {name}"));
            assert!(texts.iter().any(|text| cites(text, number)), "{name} does not cite trap {number}");
        }
    }
    assert_eq!(expected.next(), None);
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    files
}

/// Each function by its name, from the comment above it to the next one: a test, a scenario, or a property.
fn functions_of(source: &str, functions: &mut BTreeMap<String, Vec<String>>) {
    let mut above = String::new();
    let mut current = None;
    for line in source.lines() {
        let text = line.trim_start();
        if text.starts_with("//") || text.starts_with("#[") {
            above.push_str(line);
            continue;
        }
        let signature = text.strip_prefix("pub ").unwrap_or(text);
        let signature = signature.strip_prefix("async ").unwrap_or(signature);
        if let Some(named) = signature.strip_prefix("fn ") {
            let name = named.split(['(', '<']).next().unwrap().to_owned();
            functions.entry(name.clone()).or_default().push(String::new());
            current = Some(name);
        }
        if let Some(text) = current.as_ref().and_then(|it| functions.get_mut(it)).and_then(|it| it.last_mut())
        {
            text.push_str(&above);
            text.push_str(line);
        }
        above.clear();
    }
}

/// `trap_26_…`, `trap_3_and_4_…` or "trap 26".
fn cites(text: &str, number: u32) -> bool {
    let text = text.to_lowercase();
    let numbers = text.match_indices("trap").flat_map(|(at, trap)| {
        let rest = text[at + trap.len()..].trim_start_matches([' ', '_']);
        rest.split(['_', ' ']).take_while(|it| *it == "and" || it.starts_with(|c: char| c.is_ascii_digit()))
    });
    let mut numbers = numbers.map(|it| it.chars().take_while(char::is_ascii_digit).collect::<String>());
    numbers.any(|it| it.parse() == Ok(number))
}
