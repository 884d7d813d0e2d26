//! Every scenario against the embedded broker: over TCP on each runtime, and in memory.

use hopmq_tests::scenarios::boxed::Scenario;
use hopmq_tests::scenarios::{self, Boxed, Runtime, Server, alarm};

fn on_current_thread(scenario: Scenario) {
    scenarios::run(&scenarios::current_thread(), Server::embedded, scenario);
}

fn on_multi_thread(scenario: Scenario) {
    scenarios::run(&scenarios::multi_thread(), Server::embedded, scenario);
}

fn on_smol(scenario: Scenario) {
    scenarios::run(&Runtime::Smol, Server::embedded, scenario);
}

fn on_async_std(scenario: Scenario) {
    scenarios::run(&Runtime::AsyncStd, Server::embedded, scenario);
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

mod tcp_smol {
    hopmq_tests::scenarios!(crate::on_smol);
}

mod tcp_async_std {
    hopmq_tests::scenarios!(crate::on_async_std);
}

mod memory {
    hopmq_tests::scenarios!(crate::in_memory);
}

/// RabbitMQ's is an alarm of a whole node, and so not among the scenarios of one that is shared.
#[test]
fn trap_34_an_alarm_holds_back_publishes_only() {
    fn amid_alarm(server: &Server) -> Boxed<'_, ()> {
        let Some(broker) = server.broker() else { unreachable!("it is embedded") };
        Box::pin(alarm::holds_back_publishes_only(server, |on| broker.set_alarm(on)))
    }
    for run in [on_current_thread, on_multi_thread, on_smol, on_async_std, in_memory] {
        run(amid_alarm);
    }
}
