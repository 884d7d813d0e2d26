use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::network::HostId;
use crate::random::Random;
use crate::world::World;

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
    /// Adds a task, and returns which it is and what wakes it for the first time.
    pub(crate) fn insert(
        &mut self,
        host: HostId,
        future: Boxed,
        spawned_at: &'static Location<'static>,
        ready: &Arc<Ready>,
    ) -> (TaskId, Waker) {
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
        (id, waker)
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

    /// Takes a task out; its future, unless it is being polled, is to be dropped without the lock.
    pub(crate) fn remove(&mut self, id: TaskId) -> Option<Boxed> {
        self.get(id)?;
        self.free.push(id.slot);
        self.slots.get_mut(id.slot)?.take()?.future
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
pub(crate) struct Outcome<T> {
    output: Option<T>,
    /// Its future is no more.
    is_over: bool,
    is_aborted: bool,
    /// Its output, or that there is none, has been given away.
    is_told: bool,
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
///
/// It gives the task's output once, or why there is none; whoever asks again waits for ever.
pub struct JoinHandle<T> {
    outcome: Arc<Mutex<Outcome<T>>>,
    /// None when it never ran, as its host was down.
    task: Option<(Arc<World>, TaskId)>,
}

/// Why a task has no output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// It went with its host, or its host was down when it was spawned; or the world is over.
    #[error("the host crashed")]
    Crashed,
    /// [`JoinHandle::abort`] ended it.
    #[error("the task was aborted")]
    Aborted,
}

impl<T> JoinHandle<T> {
    pub(crate) const fn new(outcome: Arc<Mutex<Outcome<T>>>, task: Option<(Arc<World>, TaskId)>) -> Self {
        Self { outcome, task }
    }

    /// Whether the task has come to its end, by itself or not.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        lock(&self.outcome).is_over
    }

    /// Ends the task: its future is dropped, at once unless it is the one that calls this; then when it waits next. A task that has come
    /// to its end is left as it is.
    pub fn abort(&self) {
        let mut outcome = lock(&self.outcome);
        outcome.is_aborted |= !outcome.is_over;
        drop(outcome);
        if let Some((world, id)) = &self.task {
            world.abort(*id);
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = lock(&self.outcome);
        if outcome.is_over && !outcome.is_told {
            outcome.is_told = true;
            let why = if outcome.is_aborted { JoinError::Aborted } else { JoinError::Crashed };
            return Poll::Ready(outcome.output.take().ok_or(why));
        }
        let stale = outcome.waker.replace(cx.waker().clone());
        drop(outcome);
        drop(stale);
        Poll::Pending
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("is_finished", &self.is_finished()).finish_non_exhaustive()
    }
}

/// A future that reports what comes of it.
pub(crate) fn reporting<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> (impl Future<Output = ()> + Send + 'static, Arc<Mutex<Outcome<T>>>) {
    let outcome = Outcome { output: None, is_over: false, is_aborted: false, is_told: false, waker: None };
    let outcome = Arc::new(Mutex::new(outcome));
    let report = Report(outcome.clone());
    let reporting = async move {
        let report = report;
        let output = future.await;
        lock(&report.0).output = Some(output);
    };
    (reporting, outcome)
}
