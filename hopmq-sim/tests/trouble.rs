//! What trouble there is, whatever the order in which it was declared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::ErrorKind;
use std::time::Duration;

use hopmq_sim::{Host, JoinHandle, Sim};

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Dials again and again, and counts how often it was refused, and how often it got no answer.
fn dials(sim: &Sim, from: &Host, to: &Host) -> JoinHandle<(u32, u32)> {
    let (sim, from, to) = (sim.clone(), from.clone(), to.name());
    sim.clone().spawn(async move {
        let (mut refused, mut swallowed) = (0, 0);
        for _ in 0..60 {
            match sim.timeout(millis(500), from.dial(&to, 1)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => refused += 1,
                Ok(Err(error)) => panic!("{error}"),
                Err(_) => swallowed += 1,
            }
            sim.sleep(millis(500)).await;
        }
        (refused, swallowed)
    })
}

#[test]
fn a_link_has_no_first_and_no_second_host() {
    let mut seen = [(0, 0); 2];
    for seed in 1..=40 {
        let sim = Sim::new(seed);
        let run = sim.run(async {
            let hosts = [sim.host("a"), sim.host("b")];
            for host in &hosts {
                let mut listener = host.listen(1).unwrap();
                host.spawn(async move { while listener.accept().await.is_ok() {} });
            }
            let calm = sim.trouble().link(&hosts[0], &hosts[1]).begin();
            let tasks = [dials(&sim, &hosts[0], &hosts[1]), dials(&sim, &hosts[1], &hosts[0])];
            for (task, (refused, swallowed)) in tasks.into_iter().zip(&mut seen) {
                let (times, others) = task.await.unwrap();
                *refused += times;
                *swallowed += others;
            }
            calm.await;
            for host in &hosts {
                assert!(sim.timeout(millis(5000), host.dial("a", 1)).await.unwrap().is_ok());
                assert!(sim.timeout(millis(5000), host.dial("b", 1)).await.unwrap().is_ok());
            }
        });
        run.unwrap();
    }
    for (refused, swallowed) in seen {
        assert!(refused > 0 && swallowed > 0, "{seen:?}");
    }
}
