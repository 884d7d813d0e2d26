//! A RabbitMQ node of a test's own, for what the shared one must not be told.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Ports from here to the range from which the kernel serves connections.
const PORTS: std::ops::Range<u16> = 10_000..32_768;

/// A node, until it is dropped.
#[derive(Debug)]
pub struct Node {
    folder: PathBuf,
    uri: String,
}

impl Node {
    /// Starts a node in a folder of its own, in which `prepare` has written `rabbitmq.conf` and what it names.
    pub fn start(prepare: impl FnOnce(&Path)) -> Self {
        let folder = std::env::temp_dir().join(format!("hopmq-node-{:016x}", random()));
        fs::create_dir(&folder).unwrap();
        let mut node = Self { folder, uri: String::new() };
        prepare(&node.folder);
        node.uri = node.script("start", &[]).trim().to_owned();
        node
    }

    /// Where it speaks AMQP without TLS.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// A file of the node.
    pub fn path(&self, file: &str) -> String {
        self.folder.join(file).to_str().unwrap().to_owned()
    }

    /// Runs rabbitmqctl on it.
    pub fn ctl(&self, arguments: &[&str]) {
        self.script("ctl", arguments);
    }

    /// Stops it, and gives what it has written into its log.
    pub fn stop(self) -> String {
        self.script("stop", &[]);
        let files = fs::read_dir(self.folder.join("log")).unwrap();
        let logs =
            files.map(|file| file.unwrap().path()).filter(|it| it.extension().is_some_and(|it| it == "log"));
        logs.map(|log| fs::read_to_string(log).unwrap()).collect()
    }

    /// Runs a command of `tests/rabbitmq` on it, and gives what it said.
    ///
    /// # Errors
    ///
    /// What it complained of.
    pub fn try_script(&self, command: &str, arguments: &[&str]) -> Result<String, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rabbitmq");
        let mut program = Command::new(script);
        program.arg(command).arg(&self.folder).args(arguments).stdin(Stdio::null());
        let output = program.output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let complained = String::from_utf8_lossy(&output.stderr);
        Err(format!("tests/rabbitmq {command} {arguments:?}: {said}{complained}"))
    }

    fn script(&self, command: &str, arguments: &[&str]) -> String {
        self.try_script(command, arguments).unwrap_or_else(|complaint| panic!("{complaint}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rabbitmq");
        let _ = Command::new(script).arg("stop").arg(&self.folder).status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A port of this machine that is free now.
pub fn free_port() -> u16 {
    let span = u64::from(PORTS.end - PORTS.start);
    (0..1000)
        .map(|_| PORTS.start + u16::try_from(random() % span).unwrap())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
