//! Programs that the tests run as their users do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::sources;

/// How many messages pika sends through a broker.
const PIKA_MESSAGES: &str = "1000";

/// Has Python's pika, a client that somebody else wrote, talk to the broker at `uri`.
pub fn pika_round_trip(uri: &str) {
    let output = judge("roundtrip.py").args([uri, PIKA_MESSAGES]).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success() && said.starts_with("pika ok: "), "{said}{}", text(&output.stderr));
}

/// One of the Python programs in `tests/judges`, which stand on what others wrote.
pub fn judge(script: &str) -> Command {
    let python = std::env::var("HOPMQ_PYTHON")
        .expect("HOPMQ_PYTHON must be a Python with tests/judges/requirements.txt; tests/run makes one");
    let mut program = Command::new(python);
    program.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("judges").join(script));
    program
}

/// Runs an example of the workspace, against the broker at `uri` where there is one.
pub fn example(name: &str, uri: Option<&str>) -> Output {
    let mut program = Command::new(build_example(name));
    program.env_remove("AMQP_URL");
    if let Some(uri) = uri {
        program.env("AMQP_URL", uri);
    }
    program.output().unwrap()
}

/// What each tutorial says, up to what it measures.
const TUTORIALS: [(&str, &[&str]); 7] = [
    ("tutorial_1_hello_world", &["sent 'Hello World!'", "received 'Hello World!'"]),
    ("tutorial_2_work_queues", &["did 'first.'", "did 'second..'", "did 'fifth.....'"]),
    ("tutorial_3_publish_subscribe", &["on the screen: info: it runs", "in the file: error: it ran"]),
    ("tutorial_4_routing", &["on the screen: info: it runs again", "in the file: error: it ran"]),
    (
        "tutorial_5_topics",
        &["all: cron.info: a job has begun", "critical: cron.critical: the job has no disk"],
    ),
    ("tutorial_6_rpc", &["asked for fibonacci(30)", "got 832040"]),
    ("tutorial_7_publisher_confirms", &["published 5000 messages, each with a task, in "]),
];

/// Every tutorial does what it says it does.
pub fn assert_tutorials(uri: Option<&str>) {
    for (name, lines) in TUTORIALS {
        let output = example(name, uri);
        let said = text(&output.stdout);
        assert!(output.status.success(), "{name}: {said}{}", text(&output.stderr));
        for line in lines {
            assert!(said.lines().any(|said| said.starts_with(line)), "{name}: no \"{line}\" in:\n{said}");
        }
    }
}

/// The examples without a runtime did their job, against the broker at `uri`: the hand-written loop, and the blocking
/// client.
pub fn assert_without_runtime(name: &str, uri: &str) {
    let output = example(name, Some(uri));
    let said = text(&output.stdout);
    assert!(output.status.success(), "{name}: {said}{}", text(&output.stderr));
    assert_eq!(said, "confirmed  3 messages\ndelivered  one\ndelivered  two\ndelivered  three\nclosed\n");
}

/// The example of a client and a broker in one loop did its job, in fifty lines.
pub fn assert_two_engines() {
    let output = example("two_engines", None);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert_eq!(said, "delivered  hello\n");
    let source = sources::document("hopmq-proto/examples/two_engines.rs").unwrap();
    assert!(source.lines().count() <= 50);
}

/// The quickstart did its job.
pub fn assert_quickstart(uri: Option<&str>, broker: &str) {
    for name in ["quickstart", "quickstart_smol"] {
        assert_quickstart_of(name, uri, broker);
    }
}

fn assert_quickstart_of(name: &str, uri: Option<&str>, broker: &str) {
    let output = example(name, uri);
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    assert!(complained.is_empty(), "{complained}");
    assert!(said.starts_with(&format!("broker     {broker}")), "{said}");
    for line in ["published  10000 messages and confirmed in ", "consumed   10000 messages and acked in "] {
        assert!(said.lines().any(|said| said.starts_with(line)), "no \"{line}\" in:\n{said}");
    }
}

/// The quickstart ends with one line on standard error that starts like this.
pub fn assert_quickstart_fails(uri: &str, complaint: &str) {
    let output = example("quickstart", Some(uri));
    let complained = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complained}");
    assert_eq!((text(&output.stdout), complained.lines().count()), (String::new(), 1), "{complained}");
    assert!(complained.starts_with(&format!("quickstart: {complaint}")), "{complained}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Builds it with the features of the whole workspace, as the tests are, so that most often nothing is left to build.
fn build_example(name: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--workspace", "--all-features", "--examples"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(built.status.success(), "{}", text(&built.stderr));
    // The tests are in target/PROFILE/deps, the examples in target/PROFILE/examples.
    let tests = std::env::current_exe().unwrap();
    let program = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    tests.parent().and_then(Path::parent).unwrap().join("examples").join(program)
}
