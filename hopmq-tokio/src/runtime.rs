use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use hopmq::Instant;
use hopmq::io::{Clock, Network, Runtime, Timer};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::{Instant as TokioInstant, Sleep};

use crate::tcp::TcpAcceptor;

/// The tokio runtime that it was made on.
#[derive(Debug, Clone)]
pub struct Tokio {
    handle: Handle,
    clock: TokioClock,
}

impl Tokio {
    /// The runtime of the task that calls this.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as everything of tokio does.
    #[must_use]
    pub fn current() -> Self {
        Self { handle: Handle::current(), clock: TokioClock { epoch: TokioInstant::now() } }
    }
}

impl Runtime for Tokio {
    type Clock = TokioClock;
    type Timer = TokioTimer;

    fn clock(&self) -> TokioClock {
        self.clock
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer { clock: self.clock, deadline: None, sleep: None }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(future);
    }
}

impl Network for Tokio {
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

/// Tokio's clock, which a test can pause.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    epoch: TokioInstant,
}

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }
}

/// One alarm of tokio's.
#[derive(Debug)]
pub struct TokioTimer {
    clock: TokioClock,
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer for TokioTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let at = self.clock.epoch + (deadline - Instant::ZERO);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if self.deadline != Some(deadline) {
            sleep.as_mut().reset(at);
            self.deadline = Some(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}
