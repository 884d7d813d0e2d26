use std::task::Waker;

use hopmq::Instant;

use crate::timers::{Place, Timers};
use crate::wakers::{Wakers, keep};

/// Somebody who waits for a time that may change.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    waker: Option<Waker>,
    place: Option<Place>,
}

impl Alarm {
    /// This one waits now. [`set`](Self::set) says until when.
    pub(super) fn keep(&mut self, waker: &Waker, timers: &mut Timers, wakers: &mut Wakers) {
        if keep(&mut self.waker, waker, wakers) {
            self.disarm(timers, wakers);
        }
    }

    fn disarm(&mut self, timers: &mut Timers, wakers: &mut Wakers) {
        wakers.forget(self.place.take().and_then(|place| timers.disarm(place)));
    }

    /// It rings then, or not at all.
    pub(super) fn set(
        &mut self,
        at: Option<Instant>,
        timers: &mut Timers,
        now: Instant,
        wakers: &mut Wakers,
    ) {
        if self.place.map(|(at, _)| at) == at && at.is_none_or(|at| at > now) {
            return;
        }
        self.disarm(timers, wakers);
        match at {
            Some(at) if at <= now => wakers.wake(self.waker.take()),
            Some(at) => self.place = self.waker.clone().map(|waker| timers.arm(at, waker, None)),
            None => {}
        }
    }

    /// It rings at once.
    pub(super) fn ring(&mut self, timers: &mut Timers, wakers: &mut Wakers) {
        self.disarm(timers, wakers);
        wakers.wake(self.waker.take());
    }
}
