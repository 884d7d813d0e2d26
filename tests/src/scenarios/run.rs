use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::Server;
use super::boxed::Scenario;

/// How long a scenario may take: a hang is a failure.
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs a scenario against a server that is started for it, and looks that nothing is left of it.
pub fn run(runtime: &Runtime, start: impl AsyncFnOnce() -> Server, scenario: Scenario) {
    runtime.block_on(async {
        let server = start().await;
        timeout(DEADLINE, scenario(&server)).await.expect("the scenario hangs");
        server.finish().await;
    });
}

pub fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
