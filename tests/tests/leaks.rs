//! Nothing is left behind: no future that never resolves, no task that outlives its connection, no memory; over ten
//! thousand connections, in memory, over TCP, and with losses in between. What is planted is found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::pending;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hopmq_tests::leaks::{Counted, Cutting, Harness, Leak, come_and_go, come_back_and_go, hall};
use hopmq_tokio::io::Runtime as _;
use hopmq_tokio::{
    Backoff, BrokerConfig, ConnectOptions, Connection, Recovery, TcpAcceptor, TcpDialer, Tokio,
};
use peak_alloc::PeakAlloc;
use tokio::net::TcpListener;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The allocator counts for the whole process, so one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

const CYCLES: usize = 10_000;
/// In bytes.
const SLACK: usize = 8 * 1024;

type Harnessed = Harness<fn() -> usize>;

fn alone<T>(runtime: &tokio::runtime::Runtime, test: impl AsyncFnOnce(Counted<Tokio>, Harnessed) -> T) -> T {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    runtime.block_on(async {
        let runtime = Counted::new(Tokio::current());
        let held: fn() -> usize = || MEMORY.current_usage();
        let harness = Harness::new(runtime.tasks(), held, SLACK);
        test(runtime, harness).await
    })
}

fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn broker(runtime: &Counted<Tokio>) -> hopmq::Broker<Counted<Tokio>> {
    hopmq::Broker::new(runtime.clone(), BrokerConfig::default())
}

#[test]
fn connections_in_memory_leave_nothing_behind() {
    let left = alone(&current_thread(), async |runtime, harness| {
        let broker = broker(&runtime);
        let cycle = async |cycle: usize| {
            come_and_go(broker.connect().await.unwrap(), cycle).await;
        };
        harness.run(CYCLES, cycle).await
    });
    assert_eq!(left, Ok(()));
}

#[test]
fn connections_over_tcp_leave_nothing_behind() {
    let left = alone(&current_thread(), async |runtime, harness| {
        let broker = broker(&runtime);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        broker.serve(TcpAcceptor::from(listener));
        let options = ConnectOptions::new().host("127.0.0.1").port(port);
        let cycle = async |cycle: usize| {
            let connection = Connection::connect(&runtime, TcpDialer, options.clone()).await;
            come_and_go(connection.unwrap(), cycle).await;
        };
        harness.run(CYCLES, cycle).await
    });
    assert_eq!(left, Ok(()));
}

#[test]
fn connections_that_are_lost_and_come_back_leave_nothing_behind() {
    let left = alone(&current_thread(), async |runtime, harness| {
        let broker = broker(&runtime);
        let (porch, hall) = hall();
        broker.serve(hall);
        let at_once = Backoff { initial: Duration::ZERO, ..Backoff::default() };
        let recovery = Recovery { backoff: at_once, ..Recovery::default() };
        let options = ConnectOptions::new().recovery(recovery);
        let cycle = async |cycle: usize| {
            let dialer = Cutting::new(porch.clone());
            let connection = Connection::connect(&runtime, dialer.clone(), options.clone()).await;
            come_back_and_go(connection.unwrap(), cycle, || dialer.cut()).await;
        };
        harness.run(CYCLES, cycle).await
    });
    assert_eq!(left, Ok(()));
}

// What is planted is found.

/// Time passes at once where nobody has anything to do.
fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

#[test]
fn a_future_that_never_resolves_is_found() {
    let left = alone(&paused(), async |_, harness| {
        harness
            .run(10, async |cycle: usize| {
                if cycle == 7 {
                    pending::<()>().await;
                }
            })
            .await
    });
    assert_eq!(left, Err(Leak::Stuck { cycle: 7 }));
}

#[test]
fn an_answer_that_never_comes_is_found() {
    let left = alone(&paused(), async |runtime, harness| {
        let broker = broker(&runtime);
        let cycle = async |cycle: usize| {
            let connection = broker.connect().await.unwrap();
            let channel = connection.open_channel().await.unwrap();
            let queue = channel.declare_queue("").exclusive().await.unwrap();
            let mut consumer = channel.consume(queue.name()).await.unwrap();
            if cycle == 3 {
                consumer.next().await; // nobody publishes
            }
            connection.close().await.unwrap();
        };
        harness.run(5, cycle).await
    });
    assert_eq!(left, Err(Leak::Stuck { cycle: 3 }));
}

#[test]
fn a_task_that_outlives_its_connection_is_found() {
    let left = alone(&paused(), async |runtime, harness| {
        let broker = broker(&runtime);
        let cycle = async |cycle: usize| {
            come_and_go(broker.connect().await.unwrap(), cycle).await;
            if cycle == 2 {
                runtime.spawn(pending());
            }
        };
        harness.run(5, cycle).await
    });
    assert_eq!(left, Err(Leak::Outlives { cycle: 2, tasks: 1 }));
}

#[test]
fn a_connection_that_is_kept_is_found() {
    let left = alone(&paused(), async |runtime, harness| {
        let broker = broker(&runtime);
        let mut kept = None;
        let cycle = async |cycle: usize| {
            let connection = broker.connect().await.unwrap();
            if cycle == 1 {
                kept = Some(connection);
            } else {
                connection.close().await.unwrap();
            }
        };
        let left = harness.run(5, cycle).await;
        drop(kept);
        left
    });
    assert_eq!(left, Err(Leak::Outlives { cycle: 1, tasks: 2 })); // its own, and the broker's
}

#[test]
fn memory_that_grows_is_found() {
    let left = alone(&paused(), async |runtime, harness| {
        let broker = broker(&runtime);
        let mut kept = Vec::with_capacity(1000);
        let cycle = async |cycle: usize| {
            come_and_go(broker.connect().await.unwrap(), cycle).await;
            kept.push(vec![0_u8; 64]);
        };
        let left = harness.run(1000, cycle).await;
        drop(kept);
        left
    });
    assert!(matches!(left, Err(Leak::Grows { few, many }) if many > few + 850 * 64), "{left:?}");
}
