use std::future::Future;
use std::sync::Arc;

use hopmq_tokio::io::Runtime;
use tokio::sync::watch;

/// A runtime that counts what runs on it.
#[derive(Debug, Clone)]
pub struct Counted<R> {
    runtime: R,
    tasks: Tasks,
}

/// How many tasks there are.
#[derive(Debug, Clone)]
pub struct Tasks(Arc<watch::Sender<usize>>);

impl<R: Runtime> Counted<R> {
    /// Runs on `runtime`, and counts.
    pub fn new(runtime: R) -> Self {
        Self { runtime, tasks: Tasks(Arc::new(watch::Sender::new(0))) }
    }

    /// The count.
    pub fn tasks(&self) -> Tasks {
        self.tasks.clone()
    }
}

impl Tasks {
    /// How many there are now.
    #[must_use]
    pub fn running(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until there are no more than so many.
    pub async fn at_most(&self, tasks: usize) {
        // The sender is here, so it does not go.
        let _ = self.0.subscribe().wait_for(|running| *running <= tasks).await;
    }

    fn begin(&self) -> Running {
        self.0.send_modify(|running| *running += 1);
        Running(self.clone())
    }
}

/// One task, until it is dropped.
struct Running(Tasks);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.send_modify(|running| *running -= 1);
    }
}

impl<R: Runtime> Runtime for Counted<R> {
    type Clock = R::Clock;
    type Timer = R::Timer;

    fn clock(&self) -> R::Clock {
        self.runtime.clock()
    }

    fn timer(&self) -> R::Timer {
        self.runtime.timer()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let running = self.tasks.begin();
        self.runtime.spawn(async move {
            future.await;
            drop(running);
        });
    }

    fn seed(&self) -> u64 {
        self.runtime.seed()
    }
}
