//! Every scenario against a real RabbitMQ 4, the one that `HOPMQ_RABBITMQ4` names.

use hopmq_tests::capture::Capture;
use hopmq_tests::carried;
use hopmq_tests::programs;
use hopmq_tests::scenarios::boxed::Scenario;
use hopmq_tests::scenarios::{self, RABBITMQ_SCENARIOS, SCENARIOS, Server};

fn rabbitmq4(scenario: Scenario) {
    let start = async |on| Server::at(on, &scenarios::rabbitmq4_uri());
    scenarios::run(&scenarios::current_thread(), start, scenario);
}

hopmq_tests::scenarios!(crate::rabbitmq4);

mod only {
    hopmq_tests::rabbitmq_scenarios!(crate::rabbitmq4);
}

#[test]
fn pika_publishes_and_consumes() {
    programs::pika_round_trip(&scenarios::rabbitmq4_uri());
}

#[test]
fn everything_is_carried_to_pika_and_back() {
    scenarios::multi_thread().block_on(carried::through_pika(&scenarios::rabbitmq4_uri()));
}

#[test]
fn everything_is_carried_to_rabbitmq_c_and_back() {
    scenarios::multi_thread().block_on(carried::through_rabbitmq_c(&scenarios::rabbitmq4_uri()));
}

#[test]
fn quickstart() {
    programs::assert_quickstart(Some(&scenarios::rabbitmq4_uri()), "RabbitMQ ");
}

#[test]
fn tutorials() {
    programs::assert_tutorials(Some(&scenarios::rabbitmq4_uri()));
}

#[test]
fn tshark_understands_what_is_said() {
    let runtime = scenarios::multi_thread();
    let capture = runtime.block_on(Capture::before(&scenarios::rabbitmq4_uri()));
    capture.play(&runtime, scenarios::well_formed(SCENARIOS));
    capture.play(&runtime, scenarios::well_formed(RABBITMQ_SCENARIOS));
    runtime.block_on(capture.finish()).assert_understood(&[]);
}
