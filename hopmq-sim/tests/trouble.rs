//! What trouble there is, whatever the order in which it was declared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::IntoFuture as _;
use std::io::ErrorKind;
use std::time::Duration;

use hopmq_sim::{
    BrokerConfig, Check, Connection, ConnectionEvent, Does, Error, Fault, FaultKind, Host, JoinHandle,
    PublishError, Sim,
};

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

const URI: &str = "amqp://rabbit?recovery=always&heartbeat=5";

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Passes orders on, and believes that what was sent has come.
async fn forward(connection: &Connection) -> Result<(), Error> {
    let channel = connection.open_channel().await?;
    for queue in ["orders", "invoices"] {
        channel.declare_queue(queue).durable().await?;
    }
    let publisher = channel.publisher().await?;
    let mut orders = channel.consume("orders").prefetch(1).await?;
    while let Some(order) = orders.next().await {
        publisher.publish("invoices", order.body_bytes()).await.ok();
        order.ack().ok();
    }
    Ok(())
}

/// Each order that was confirmed is invoiced.
async fn every_order_is_invoiced(sim: Sim, trouble: impl Fn(&Sim)) {
    let [rabbit, shop] = ["rabbit", "shop"].map(|name| sim.host(name));
    let broker = rabbit.broker(BrokerConfig::default()).unwrap();
    sim.host("service").start(|host| async move {
        loop {
            if let Ok(connection) = host.connect(URI).await {
                forward(&connection).await.ok();
            }
            host.sleep(secs(1)).await;
        }
    });
    let connection = shop.connect(URI).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    channel.declare_queue("orders").durable().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    trouble(&sim);
    let mut confirmed = 0;
    for _ in 0..60 {
        match publisher.publish("orders", "an order").await {
            Ok(()) => confirmed += 1,
            Err(PublishError::Nacked) => {}
            Err(error) => panic!("{error}"),
        }
        sim.sleep(millis(500)).await;
    }
    sim.sleep(secs(120)).await;
    let invoiced = broker.queue("/", "invoices").unwrap().ready;
    assert!(invoiced >= confirmed, "{confirmed} orders, {invoiced} invoices");
}

#[test]
fn a_service_that_ignores_a_nack_is_found_when_the_broker_gives_trouble() {
    let network = |sim: &Sim| drop(sim.trouble().link(&sim.host("service"), &sim.host("rabbit")).begin());
    assert!(Check::new().find(|sim| every_order_is_invoiced(sim, network)).is_none());

    let broker = |sim: &Sim| drop(sim.trouble().broker(&sim.host("rabbit")).begin());
    let failure = Check::new().find(|sim| every_order_is_invoiced(sim, broker)).expect("it is found");
    let [Fault { kind: FaultKind::Nack(host), .. }] = failure.faults() else { panic!("{failure}") };
    assert_eq!(host, "rabbit");
    let report = failure.to_string();
    assert!(report.contains("rabbit nacks what is published for "), "{report}");
    assert!(report.contains("s rabbit nacks publishes\n"), "{report}");
}

#[test]
fn a_broker_gives_every_kind_of_trouble_and_is_well_again() {
    let mut told = String::new();
    for seed in 1..=40 {
        let sim = Sim::new(seed);
        let run = sim.run(async {
            let [rabbit, user] = ["rabbit", "user"].map(|name| sim.host(name));
            rabbit.broker(BrokerConfig::default()).unwrap();
            let connection = user.connect(URI).await.unwrap();
            let channel = connection.open_channel().await.unwrap();
            channel.declare_queue("q").durable().await.unwrap();
            let publisher = channel.publisher().await.unwrap();
            let calm = sim.trouble().broker(&rabbit).host(&rabbit).within(secs(10)).begin();
            let publishes = sim.spawn({
                let (publisher, sim) = (publisher.clone(), sim.clone());
                async move {
                    loop {
                        let _ = publisher.publish("q", "x").await;
                        sim.sleep(millis(100)).await;
                    }
                }
            });
            calm.await;
            publishes.abort();
            sim.timeout(secs(60), publisher.publish("q", "x").into_future()).await.unwrap().unwrap();
        });
        run.unwrap();
        told.push_str(&sim.last_events());
    }
    for does in [
        "closes every connection",
        "blocks publishers",
        "unblocks publishers",
        "nacks publishes",
        "takes publishes again",
    ] {
        assert!(told.contains(&format!(" s rabbit {does}\n")), "{does}: {told}");
    }
}

#[test]
fn publishers_wait_while_the_broker_blocks_them() {
    let sim = Sim::new(1);
    let run = sim.run(async {
        let [rabbit, user] = ["rabbit", "user"].map(|name| sim.host(name));
        rabbit.broker(BrokerConfig::default()).unwrap();
        let connection = user.connect(URI).await.unwrap();
        let mut events = connection.events();
        let channel = connection.open_channel().await.unwrap();
        channel.declare_queue("q").durable().await.unwrap();
        let publisher = channel.publisher().await.unwrap();
        let block = Fault::new(secs(1), FaultKind::Block("rabbit".to_owned())).lasts(secs(20));
        let calm = sim.trouble().broker(&rabbit).exactly([block]).begin();
        sim.sleep(secs(2)).await;
        // Longer than its heartbeats: nobody is given up.
        publisher.publish("q", "x").await.unwrap();
        assert_eq!(sim.now().as_nanos() / 1_000_000_000, 21);
        let blocked = events.next().await;
        assert_eq!(blocked, Some(ConnectionEvent::Blocked { reason: "low on memory".to_owned() }));
        assert_eq!(events.next().await, Some(ConnectionEvent::Unblocked));
        calm.await;
        connection.close().await.unwrap();
    });
    run.unwrap();
}

#[test]
fn a_broker_that_is_down_gives_no_trouble() {
    let sim = Sim::new(1);
    let run = sim.run(async {
        let [rabbit, user] = ["rabbit", "user"].map(|name| sim.host(name));
        rabbit.broker(BrokerConfig::default()).unwrap();
        let fault = |at, kind: fn(String) -> FaultKind| Fault::new(secs(at), kind("rabbit".to_owned()));
        let faults = [fault(1, FaultKind::Crash).lasts(secs(5)), fault(2, FaultKind::Nack).lasts(secs(60))];
        let _calm = sim.trouble().broker(&rabbit).exactly(faults).begin();
        sim.sleep(secs(10)).await;
        let connection = user.connect(URI).await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        channel.declare_queue("q").durable().await.unwrap();
        channel.publisher().await.unwrap().publish("q", "x").await.unwrap();
    });
    run.unwrap();
    let told = sim.last_events();
    assert!(!told.contains("nacks"), "{told}");
}

#[test]
#[should_panic(expected = "no broker was started on user from outside, so none closes every connection")]
fn a_host_without_a_broker_is_a_mistake() {
    let sim = Sim::new(1);
    let _ = sim.run(async {
        let user = sim.host("user");
        let none = Fault::new(secs(3), FaultKind::Close("user".to_owned()));
        sim.trouble().broker(&user).exactly([none]).begin().await;
    });
}

#[test]
#[should_panic(expected = "there is no host \"rabit\": at   3.000 s  rabit closes every connection")]
fn a_host_that_there_is_not_is_a_mistake() {
    let sim = Sim::new(1);
    let _ = sim.run(async {
        sim.host("rabbit").broker(BrokerConfig::default()).unwrap();
        let fault = Fault::new(secs(3), FaultKind::Close("rabit".to_owned()));
        sim.trouble().exactly([fault]).begin().await;
    });
}

#[test]
#[should_panic(
    expected = "a host wakes with nobody: at   3.000 s, as rabbit wakes with user: rabbit crashes"
)]
fn a_moment_that_never_comes_is_a_mistake() {
    let sim = Sim::new(1);
    let _ = sim.run(async {
        let [rabbit, user] = ["rabbit", "user"].map(|name| sim.host(name));
        let crash = Fault::new(secs(3), FaultKind::Crash(rabbit.name()));
        let mut crash = crash.lasts(secs(1)).when("rabbit", Does::Wakes);
        crash.moment.as_mut().unwrap().peer = Some(user.name());
        sim.trouble().exactly([crash]).begin().await;
    });
}
