use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_core::Stream;
use thiserror::Error;

/// Waits for what others await: every future, and everything that can be turned into one.
///
/// The thread sleeps until the answer is there. Every operation of HopMQ has a deadline, so it is there at last, as
/// long as somebody runs the connection's [`Io`](crate::Io); on that thread itself nothing may wait.
pub trait Wait: IntoFuture + Sized {
    /// Blocks this thread until the result is there.
    fn wait(self) -> Self::Output;

    /// Blocks this thread until the result is there, for `timeout` at most; then the future is dropped, which does
    /// what its documentation says. [`next`](crate::Consumer::next) loses nothing by it.
    ///
    /// ```no_run
    /// # fn example(mut deliveries: hopmq_blocking::Consumer) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use hopmq_blocking::{TimedOut, Wait};
    ///
    /// match deliveries.next().wait_timeout(Duration::from_secs(1)) {
    ///     Ok(Some(delivery)) => delivery.ack()?,
    ///     Ok(None) => println!("the consumer has ended: {:?}", deliveries.end()),
    ///     Err(TimedOut) => println!("nothing came for a second"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When it is not there by then.
    fn wait_timeout(self, timeout: Duration) -> Result<Self::Output, TimedOut>;
}

/// What was waited for did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it did not come in time")]
pub struct TimedOut;

impl<F: IntoFuture> Wait for F {
    fn wait(self) -> F::Output {
        let mut future = pin!(self.into_future());
        let sleeper = Sleeper::new();
        loop {
            if let Poll::Ready(output) = sleeper.poll(future.as_mut()) {
                return output;
            }
            sleeper.sleep_until(None);
        }
    }

    fn wait_timeout(self, timeout: Duration) -> Result<F::Output, TimedOut> {
        let deadline = Instant::now().checked_add(timeout); // none: never
        let mut future = pin!(self.into_future());
        let sleeper = Sleeper::new();
        loop {
            if let Poll::Ready(output) = sleeper.poll(future.as_mut()) {
                return Ok(output);
            }
            if !sleeper.sleep_until(deadline) {
                return Err(TimedOut);
            }
        }
    }
}

/// A thread that sleeps until a future is to be polled again.
struct Sleeper {
    alarm: Arc<Alarm>,
    waker: Waker,
}

struct Alarm {
    thread: Thread,
    rings: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rings.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Sleeper {
    fn new() -> Self {
        let alarm = Arc::new(Alarm { thread: thread::current(), rings: AtomicBool::new(false) });
        let waker = Waker::from(alarm.clone());
        Self { alarm, waker }
    }

    fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker))
    }

    /// False when it is `deadline` and nothing has woken it.
    fn sleep_until(&self, deadline: Option<Instant>) -> bool {
        // Others may unpark this thread too, so only the alarm counts.
        while !self.alarm.rings.swap(false, Ordering::Acquire) {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(Duration::ZERO) => return false,
                Some(left) => thread::park_timeout(left),
            }
        }
        true
    }
}

/// Iterates over a stream, such as a [`Consumer`](crate::Consumer), by waiting for each item.
pub trait Iterate: Stream + Unpin {
    /// An iterator that blocks this thread until the next item is there, and ends when the stream does.
    fn iter(&mut self) -> Iter<'_, Self>;
}

impl<S: Stream + Unpin + ?Sized> Iterate for S {
    fn iter(&mut self) -> Iter<'_, S> {
        Iter { stream: self }
    }
}

/// A stream as an iterator. See [`Iterate::iter`].
#[derive(Debug)]
#[must_use = "nothing is taken from the stream until it is iterated over"]
pub struct Iter<'a, S: ?Sized> {
    stream: &'a mut S,
}

impl<S: Stream + Unpin + ?Sized> Iterator for Iter<'_, S> {
    type Item = S::Item;

    fn next(&mut self) -> Option<S::Item> {
        std::future::poll_fn(|cx| Pin::new(&mut *self.stream).poll_next(cx)).wait()
    }
}
