use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hopmq::Instant;
use hopmq::io::{Clock as _, Timer};

use crate::runtime::{Clock, Sleep};

/// The alarms that are set, and what they wake.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    alarms: BTreeMap<(Instant, u64), Waker>,
    /// How many alarms there have been.
    count: u64,
}

impl Timers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next alarm is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.lock().alarms.keys().next().map(|(deadline, _)| *deadline)
    }

    /// Wakes everything that is due.
    pub(crate) fn ring(&self, now: Instant) {
        loop {
            let mut state = self.lock();
            let due = state.alarms.first_entry().filter(|alarm| alarm.key().0 <= now);
            let Some(waker) = due.map(|alarm| alarm.remove()) else { return };
            drop(state);
            waker.wake();
        }
    }
}

/// One alarm.
#[derive(Debug)]
pub(crate) struct Alarm {
    clock: Clock,
    sleep: Arc<Sleep>,
    set: Option<(Instant, u64)>,
}

impl Alarm {
    pub(crate) const fn new(clock: Clock, sleep: Arc<Sleep>) -> Self {
        Self { clock, sleep, set: None }
    }

    fn clear(&mut self) {
        if let Some(set) = self.set.take() {
            let stale = self.sleep.timers.lock().alarms.remove(&set);
            drop(stale); // without the lock, as that may drop a task with alarms in it
        }
    }
}

impl Timer for Alarm {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.clock.now() >= deadline {
            self.clear();
            return Poll::Ready(());
        }
        if self.set.is_some_and(|(set, _)| set != deadline) {
            self.clear();
        }
        let mut state = self.sleep.timers.lock();
        let key = *self.set.get_or_insert_with(|| {
            state.count += 1;
            (deadline, state.count)
        });
        let stale = state.alarms.insert(key, cx.waker().clone());
        let is_first = state.alarms.keys().next() == Some(&key);
        drop(state);
        drop(stale);
        if is_first {
            self.sleep.interrupt();
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}
