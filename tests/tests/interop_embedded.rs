//! Every scenario against the embedded broker: over TCP on both of tokio's runtimes, and in memory.

use hopmq_tests::scenarios::boxed::Scenario;
use hopmq_tests::scenarios::{self, Server};

fn on_current_thread(scenario: Scenario) {
    scenarios::run(&scenarios::current_thread(), Server::embedded, scenario);
}

fn on_multi_thread(scenario: Scenario) {
    scenarios::run(&scenarios::multi_thread(), Server::embedded, scenario);
}

fn in_memory(scenario: Scenario) {
    scenarios::run(&scenarios::multi_thread(), Server::memory, scenario);
}

mod tcp_current_thread {
    hopmq_tests::scenarios!(crate::on_current_thread);
}

mod tcp_multi_thread {
    hopmq_tests::scenarios!(crate::on_multi_thread);
}

mod memory {
    hopmq_tests::scenarios!(crate::in_memory);
}
