//! Every scenario on each runtime against a real RabbitMQ 3.10, the one that `HOPMQ_RABBITMQ` names.

use hopmq_tests::carried;
use hopmq_tests::programs;
use hopmq_tests::scenarios::boxed::Scenario;
use hopmq_tests::scenarios::{self, Runtime, Server};

fn play(runtime: &Runtime, scenario: Scenario) {
    scenarios::run(runtime, async |on| Server::at(on, &scenarios::rabbitmq_uri()), scenario);
}

fn on_current_thread(scenario: Scenario) {
    play(&scenarios::current_thread(), scenario);
}

fn on_multi_thread(scenario: Scenario) {
    play(&scenarios::multi_thread(), scenario);
}

fn on_smol(scenario: Scenario) {
    play(&Runtime::Smol, scenario);
}

fn on_async_std(scenario: Scenario) {
    play(&Runtime::AsyncStd, scenario);
}

mod current_thread {
    hopmq_tests::scenarios!(crate::on_current_thread);
}

mod multi_thread {
    hopmq_tests::scenarios!(crate::on_multi_thread);
}

mod smol {
    hopmq_tests::scenarios!(crate::on_smol);
}

mod async_std {
    hopmq_tests::scenarios!(crate::on_async_std);
}

mod only {
    mod current_thread {
        hopmq_tests::rabbitmq_scenarios!(crate::on_current_thread);
    }

    mod multi_thread {
        hopmq_tests::rabbitmq_scenarios!(crate::on_multi_thread);
    }

    mod smol {
        hopmq_tests::rabbitmq_scenarios!(crate::on_smol);
    }

    mod async_std {
        hopmq_tests::rabbitmq_scenarios!(crate::on_async_std);
    }
}

/// pika itself is right: what it finds in the embedded broker it also finds here.
#[test]
fn pika_publishes_and_consumes() {
    programs::pika_round_trip(&scenarios::rabbitmq_uri());
}

#[test]
fn everything_is_carried_to_pika_and_back() {
    scenarios::multi_thread().block_on(carried::through_pika(&scenarios::rabbitmq_uri()));
}

#[test]
fn everything_is_carried_to_rabbitmq_c_and_back() {
    scenarios::multi_thread().block_on(carried::through_rabbitmq_c(&scenarios::rabbitmq_uri()));
}

#[test]
fn quickstart() {
    programs::assert_quickstart(Some(&scenarios::rabbitmq_uri()), "RabbitMQ ");
}

#[test]
fn std_net() {
    programs::assert_without_runtime("std_net", &scenarios::rabbitmq_uri());
}

mod blocking {
    use hopmq_tests::{blocking, programs, scenarios};

    #[test]
    fn hello() {
        programs::assert_without_runtime("hello", &scenarios::rabbitmq_uri());
    }

    #[test]
    fn round_trip() {
        blocking::round_trip(&scenarios::rabbitmq_uri());
    }

    #[test]
    fn many_threads() {
        blocking::many_threads(&scenarios::rabbitmq_uri());
    }

    #[test]
    fn heartbeats() {
        blocking::heartbeats(&scenarios::rabbitmq_uri());
    }
}

#[test]
fn tutorials() {
    programs::assert_tutorials(Some(&scenarios::rabbitmq_uri()));
}
