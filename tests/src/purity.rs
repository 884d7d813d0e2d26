//! What `hopmq-proto` must not have, as a look at its sources finds it.
//!
//! Without std the compiler rules out clocks, sockets, threads and the system's randomness, and `hopmq-proto/clippy.toml`
//! hash maps that can be gone through. What both let pass is looked for here: state that is not an engine's own, ways
//! back to std, and dependencies that could bring either.

use std::io;

use crate::sources;

/// A line that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impure {
    /// The file, from the crate's folder, and the number of the line.
    pub place: String,
    /// What must not be there.
    pub what: &'static str,
}

/// What must not be there, and how it is recognised in a line without its strings and comments.
const RULES: [(&str, &[&str]); 8] = [
    ("state that outlives an engine", &["static ", "thread_local", "lazy_static"]),
    (
        "state that changes behind a shared reference",
        &[
            "Cell",
            "RefCell",
            "UnsafeCell",
            "OnceCell",
            "LazyCell",
            "Atomic",
            "Mutex",
            "RwLock",
            "OnceLock",
            "LazyLock",
            "::cell::",
            "::atomic::",
        ],
    ),
    ("std", &["std::", "extern crate std"]),
    (
        "a hash map outside `lookup`",
        &["hashbrown", "HashMap", "HashSet", "HashTable", "BuildHasher", "RandomState"],
    ),
    ("randomness", &["getrandom", "rand::", "fastrand"]),
    (
        "an address as a value",
        &["as *const", "as *mut", "addr_of", "{:p}", "ptr::", "Pointer", "as_ptr", "ptr_eq", "&raw "],
    ),
    ("a string that is not looked through", &["r#\""]),
    ("code that the compiler does not check", &["unsafe ", "asm!", "extern \"", "include!", "env!"]),
];

/// The file that may name a hash map.
const LOOKUP: &str = "src/lookup.rs";

/// The crate's version, which is the same wherever it is built.
const VERSION: &str = "env!(\"CARGO_PKG_VERSION\")";

/// The crates that engines are made with, none of which has std here.
pub const DEPENDENCIES: [&str; 4] = ["bytes", "hashbrown", "siphasher", "thiserror"];

/// What breaks a rule in the sources of `hopmq-proto`, its tests aside; with how many lines were looked at.
///
/// # Errors
///
/// When they cannot be read.
pub fn of_engines() -> io::Result<(usize, Vec<Impure>)> {
    let (mut lines, mut all) = (0, Vec::new());
    for (file, text) in sources::texts("hopmq-proto/src")? {
        if !file.contains("/tests/") && !file.ends_with("/tests.rs") {
            lines += text.lines().count();
            all.extend(of_file(&file, &text));
        }
    }
    Ok((lines, all))
}

/// What breaks a rule in one file.
#[must_use]
pub fn of_file(file: &str, text: &str) -> Vec<Impure> {
    let mut all = Vec::new();
    let (mut tests_follow, mut in_tests, mut in_string) = (false, false, false);
    for (number, line) in text.lines().enumerate() {
        // What is for tests only is behind such a line: one item, or a module to its brace.
        if in_tests {
            in_tests = line != "}";
            continue;
        }
        if std::mem::replace(&mut tests_follow, line == "#[cfg(test)]") {
            in_tests = line.starts_with("mod ") && line.ends_with('{');
            continue;
        }
        let code = code_of(&line.replace(VERSION, "\"\""), &mut in_string);
        for (what, signs) in RULES {
            let allowed = file == LOOKUP && what.ends_with("`lookup`");
            if !allowed && signs.iter().any(|sign| has(&code, sign)) {
                all.push(Impure { place: format!("{file}:{}", number + 1), what });
            }
        }
    }
    all
}

/// A line without comments, and without what is in its strings, one of which may go on from line to line; what is left of
/// a string are its quotes, and `{:p}` in place of whatever is formatted so.
fn code_of(line: &str, in_string: &mut bool) -> String {
    let mut code = String::new();
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        let len = match letter {
            '\\' if *in_string => 2,
            '"' => {
                *in_string = !*in_string;
                code.push('"');
                1
            }
            ':' if *in_string && (rest.starts_with(":p}") || rest.starts_with(":#p}")) => {
                code.push_str("{:p}");
                3
            }
            '\'' if !*in_string && rest.starts_with("'\"'") => 3,
            '/' if !*in_string && rest.starts_with("//") => break,
            letter => {
                if !*in_string {
                    code.push(letter);
                }
                letter.len_utf8()
            }
        };
        rest = rest.get(len..).unwrap_or_default();
    }
    code
}

/// Whether a sign is there, as a word of its own where it begins like one; `'static` is a lifetime.
fn has(code: &str, sign: &str) -> bool {
    code.match_indices(sign).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let is_word = sign.starts_with(|letter: char| letter.is_alphanumeric());
        !is_word || !before.is_some_and(|it| it.is_alphanumeric() || it == '_' || it == '\'')
    })
}
