use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::network::HostId;
use crate::random::Random;

pub(crate) type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task, by its place and which one it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskId {
    slot: usize,
    serial: u64,
}

impl TaskId {
    /// The future that [`Sim::run`](crate::Sim::run) was given.
    pub(crate) const MAIN: Self = Self { slot: usize::MAX, serial: 0 };

    pub(crate) const fn serial(self) -> u64 {
        self.serial
    }
}

/// Who can be polled.
#[derive(Debug, Default)]
pub(crate) struct Ready(Mutex<Vec<TaskId>>);

impl Ready {
    fn lock(&self) -> MutexGuard<'_, Vec<TaskId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, id: TaskId) {
        self.lock().push(id);
    }

    /// Takes any of them.
    pub(crate) fn draw(&self, random: &mut Random) -> Option<TaskId> {
        let mut all = self.lock();
        match all.len() {
            0 => None,
            1 => all.pop(),
            len => Some(all.swap_remove(random.index(len))),
        }
    }
}

/// Puts a task among those that can be polled, once until it is.
#[derive(Debug)]
pub(crate) struct Bell {
    id: TaskId,
    is_rung: AtomicBool,
    ready: Arc<Ready>,
}

impl Bell {
    pub(crate) fn new(id: TaskId, ready: Arc<Ready>) -> Arc<Self> {
        Arc::new(Self { id, is_rung: AtomicBool::new(false), ready })
    }

    pub(crate) fn reset(&self) {
        self.is_rung.store(false, Ordering::Relaxed);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_rung.swap(true, Ordering::Relaxed) {
            self.ready.push(self.id);
        }
    }
}

/// Everything that was spawned and has not ended.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    slots: Vec<Option<Task>>,
    free: Vec<usize>,
    last: u64,
}

struct Task {
    serial: u64,
    host: HostId,
    /// None while it is polled.
    future: Option<Boxed>,
    bell: Arc<Bell>,
    waker: Waker,
    spawned_at: &'static Location<'static>,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl Tasks {
    /// Adds a task, and returns what wakes it for the first time.
    pub(crate) fn insert(
        &mut self,
        host: HostId,
        future: Boxed,
        spawned_at: &'static Location<'static>,
        ready: &Arc<Ready>,
    ) -> Waker {
        self.last += 1;
        let slot = self.free.pop().unwrap_or(self.slots.len());
        let id = TaskId { slot, serial: self.last };
        let bell = Bell::new(id, ready.clone());
        let waker = Waker::from(bell.clone());
        let task =
            Task { serial: self.last, host, future: Some(future), bell, waker: waker.clone(), spawned_at };
        match self.slots.get_mut(slot) {
            Some(free) => *free = Some(task),
            None => self.slots.push(Some(task)),
        }
        waker
    }

    fn get(&mut self, id: TaskId) -> Option<&mut Task> {
        self.slots.get_mut(id.slot)?.as_mut().filter(|task| task.serial == id.serial)
    }

    pub(crate) fn host(&mut self, id: TaskId) -> Option<HostId> {
        self.get(id).map(|task| task.host)
    }

    /// Takes the future out, to be polled without the lock.
    pub(crate) fn begin(&mut self, id: TaskId) -> Option<(Boxed, Waker)> {
        let task = self.get(id)?;
        task.bell.reset();
        Some((task.future.take()?, task.waker.clone()))
    }

    /// Puts it back, or returns it when its host is gone meanwhile.
    pub(crate) fn end(&mut self, id: TaskId, future: Boxed) -> Option<Boxed> {
        match self.get(id) {
            Some(task) => {
                task.future = Some(future);
                None
            }
            None => Some(future),
        }
    }

    pub(crate) fn remove(&mut self, id: TaskId) {
        if self.get(id).is_some()
            && let Some(slot) = self.slots.get_mut(id.slot)
        {
            *slot = None;
            self.free.push(id.slot);
        }
    }

    /// Takes the tasks out that run on these hosts; to be dropped without the lock.
    pub(crate) fn take(&mut self, mut on: impl FnMut(HostId) -> bool) -> Vec<Boxed> {
        let mut taken = Vec::new();
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|task| on(task.host)) {
                taken.extend(slot.take().and_then(|task| task.future));
                self.free.push(at);
            }
        }
        taken
    }

    /// What there is: its host, and where it was spawned.
    pub(crate) fn list(&self) -> impl Iterator<Item = (HostId, &'static Location<'static>)> + '_ {
        self.slots.iter().flatten().map(|task| (task.host, task.spawned_at))
    }
}

/// What has come of a task.
#[derive(Debug)]
struct Outcome<T> {
    output: Option<T>,
    is_over: bool,
    waker: Option<Waker>,
}

/// The task's end of a [`Task`](JoinHandle).
struct Report<T>(Arc<Mutex<Outcome<T>>>);

fn lock<T>(outcome: &Mutex<Outcome<T>>) -> MutexGuard<'_, Outcome<T>> {
    outcome.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Drop for Report<T> {
    fn drop(&mut self) {
        let mut outcome = lock(&self.0);
        outcome.is_over = true;
        let waker = outcome.waker.take();
        drop(outcome);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Waits for a task. Dropping it leaves the task running.
#[derive(Debug)]
#[must_use = "a task runs without it, but its output is lost"]
pub struct JoinHandle<T>(Arc<Mutex<Outcome<T>>>);

/// The task went with its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host crashed")]
pub struct Crashed;

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Crashed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = lock(&self.0);
        if let Some(output) = outcome.output.take() {
            return Poll::Ready(Ok(output));
        }
        if outcome.is_over {
            return Poll::Ready(Err(Crashed));
        }
        let stale = outcome.waker.replace(cx.waker().clone());
        drop(outcome);
        drop(stale);
        Poll::Pending
    }
}

/// A future that reports to a handle.
pub(crate) fn joinable<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> (impl Future<Output = ()> + Send + 'static, JoinHandle<T>) {
    let outcome = Arc::new(Mutex::new(Outcome { output: None, is_over: false, waker: None }));
    let report = Report(outcome.clone());
    let reporting = async move {
        let report = report;
        let output = future.await;
        lock(&report.0).output = Some(output);
    };
    (reporting, JoinHandle(outcome))
}
