//! Every scenario against a real RabbitMQ, the one that `HOPMQ_RABBITMQ` names.

use hopmq_tests::scenarios::{self, Server};

fn rabbitmq(scenario: impl AsyncFnOnce(&Server)) {
    scenarios::run(&scenarios::current_thread(), async || Server::rabbitmq(), scenario);
}

hopmq_tests::scenarios!(crate::rabbitmq);
