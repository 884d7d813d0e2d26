//! What lies between a run's client and the node: one way, or two.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::plan::Endpoints;
use super::proxy::{Fault, Proxy};
use crate::closed_port::ClosedPort;

/// How often the end of a connection is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How long nobody must come back after a close.
const QUIET: Duration = Duration::from_millis(250);

/// The ways to the node.
#[derive(Debug)]
pub(super) struct Network {
    closed: Option<ClosedPort>,
    /// The one that stays is the last.
    proxies: Vec<Proxy>,
    one_is_lost: AtomicBool,
}

impl Network {
    pub(super) async fn start(node: SocketAddr, endpoints: Endpoints) -> io::Result<Self> {
        let mut proxies = vec![Proxy::start(node).await?];
        if endpoints == Endpoints::Two {
            proxies.push(Proxy::start(node).await?);
        }
        let closed = (endpoints == Endpoints::FirstDown).then(ClosedPort::new);
        Ok(Self { closed, proxies, one_is_lost: AtomicBool::new(false) })
    }

    /// Where to connect to, in order.
    pub(super) fn endpoints(&self) -> Vec<SocketAddr> {
        let closed = self.closed.iter().map(ClosedPort::address);
        closed.chain(self.proxies.iter().map(Proxy::address)).collect()
    }

    /// The endpoint that is there to the end.
    pub(super) fn last_endpoint(&self) -> Vec<SocketAddr> {
        self.proxies.last().map(Proxy::address).into_iter().collect()
    }

    pub(super) fn refuse(&self) {
        self.proxies.iter().for_each(Proxy::refuse);
    }

    pub(super) fn open_again(&self) {
        self.proxies.iter().for_each(Proxy::open_again);
    }

    /// Takes down one of two ways for good. Says whether there were two.
    pub(super) fn lose_one(&self) -> bool {
        let [first, _, ..] = &self.proxies[..] else { return false };
        first.refuse();
        !self.one_is_lost.swap(true, Ordering::Relaxed)
    }

    /// Does what the fault says on every way that is there.
    pub(super) async fn apply(&self, fault: Fault) {
        match &self.proxies[..] {
            [first, second] if !self.one_is_lost.load(Ordering::Relaxed) => {
                tokio::join!(first.apply(fault), second.apply(fault));
            }
            [.., last] => last.apply(fault).await,
            [] => {}
        }
    }

    /// How many connections there still are, once there should be none, or have come since.
    pub(super) async fn after_close(&self, patience: Duration) -> u64 {
        let open = || self.proxies.iter().map(Proxy::open).sum::<u64>();
        let accepted = || self.proxies.iter().map(Proxy::accepted).sum::<u64>();
        let deadline = Instant::now() + patience;
        while open() > 0 && Instant::now() < deadline {
            sleep(LOOK).await;
        }
        let before = accepted();
        sleep(QUIET).await;
        open() + (accepted() - before)
    }
}
