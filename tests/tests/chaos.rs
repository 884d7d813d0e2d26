//! A few runs of chaos, on nodes of their own; `tests/chaos` does any number.

#![allow(clippy::panic)]

use hopmq_tests::chaos::history::QueueKind;
use hopmq_tests::chaos::hopmq::HopMq;
use hopmq_tests::chaos::plan::{Plan, Server, Trouble};
use hopmq_tests::chaos::report::{Options, run_all};
use hopmq_tests::scenarios;

/// Seeds that together meet a killed, a restarted and a starved node, a virtual host that vanishes, a deleted queue, an
/// administrator, orphans of exclusive queues, two endpoints, a client that is refused at first, and a bad network.
const SEEDS: [u64; 8] = [4, 5, 9, 11, 14, 21, 27, 51];

/// `RabbitMQ` 3.10 can lose the leader of a quorum queue for good when its only node is killed: then nothing is confirmed
/// or delivered there any more, whoever asks. So those who kill the node and those who have such queues do not share one, and a
/// seed that does both (21) is left out.
#[test]
fn nothing_is_lost_stuck_or_left_behind() {
    let plans = SEEDS.map(|seed| Plan::new(seed, Server { may_break: true }));
    let (quorum, others): (Vec<_>, Vec<_>) =
        plans.iter().partition(|plan| plan.queues.iter().any(|queue| queue.kind == QueueKind::Quorum));
    let breaks = |trouble: &Trouble| matches!(trouble, Trouble::Kill | Trouble::Restart);
    let quorum = quorum.into_iter().filter(|plan| !plan.troubles.iter().any(|(_, trouble)| breaks(trouble)));
    run(others.into_iter().map(|plan| plan.seed).collect());
    run(quorum.map(|plan| plan.seed).collect());
}

fn run(seeds: Vec<u64>) {
    let options = Options { parallel: seeds.len(), seeds, verbose: false, time: None };
    match scenarios::multi_thread().block_on(run_all::<HopMq>(&options)) {
        Ok(total) => assert!(total.findings().is_empty(), "{:?}", total.findings()),
        Err(error) => panic!("{error}"),
    }
}
