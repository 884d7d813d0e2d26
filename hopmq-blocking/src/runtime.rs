use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::Instant as StdInstant;

use hopmq::Instant;
use hopmq::io::{self as traits, Runtime};

use crate::timers::{Alarm, Timers};

pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What an [`Io`](crate::Io) runs, seen from everywhere else.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) clock: Clock,
    pub(crate) sleep: Arc<Sleep>,
    tasks: Arc<Mutex<Tasks>>,
}

/// What was spawned and does not run yet.
#[derive(Default)]
struct Tasks {
    new: Vec<Task>,
    /// Nobody will run them.
    is_closed: bool,
}

impl Handle {
    pub(crate) fn new(waker: mio::Waker) -> Self {
        let clock = Clock { epoch: StdInstant::now() };
        let sleep = Sleep {
            timers: Timers::default(),
            is_woken: AtomicBool::new(true),
            is_asleep: AtomicBool::new(false),
            waker,
        };
        Self { clock, sleep: Arc::new(sleep), tasks: Arc::default() }
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what was spawned to what runs.
    pub(crate) fn take_new(&self, tasks: &mut Vec<Task>) {
        tasks.append(&mut self.tasks().new);
    }

    /// What is spawned from now on is dropped.
    pub(crate) fn close(&self) {
        let mut tasks = self.tasks();
        tasks.is_closed = true;
        let new = std::mem::take(&mut tasks.new);
        drop(tasks);
        drop(new);
    }
}

impl Runtime for Handle {
    type Clock = Clock;
    type Timer = Alarm;

    fn clock(&self) -> Clock {
        self.clock
    }

    fn timer(&self) -> Alarm {
        Alarm::new(self.clock, self.sleep.clone())
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        if !tasks.is_closed {
            tasks.new.push(Box::pin(future));
            drop(tasks);
            self.sleep.wake_by_ref();
        }
    }
}

/// The system's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    epoch: StdInstant,
}

impl traits::Clock for Clock {
    fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }
}

/// The sleep of the thread that runs an [`Io`](crate::Io), and what ends it.
#[derive(Debug)]
pub(crate) struct Sleep {
    pub(crate) timers: Timers,
    is_woken: AtomicBool,
    is_asleep: AtomicBool,
    waker: mio::Waker,
}

/// Every operation on the two flags is `SeqCst`: who wakes sets one and reads the other, who goes to sleep too.
impl Sleep {
    /// Whether it has been woken since the last call.
    pub(crate) fn take_woken(&self) -> bool {
        self.is_woken.swap(false, Ordering::SeqCst)
    }

    /// From here on a change interrupts the sleep; so look once more at what there is to do.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.is_asleep.store(true, Ordering::SeqCst);
        !self.is_woken.load(Ordering::SeqCst)
    }

    pub(crate) fn get_up(&self) {
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    /// Ends the sleep, so that its end is computed anew.
    pub(crate) fn interrupt(&self) {
        if self.is_asleep.swap(false, Ordering::SeqCst) {
            // It can fail on some systems when too many wake it at once, and then it is awake.
            let _ = self.waker.wake();
        }
    }
}

impl Wake for Sleep {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.interrupt();
    }
}
