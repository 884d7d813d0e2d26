use std::fmt::Write as _;
use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hopmq::Instant;
use hopmq::io::Clock as _;

use crate::check::{Fault, is_heard};
use crate::network::{HostId, Network};
use crate::random::Random;
use crate::settings::Settings;
use crate::sim::RunError;
use crate::tasks::{Bell, Boxed, JoinHandle, Ready, TaskId, Tasks, reporting};
use crate::timers::{Armed, SimClock, SimTimer, Timers};
use crate::trace::{Seconds, Trace};
use crate::wakers::Wakers;
use crate::watches::Watches;

/// How many tasks a report of a standstill lists.
const LISTED: usize = 20;

/// Everything there is, as tasks, hosts and the network's ends share it.
///
/// One thread runs it, so the lock is never waited for. Wakers and futures are others' code: they are called and dropped
/// without it.
pub(crate) struct World {
    state: Mutex<State>,
    pub(crate) clock: SimClock,
    pub(crate) ready: Arc<Ready>,
    pub(crate) settings: Settings,
}

pub(crate) struct State {
    pub(crate) timers: Timers,
    pub(crate) tasks: Tasks,
    pub(crate) network: Network,
    pub(crate) trace: Trace,
    pub(crate) watches: Watches,
    /// What hosts draw their seeds from.
    pub(crate) seeds: Random,
    /// The faults of each trouble that has begun.
    schedules: Vec<Schedule>,
    /// What they are, in place of what is drawn.
    given: Option<Vec<Vec<Fault>>>,
    /// Woken tasks of frozen hosts.
    parked: Vec<TaskId>,
    /// Where the task runs that is being polled.
    running: Option<HostId>,
    polls: u64,
    life: Life,
}

/// The faults of a trouble.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) drawn: Vec<Fault>,
    /// The same, with the times at which they began, as far as they did.
    pub(crate) happened: Vec<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    New,
    Running,
    Over,
}

impl World {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        let state = State {
            timers: Timers::default(),
            tasks: Tasks::default(),
            network: Network::new(settings.link, Random::of(settings.seed, 1)),
            trace: Trace::new(settings.kept_events, settings.is_told),
            watches: Watches::default(),
            seeds: Random::of(settings.seed, 2),
            schedules: Vec::new(),
            given: None,
            parked: Vec::new(),
            running: None,
            polls: 0,
            life: Life::New,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            clock: SimClock::default(),
            ready: Arc::default(),
            settings,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn timer(self: &Arc<Self>) -> SimTimer {
        SimTimer::new(self.clone())
    }

    /// Runs `future` on a host. When that is down, or the world is over, it is dropped.
    pub(crate) fn spawn(
        &self,
        host: HostId,
        future: Boxed,
        spawned_at: &'static Location<'static>,
    ) -> Option<TaskId> {
        let mut state = self.lock();
        if state.life == Life::Over || !state.network.is_up(host) {
            drop(state);
            drop(future);
            return None;
        }
        let (id, waker) = state.tasks.insert(host, future, spawned_at, &self.ready);
        drop(state);
        waker.wake();
        Some(id)
    }

    /// Runs `future` on a host, and gives what waits for its output.
    pub(crate) fn spawn_joinable<T: Send + 'static>(
        self: &Arc<Self>,
        host: HostId,
        future: impl Future<Output = T> + Send + 'static,
        spawned_at: &'static Location<'static>,
    ) -> JoinHandle<T> {
        let (future, outcome) = reporting(future);
        let task = self.spawn(host, Box::pin(future), spawned_at);
        JoinHandle::new(outcome, task.map(|id| (self.clone(), id)))
    }

    /// Drops a task's future, now or when it has been polled.
    pub(crate) fn abort(&self, id: TaskId) {
        let gone = self.lock().tasks.remove(id);
        drop(gone);
    }

    /// Runs until `main` is ready, and drops everything else then.
    pub(crate) fn run<F: Future>(&self, main: F) -> Result<F::Output, RunError> {
        let mut state = self.lock();
        if state.life != Life::New {
            return Err(RunError::Over { seed: self.settings.seed });
        }
        state.life = Life::Running;
        drop(state);
        let _end = End(self);
        let mut order = Random::of(self.settings.seed, 3);
        let mut main = pin!(main);
        let bell = Bell::new(TaskId::MAIN, self.ready.clone());
        let waker = Waker::from(bell.clone());
        waker.wake_by_ref();
        loop {
            match self.ready.draw(&mut order) {
                Some(TaskId::MAIN) => {
                    self.count(TaskId::MAIN)?;
                    bell.reset();
                    if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                        return Ok(output);
                    }
                }
                Some(id) => self.poll(id)?,
                None => self.pass_time()?,
            }
        }
    }

    fn count(&self, id: TaskId) -> Result<(), RunError> {
        self.lock().count(id, &self.settings)
    }

    fn poll(&self, id: TaskId) -> Result<(), RunError> {
        let mut state = self.lock();
        let Some(host) = state.tasks.host(id) else { return Ok(()) };
        if state.network.is_frozen(host) {
            state.parked.push(id);
            return Ok(());
        }
        state.count(id, &self.settings)?;
        let Some((mut future, waker)) = state.tasks.begin(id) else { return Ok(()) };
        state.running = Some(host);
        drop(state);
        let left = match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => {
                drop(future);
                None
            }
            Poll::Pending => Some(future),
        };
        let mut state = self.lock();
        state.running = None;
        let gone = match left {
            None => state.tasks.remove(id),
            Some(future) => state.tasks.end(id, future),
        };
        drop(state);
        drop(gone);
        Ok(())
    }

    /// Nobody has anything to do: it becomes later.
    fn pass_time(&self) -> Result<(), RunError> {
        let mut state = self.lock();
        let (seed, limit) = (self.settings.seed, self.settings.time_limit);
        let Some(next) = state.timers.next() else {
            return Err(RunError::Stalled { seed, at: self.now(), waiting: state.waiting() });
        };
        let now = next.max(self.now());
        if now > Instant::ZERO + limit {
            self.clock.set(Instant::ZERO + limit);
            return Err(RunError::OutOfTime { seed, limit, waiting: state.waiting() });
        }
        self.clock.set(now);
        state.trace.mix(now.as_nanos());
        let mut wakers = Wakers::default();
        while let Some(Armed { waker, host }) = state.timers.pop_due(now) {
            wakers.wake([waker]);
            if let Some(host) = host.filter(|host| !state.network.is_frozen(*host)) {
                state.watches.saw_timer(host, now, &mut wakers);
            }
        }
        drop(state);
        wakers.release();
        Ok(())
    }

    /// The tasks of a host that went on are polled again.
    pub(crate) fn unpark(&self) {
        let parked = std::mem::take(&mut self.lock().parked);
        parked.into_iter().for_each(|id| self.ready.push(id));
    }

    /// The faults of the next trouble, as they were given or as `draw` draws them: their place.
    pub(crate) fn next_schedule(&self, draw: impl FnOnce(&mut Random) -> Vec<Fault>) -> usize {
        let mut state = self.lock();
        let number = state.schedules.len();
        let given = state.given.as_ref().map(|given| given.get(number).cloned().unwrap_or_default());
        let purpose = u64::try_from(number).unwrap_or(u64::MAX).saturating_add(16);
        let faults = given.unwrap_or_else(|| draw(&mut Random::of(self.settings.seed, purpose)));
        state.schedules.push(Schedule { drawn: faults.clone(), happened: faults });
        number
    }

    /// The faults of a trouble.
    pub(crate) fn schedule(&self, number: usize) -> Vec<Fault> {
        self.lock().schedules.get(number).map(|schedule| schedule.drawn.clone()).unwrap_or_default()
    }

    /// Whether there is a host of this name.
    pub(crate) fn has_host(&self, name: &str) -> bool {
        self.lock().network.find(name).is_some()
    }

    /// A fault of a trouble is over.
    pub(crate) fn fault_is_over(&self) {
        self.lock().trace.mark();
    }

    /// A fault of a trouble, by its place there, begins.
    pub(crate) fn happened(&self, (schedule, number): (usize, usize), fault: Fault) {
        let mut state = self.lock();
        state.trace.mark();
        let place = state.schedules.get_mut(schedule).and_then(|schedule| schedule.happened.get_mut(number));
        if let Some(place) = place {
            *place = fault;
        }
    }

    pub(crate) fn set_schedules(&self, given: Option<Vec<Vec<Fault>>>) {
        self.lock().given = given;
    }

    /// What faults there were, trouble by trouble.
    pub(crate) fn take_schedules(&self) -> Vec<Schedule> {
        std::mem::take(&mut self.lock().schedules)
    }

    /// Whether this is called by a task of this host.
    pub(crate) fn is_within(&self, host: HostId) -> bool {
        self.lock().running == Some(host)
    }

    /// Ends everything that still runs. What holds the world is held by the world, so nothing else would.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.life = Life::Over;
        let tasks = state.tasks.take(|_| true);
        let network = (state.network.end(), state.watches.clear());
        let timers = state.timers.clear();
        let programs = state.network.take_programs();
        drop(state);
        drop((tasks, network, timers, programs));
    }
}

impl State {
    /// Where the task runs that is being polled, if it is one.
    pub(crate) const fn running(&self) -> Option<HostId> {
        self.running
    }

    fn count(&mut self, id: TaskId, settings: &Settings) -> Result<(), RunError> {
        self.polls += 1;
        if self.polls > settings.step_limit {
            let Settings { seed, step_limit: limit, .. } = *settings;
            return Err(RunError::OutOfSteps { seed, limit, waiting: self.waiting() });
        }
        self.trace.mix(id.serial());
        Ok(())
    }

    /// Whoever has not ended, for people: the test's own first.
    fn waiting(&self) -> String {
        let mut text = String::new();
        let (own, others): (Vec<_>, Vec<_>) = self.tasks.list().partition(|(_, at)| is_own(at.file()));
        let others = others.into_iter().map(|task| (task, ""));
        let all = others.chain(own.into_iter().map(|task| (task, " (HopMQ's own)")));
        for (count, ((host, spawned_at), whose)) in all.enumerate() {
            if count == LISTED {
                text.push_str("\n  and more");
                break;
            }
            // Writing to a string does not fail.
            let _ = write!(text, "\n  a task of {}, spawned at {spawned_at}{whose}", self.network.name(host));
        }
        text
    }
}

/// Whether this is a source file of HopMQ's crates: they lie beside this one's, wherever that is.
fn is_own(file: &str) -> bool {
    let parts = |file: &'static str| file.split(['/', '\\']);
    let here = file!();
    let depth = parts(here).count().saturating_sub(3); // this crate's directory, src, world.rs
    let mut others = file.split(['/', '\\']);
    let is_beside = parts(here).take(depth).all(|part| others.next() == Some(part));
    is_beside && others.next().is_some_and(|name| name.starts_with("hopmq")) && others.next() == Some("src")
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &format_args!("{}", Seconds(self.now()))).finish_non_exhaustive()
    }
}

/// Ends the world, also when it panics.
struct End<'a>(&'a World);

impl Drop for End<'_> {
    #[allow(clippy::print_stderr)] // the panic itself is printed there, and does not say it
    fn drop(&mut self) {
        if std::thread::panicking() && !is_heard() {
            eprintln!("that was in the world of seed {}", self.0.settings.seed);
        }
        self.0.end();
    }
}
