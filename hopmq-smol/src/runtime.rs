use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use hopmq::Instant;
use hopmq::io::{Clock, Network, Runtime, Timer};
use smol::net::TcpListener;
use smol::{Executor, Timer as Alarm};

use crate::tcp::TcpAcceptor;

/// An executor of smol's: the global one, or one that you run.
#[derive(Debug, Clone)]
pub struct Smol {
    executor: Option<Weak<Executor<'static>>>,
    clock: SmolClock,
}

impl Smol {
    /// The global executor, as of [`smol::spawn`]: one thread, or as many as `SMOL_THREADS` says.
    #[must_use]
    pub fn current() -> Self {
        Self { executor: None, clock: SmolClock::new() }
    }

    /// An executor of yours. It is not kept alive: when it is dropped, what runs on it ends, and what is spawned then
    /// never runs.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    ///
    /// use hopmq_smol::{Broker, BrokerConfig, Connection, Smol, TcpDialer};
    ///
    /// let executor = Arc::new(smol::Executor::new());
    /// smol::block_on(executor.run(async {
    ///     let runtime = Smol::on(&executor);
    ///     let broker = Broker::new(runtime.clone(), BrokerConfig::default());
    ///     broker.listen("127.0.0.1:0").await?;
    ///     let connection = Connection::connect(&runtime, TcpDialer, broker.uri().parse()?).await?;
    ///     Ok(connection.close().await?)
    /// }))
    /// # }
    /// ```
    #[must_use]
    pub fn on(executor: &Arc<Executor<'static>>) -> Self {
        Self { executor: Some(Arc::downgrade(executor)), clock: SmolClock::new() }
    }
}

impl Runtime for Smol {
    type Clock = SmolClock;
    type Timer = SmolTimer;

    fn clock(&self) -> SmolClock {
        self.clock
    }

    fn timer(&self) -> SmolTimer {
        SmolTimer { clock: self.clock, set: None, alarm: Alarm::never() }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match &self.executor {
            None => smol::spawn(future).detach(),
            // Its tasks hold this: were it held in return, neither would ever be dropped.
            Some(executor) => {
                if let Some(executor) = executor.upgrade() {
                    executor.spawn(future).detach();
                }
            }
        }
    }
}

impl Network for Smol {
    type Listener = TcpAcceptor;

    fn current() -> Self {
        Self::current()
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<(TcpAcceptor, SocketAddr)> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((TcpAcceptor::from(listener), address))
    }
}

/// The system's monotonic clock, by which smol's alarms ring.
#[derive(Debug, Clone, Copy)]
pub struct SmolClock {
    epoch: StdInstant,
}

impl SmolClock {
    pub(crate) fn new() -> Self {
        Self { epoch: StdInstant::now() }
    }
}

impl Clock for SmolClock {
    fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }
}

/// One alarm of smol's.
#[derive(Debug)]
pub struct SmolTimer {
    clock: SmolClock,
    /// When the alarm rings, no later than it should.
    set: Option<Instant>,
    alarm: Alarm,
}

impl SmolTimer {
    fn set(&mut self, deadline: Instant) {
        self.alarm.set_at(self.clock.epoch + (deadline - Instant::ZERO));
        self.set = Some(deadline);
    }
}

impl Timer for SmolTimer {
    /// Most deadlines are put off again and again, and to set an alarm wakes the thread of all alarms: so one that rings
    /// too early is left to ring, and set again then.
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.set.is_none_or(|set| deadline < set) {
            self.set(deadline);
        }
        while Pin::new(&mut self.alarm).poll(cx).is_ready() {
            self.set = None;
            if self.clock.now() >= deadline {
                return Poll::Ready(());
            }
            self.set(deadline);
        }
        Poll::Pending
    }
}
