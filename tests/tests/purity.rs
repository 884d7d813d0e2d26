//! Engines are values: `hopmq-proto` has no state but theirs, and no way to get at a clock, randomness or threads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use hopmq_tests::{purity, sources};

#[test]
fn nothing_in_the_engines_is_forbidden() {
    let (lines, found) = purity::of_engines().unwrap();
    assert!(lines > 10_000, "only {lines} lines were looked at");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_engines_are_without_std() {
    let root = sources::document("hopmq-proto/src/lib.rs").unwrap();
    assert!(root.lines().any(|line| line == "#![no_std]"));
    assert!(root.contains("#[cfg(test)]\nextern crate std;"), "std is for unit tests");
}

#[test]
fn the_engines_have_few_dependencies_and_none_has_std() {
    let manifest = sources::document("hopmq-proto/Cargo.toml").unwrap();
    let own = section(&manifest, "[dependencies]");
    let names: Vec<&str> = own.iter().map(|line| line.split(['.', ' ']).next().unwrap()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, purity::DEPENDENCIES);
    assert!(own.iter().all(|line| line.ends_with(".workspace = true")), "{own:?}");

    let workspace = sources::document("Cargo.toml").unwrap();
    let shared = section(&workspace, "[workspace.dependencies]");
    for name in names {
        let line = shared.iter().find(|line| line.starts_with(&format!("{name} = "))).expect(name);
        assert!(line.contains("default-features = false") && !line.contains("\"std\""), "{line}");
    }
}

fn section<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    let lines = manifest.lines().skip_while(|line| *line != name).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn what_is_planted_is_found() {
    for (what, line) in [
        ("state that outlives an engine", "static COUNT: u32 = 0;"),
        ("state that outlives an engine", "pub(crate) static mut LAST: u64 = 0;"),
        ("state that outlives an engine", "thread_local! { }"),
        ("state that changes behind a shared reference", "    seen: RefCell<u8>,"),
        ("state that changes behind a shared reference", "use core::cell::UnsafeCell as Seen;"),
        ("state that changes behind a shared reference", "    next: AtomicU64,"),
        ("state that changes behind a shared reference", "use core::sync::atomic::*;"),
        ("std", "let now = std::time::Instant::now();"),
        ("std", "extern crate std;"),
        ("std", "use ::std::thread;"),
        ("a hash map outside `lookup`", "for (key, value) in hashbrown::HashMap::<u8, u8>::new() {}"),
        ("a hash map outside `lookup`", "use hashbrown as fast;"),
        ("a hash map outside `lookup`", "fn keys(map: &HashMap<u8, u8>) {}"),
        ("randomness", "let n = getrandom::u64();"),
        ("an address as a value", "let at = self as *const Self;"),
        ("an address as a value", "write!(f, \"{:p}\", self)?;"),
        ("an address as a value", "write!(f, \"{self:#p} is here\")?;"),
        ("an address as a value", "if core::ptr::eq(a, b) {"),
        ("an address as a value", "let at = Arc::as_ptr(&message) as usize;"),
        ("an address as a value", "impl fmt::Pointer for Engine {"),
        ("a string that is not looked through", "let text = r#\"a \" b\"#;"),
        ("state that outlives an engine", "match c { '\"' => {} } static COUNT: u32 = 0;"),
        ("state that outlives an engine", "let text = \"a \\\n b\"; static COUNT: u32 = 0;"),
        ("code that the compiler does not check", "let x = unsafe { y() };"),
        ("code that the compiler does not check", "extern \"C\" { fn time(); }"),
        ("code that the compiler does not check", "const BUILT: &str = env!(\"TIME\");"),
    ] {
        let text = format!("fn before() {{}}\n{line}\n");
        let found = purity::of_file("src/planted.rs", &text);
        assert!(
            found.iter().any(|it| it.what == what && it.place.starts_with("src/planted.rs:")),
            "{line}: {found:?}"
        );
    }
}

#[test]
fn what_is_harmless_is_not_found() {
    for line in [
        "/// Not like std::time::Instant, and no HashMap either.",
        "    // A static would do, if this were not a value.",
        "fn name() -> &'static str { \"static COUNT: u32 = 0\" }",
        "#[error(\"std:: is not here\")]",
        "const NAMES: [&'static str; 1] = [\"a\"];",
        "let from_static = ShortStr::from_static(\"x\");",
        "#[cfg(test)]\nextern crate std;",
        "#[cfg(test)]\nmod tests {\n    use std::vec::Vec;\n}",
    ] {
        let found = purity::of_file("src/harmless.rs", line);
        assert!(found.is_empty(), "{line}: {found:?}");
    }
    let behind = "#[cfg(test)]\nmod tests {\n    use std::vec::Vec;\n}\nstatic COUNT: u32 = 0;";
    assert_eq!(purity::of_file("src/planted.rs", behind).len(), 1, "what follows the tests is looked at");
    let lookup = "use hashbrown::HashMap;";
    assert!(purity::of_file("src/lookup.rs", lookup).is_empty());
}
