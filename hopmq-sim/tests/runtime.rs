//! What any runtime can do: code that knows only of `io::Runtime` sleeps and waits.

#![allow(clippy::unwrap_used)]

use std::future::{pending, ready};
use std::time::Duration;

use hopmq_sim::Sim;
use hopmq_sim::io::{Clock as _, Runtime};

async fn times(runtime: impl Runtime) -> Vec<u64> {
    let now = || runtime.clock().now().as_nanos() / 1_000_000;
    let mut times = vec![now()];
    runtime.sleep(Duration::from_secs(60)).await;
    times.push(now());
    assert_eq!(runtime.timeout(Duration::from_secs(1), pending::<()>()).await, None);
    times.push(now());
    let slow = async {
        runtime.sleep(Duration::from_millis(10)).await;
        7
    };
    assert_eq!(runtime.timeout(Duration::from_millis(11), slow).await, Some(7));
    times.push(now());
    assert_eq!(runtime.timeout(Duration::ZERO, ready(8)).await, Some(8), "what is ready is not too late");
    times
}

#[test]
fn it_sleeps_and_gives_up_in_time() {
    let sim = Sim::new(1);
    assert_eq!(sim.run(times(sim.host("shop"))).unwrap(), [0, 60_000, 61_000, 61_010]);
}
