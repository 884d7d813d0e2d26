//! `docs/traps.md` is true: each trap has its row, and each test that a row names exists and is of that trap.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hopmq_tests::sources;

#[test]
fn each_trap_has_a_test_that_cites_it() {
    let functions = sources::functions().unwrap();
    let table = sources::document("docs/traps.md").unwrap();
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
