//! What the documentation lists, and what there is: each has all of the other.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Futures that a program does not make: they are handed to a runtime, which keeps them.
const OF_RUNTIMES: [&str; 2] = ["Driver", "Accept"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All sources below a folder, as one text, without their comments.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else {
            let source = fs::read_to_string(path).unwrap();
            for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
                text = text + line + "\n";
            }
        }
    }
    text
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The public functions that give a future, and the types that are one or become one.
fn futures(source: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for item in source.split("pub async fn ").skip(1) {
        found.insert(identifier(item));
    }
    for item in source.split("pub fn ").skip(1) {
        let signature = item.split(['{', ';']).next().unwrap();
        if ["-> Call<", "-> impl Future", "-> Providing"].iter().any(|future| signature.contains(future)) {
            found.insert(identifier(item));
        }
    }
    for name in ["Future for ", "Stream for "] {
        for item in source.split(name).skip(1) {
            found.insert(identifier(item));
        }
    }
    for name in OF_RUNTIMES {
        assert!(found.remove(name), "{name} is no future any more");
    }
    found
}

/// What stands in backquotes in the first column: `Type::name`, `name`, or `name_*` for all that begin so.
fn listed(table: &str) -> BTreeSet<&str> {
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    let column = rows.flat_map(|row| row.split('|').next().unwrap().split('`').skip(1).step_by(2));
    column.flat_map(|code| code.split("::")).collect()
}

fn names(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

#[test]
fn the_table_of_cancel_safety_has_every_future_and_no_other() {
    let folders = ["hopmq/src", "hopmq-tokio/src", "hopmq-smol/src"];
    let source: String = folders.iter().map(|folder| sources(&root().join(folder))).collect();
    let table = fs::read_to_string(root().join("docs/cancel-safety.md")).unwrap();
    let (futures, listed) = (futures(&source), listed(&table));
    assert!(futures.len() > 40, "the search finds them: {futures:?}");
    let missing: Vec<_> =
        futures.iter().filter(|name| !listed.iter().any(|pattern| names(pattern, name))).collect();
    assert!(missing.is_empty(), "docs/cancel-safety.md does not say what dropping these does: {missing:?}");
    for pattern in listed {
        let of_what = ["fn ", "struct ", "trait "];
        let there = of_what
            .iter()
            .any(|keyword| source.split(keyword).skip(1).any(|item| names(pattern, identifier(item))));
        assert!(there || pattern == "Stream", "docs/cancel-safety.md tells of {pattern}, which is not there");
    }
}
