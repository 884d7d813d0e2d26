//! How far a world is, for those who wait for it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

/// How far a world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Anything may happen, at any time.
    Trouble,
    /// Nothing happens any more, and everybody comes back.
    Settling,
    /// Everybody is back: what is published now must arrive, whatever its queue.
    Settled,
    /// Nobody publishes, and consumers take what there is.
    Draining,
    /// Everybody closes and goes.
    Closing,
}

#[derive(Debug)]
pub(super) struct Phases(Mutex<(Phase, Vec<Waker>)>);

impl Phases {
    pub(super) const fn new() -> Self {
        Self(Mutex::new((Phase::Trouble, Vec::new())))
    }

    fn with<T>(&self, work: impl FnOnce(&mut (Phase, Vec<Waker>)) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn now(&self) -> Phase {
        self.with(|(phase, _)| *phase)
    }

    pub(super) fn begin(&self, phase: Phase) {
        let wakers = self.with(|state| {
            state.0 = phase;
            std::mem::take(&mut state.1)
        });
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until it has begun.
    pub(super) async fn reached(&self, phase: Phase) {
        poll_fn(|cx| {
            self.with(|(now, wakers)| {
                if *now >= phase {
                    return Poll::Ready(());
                }
                if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                    wakers.push(cx.waker().clone());
                }
                Poll::Pending
            })
        })
        .await;
    }

    /// Waits for `future`, and no longer than until `phase` begins.
    pub(super) async fn unless<T>(&self, phase: Phase, future: impl Future<Output = T>) -> Option<T> {
        race(future, self.reached(phase)).await
    }
}

/// Waits for `future`, and no longer than for `end`. When both are ready, `end` wins.
pub(super) async fn race<T>(future: impl Future<Output = T>, end: impl Future<Output = ()>) -> Option<T> {
    let (mut future, mut end) = (pin!(future), pin!(end));
    poll_fn(|cx| {
        if end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}
