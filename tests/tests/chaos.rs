//! A few runs of chaos, on a node of their own; `tests/chaos` does any number.

#![allow(clippy::panic)]

use hopmq_tests::chaos::hopmq::HopMq;
use hopmq_tests::chaos::report::{Options, run_all};
use hopmq_tests::scenarios;

/// Seeds that together meet a killed, a restarted and a starved node, a virtual host that vanishes, a deleted queue, an
/// administrator, orphans of exclusive queues, two endpoints, a client that is refused at first, and a bad network.
const SEEDS: [u64; 8] = [4, 5, 9, 11, 14, 21, 27, 51];

#[test]
fn nothing_is_lost_stuck_or_left_behind() {
    let options = Options { seeds: SEEDS.to_vec(), parallel: SEEDS.len(), verbose: false, time: None };
    match scenarios::multi_thread().block_on(run_all::<HopMq>(&options)) {
        Ok(total) => assert!(total.findings().is_empty(), "{:?}", total.findings()),
        Err(error) => panic!("{error}"),
    }
}
