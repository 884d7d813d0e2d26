use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hopmq::Instant;
use hopmq::io::{Clock, Timer};

use crate::network::HostId;
use crate::world::World;

/// The virtual time. It stands still while anybody has something to do, and then jumps to the next timer.
#[derive(Debug, Clone, Default)]
pub struct SimClock(Arc<AtomicU64>);

impl SimClock {
    pub(crate) fn set(&self, now: Instant) {
        self.0.store(now.as_nanos(), Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// Where a timer stands in the queue.
pub(crate) type Place = (Instant, u64);

/// Who is to be woken when.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeMap<Place, Armed>,
    last: u64,
}

/// Who is to be woken, and where it runs.
#[derive(Debug)]
pub(crate) struct Armed {
    pub(crate) waker: Waker,
    pub(crate) host: Option<HostId>,
}

impl Timers {
    pub(crate) fn arm(&mut self, at: Instant, waker: Waker, host: Option<HostId>) -> Place {
        self.last += 1;
        self.queue.insert((at, self.last), Armed { waker, host });
        (at, self.last)
    }

    /// Takes a timer back; the waker is to be dropped without the lock.
    pub(crate) fn disarm(&mut self, place: Place) -> Option<Waker> {
        self.queue.remove(&place).map(|armed| armed.waker)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Armed> {
        let first = self.queue.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    pub(crate) fn clear(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.queue).into_values().map(|armed| armed.waker).collect()
    }
}

/// One alarm in virtual time.
pub struct SimTimer {
    world: Arc<World>,
    armed: Option<Place>,
}

impl SimTimer {
    pub(crate) const fn new(world: Arc<World>) -> Self {
        Self { world, armed: None }
    }

    fn disarm(&mut self) {
        if let Some(place) = self.armed.take() {
            let stale = self.world.lock().timers.disarm(place);
            drop(stale);
        }
    }
}

impl Timer for SimTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if deadline <= self.world.now() {
            self.disarm();
            return Poll::Ready(());
        }
        let mut state = self.world.lock();
        let host = state.running();
        let stale = match self.armed {
            Some(place) if place.0 == deadline => match state.timers.queue.get_mut(&place) {
                Some(Armed { waker, .. }) if waker.will_wake(cx.waker()) => return Poll::Pending,
                Some(armed) => {
                    armed.host = host;
                    Some(std::mem::replace(&mut armed.waker, cx.waker().clone()))
                }
                None => return Poll::Pending, // the world is over
            },
            armed => {
                let stale = armed.and_then(|place| state.timers.disarm(place));
                self.armed = Some(state.timers.arm(deadline, cx.waker().clone(), host));
                stale
            }
        };
        drop(state);
        drop(stale);
        Poll::Pending
    }
}

impl Drop for SimTimer {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for SimTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimTimer").field("at", &self.armed.map(|(at, _)| at)).finish_non_exhaustive()
    }
}

/// A while that passes; made by [`Host::sleep`](crate::Host::sleep) and [`Sim::sleep`](crate::Sim::sleep).
#[derive(Debug)]
#[must_use = "nothing sleeps until it is awaited"]
pub struct Sleep {
    timer: SimTimer,
    until: Instant,
}

impl Sleep {
    pub(crate) fn new(world: &Arc<World>, duration: Duration) -> Self {
        Self { timer: SimTimer::new(world.clone()), until: world.now() + duration }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        self.timer.poll_until(cx, until)
    }
}

/// The time was over before the future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not within {}.{:03} s", .0.as_secs(), .0.subsec_millis())]
pub struct Elapsed(
    /// How long it was waited for.
    pub Duration,
);

/// Waits for `future`, for `duration` at most.
pub(crate) async fn timeout<F: Future>(
    world: &Arc<World>,
    duration: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut sleep = Sleep::new(world, duration);
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed(duration))),
    })
    .await
}
