//! An order service with a bug, which the simulator finds, and the same service without it. `docs/simulation.md` tells the story.
//!
//! `cargo run -p hopmq-sim --example orders`

#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hopmq_sim::{BrokerConfig, Check, Connection, Sim};

/// How many orders come in.
const ORDERS: usize = 100;
const URI: &str = "amqp://rabbit?recovery=always&heartbeat=5";

/// Where orders are kept.
trait Store: Clone + Send + Sync + 'static {
    fn save(&self, order: &[u8]) -> impl Future<Output = ()> + Send;
}

/// The service: stores every order that comes. It knows of no simulator.
async fn serve(connection: Connection, store: impl Store, is_fixed: bool) -> Result<(), hopmq_sim::Error> {
    let channel = connection.open_channel().await?;
    channel.declare_queue("orders").durable().await?;
    let mut orders = channel.consume("orders").prefetch(10).await?;
    while let Some(order) = orders.next().await {
        if is_fixed {
            store.save(order.body()).await;
            order.ack().ok(); // when this comes too late, the order comes again
        } else {
            let body = order.body_bytes();
            order.ack().ok(); // the bug: the broker forgets the order before anybody else has it
            store.save(&body).await;
        }
    }
    Ok(())
}

/// A database on a machine of its own, which takes its time.
#[derive(Clone)]
struct Database {
    sim: Sim,
    orders: Arc<Mutex<BTreeSet<Vec<u8>>>>,
}

impl Store for Database {
    async fn save(&self, order: &[u8]) {
        self.sim.sleep(Duration::from_millis(200)).await;
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).insert(order.to_vec());
    }
}

impl Database {
    fn has(&self, order: &str) -> bool {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).contains(order.as_bytes())
    }
}

/// The test: whatever happens to the service, to the broker and between them, an order that was confirmed is stored.
async fn every_confirmed_order_is_stored(sim: Sim, is_fixed: bool) -> Result<(), Box<dyn Error>> {
    let [rabbit, orders, shop] = ["rabbit", "orders", "shop"].map(|name| sim.host(name));
    rabbit.broker(BrokerConfig::default())?;
    let database = Database { sim: sim.clone(), orders: Arc::default() };
    let store = database.clone();
    orders.start(move |host| {
        let store = store.clone();
        async move {
            loop {
                if let Ok(connection) = host.connect(URI).await {
                    serve(connection, store.clone(), is_fixed).await.ok();
                }
                host.sleep(Duration::from_secs(1)).await;
            }
        }
    });

    let connection = shop.connect(URI).await?;
    let channel = connection.open_channel().await?;
    channel.declare_queue("orders").durable().await?;
    let publisher = channel.publisher().await?;
    let calm = sim.trouble().host(&orders).host(&rabbit).link(&orders, &rabbit).begin();
    let mut confirmed = Vec::new();
    for number in 0..ORDERS {
        let order = format!("order {number}");
        publisher.publish("orders", order.clone()).await?;
        confirmed.push(order);
        sim.sleep(Duration::from_millis(300)).await;
    }
    calm.await;

    let missing = || confirmed.iter().find(|order| !database.has(order));
    let all_stored = async {
        while missing().is_some() {
            sim.sleep(Duration::from_millis(100)).await;
        }
    };
    let result = sim.timeout(Duration::from_secs(120), all_stored).await;
    result.map_err(|_| format!("{:?} was confirmed, and is not stored", missing()))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let found = Check::new().find(|sim| every_confirmed_order_is_stored(sim, false));
    println!("{}", found.ok_or("the bug was not found")?);

    let (seeds, begin) = (1000, Instant::now());
    Check::new().seeds(seeds).run(|sim| every_confirmed_order_is_stored(sim, true));
    println!("fixed: {seeds} seeds pass, in {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}
