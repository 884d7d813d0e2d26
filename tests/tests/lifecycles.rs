//! `docs/lifecycles.md` shows the lifecycles as the code has them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use hopmq_proto::client::{Connection, Session};
use hopmq_proto::fsm::Table;

const LIFECYCLES: [(&str, Table); 3] = [
    ("Session", Session::LIFECYCLE),
    ("Connection", Connection::LIFECYCLE),
    ("Channel", Connection::CHANNEL_LIFECYCLE),
];

const DIAGRAM: &str = "```mermaid\n";

/// The text with the diagram below the heading `name` as the table prints it.
fn with_diagram(text: &str, name: &str, table: &Table) -> String {
    let section = text.find(&format!("\n## {name}\n")).unwrap_or_else(|| panic!("no heading {name}"));
    let start = section + text[section..].find(DIAGRAM).unwrap() + DIAGRAM.len();
    let end = start + text[start..].find("```").unwrap();
    format!("{}{}{}", &text[..start], table.mermaid(), &text[end..])
}

#[test]
fn the_diagrams_are_what_the_tables_print() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lifecycles.md");
    let text = fs::read_to_string(&file).unwrap();
    let printed =
        LIFECYCLES.iter().fold(text.clone(), |text, (name, table)| with_diagram(&text, name, table));
    if std::env::var_os("HOPMQ_WRITE_DOCS").is_some() {
        fs::write(&file, printed).unwrap();
    } else {
        assert_eq!(text, printed, "run this test with HOPMQ_WRITE_DOCS=1 to write the diagrams anew");
    }
}

#[test]
fn every_state_can_be_reached_and_is_described() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lifecycles.md")).unwrap();
    for (name, table) in LIFECYCLES {
        assert_eq!(table.unreachable(), [""; 0], "of {name}");
        for (state, ..) in table.rows {
            assert!(text.contains(&format!("\n| {state} |")), "{state} of {name} is not described");
        }
    }
}
