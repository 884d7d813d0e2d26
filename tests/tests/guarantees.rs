//! `docs/guarantees.md` names tests for every promise, and they are there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hopmq_tests::sources;

#[test]
fn each_promise_has_its_tests() {
    let functions = sources::functions().unwrap();
    let document = sources::document("docs/guarantees.md").unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    let mut promises = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_start_matches("| ").trim_end_matches(" |").split(" | ").collect();
        let [promise, tests] = cells[..] else { panic!("two cells: {row}") };
        promises += 1;
        for test in tests.split(", ") {
            let name = test.strip_prefix('`').and_then(|it| it.strip_suffix('`'));
            let name = name.unwrap_or_else(|| panic!("{test} in {row}"));
            assert!(functions.contains_key(name), "there is no test {name}, which is to show: {promise}");
        }
    }
    assert!(promises >= 20, "{promises} promises");
}
