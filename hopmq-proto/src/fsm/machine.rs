use alloc::collections::VecDeque;

use super::{
    ENTRY, Error, FINAL, Kind, Lifecycle, Observer, Outcome, Overdue, RETRY, Step, TIMEOUT, Transition,
};
use crate::Instant;

/// How many events can wait to be handled.
pub const MAX_QUEUED: usize = 64;

/// How many transitions one event can cause.
pub const MAX_STEPS: u32 = 64;

type Handled<L> = Result<(), Error<<L as Lifecycle>::Event, <L as Lifecycle>::Error>>;

/// Runs a [`Lifecycle`]: the queue of events, the state, its deadline and retries.
#[derive(Debug, Clone)]
pub struct Machine<L: Lifecycle, O = ()> {
    state: L,
    observer: O,
    queue: VecDeque<L::Event>,
    wait: Wait,
    /// How often the state was entered without having been left.
    attempt: u32,
    /// How many more transitions the event that is handled may cause.
    steps: u32,
}

/// What happens without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// The first state is to be entered.
    Entry,
    /// Nothing.
    Nothing,
    /// The state waits for an answer, until it is due.
    Answer(Option<Instant>),
    /// The state has failed, and is to be entered again.
    Retry(Instant),
    /// Nothing, ever again.
    Ended,
}

impl<L: Lifecycle> Machine<L> {
    /// A machine in its first state, which is entered by the first call that has a context.
    #[must_use]
    pub const fn new(state: L) -> Self {
        Self::observed(state, ())
    }
}

impl<L: Lifecycle, O> Machine<L, O> {
    /// A machine whose transitions `observer` sees.
    #[must_use]
    pub const fn observed(state: L, observer: O) -> Self {
        Self { state, observer, queue: VecDeque::new(), wait: Wait::Entry, attempt: 0, steps: MAX_STEPS }
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> &L {
        &self.state
    }

    /// The state, for what it owns. It is left only through [`handle`](Machine::handle): putting another in its place
    /// would go round the table.
    #[must_use]
    pub const fn state_mut(&mut self) -> &mut L {
        &mut self.state
    }

    /// The observer.
    #[must_use]
    pub const fn observer(&self) -> &O {
        &self.observer
    }

    /// Whether it is finalized or has halted: nothing happens any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.wait == Wait::Ended
    }

    /// When [`handle_timeout`](Machine::handle_timeout) must next be called, if ever. Instant zero means that events
    /// wait in the queue, or that the first state has not been entered.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.wait {
            Wait::Ended => None,
            Wait::Entry => Some(Instant::ZERO),
            _ if !self.queue.is_empty() => Some(Instant::ZERO),
            Wait::Nothing => None,
            Wait::Answer(due) => due,
            Wait::Retry(due) => Some(due),
        }
    }

    /// Puts an event into the queue, for the next call that has a context.
    ///
    /// # Errors
    ///
    /// When the machine has ended, or [`MAX_QUEUED`] events wait already.
    pub fn queue(&mut self, event: L::Event) -> Handled<L> {
        if self.has_ended() {
            return Err(self.too_late(event));
        }
        if self.queue.len() >= MAX_QUEUED {
            return Err(Error::Full { name: L::event_name(&event), event });
        }
        self.queue.push_back(event);
        Ok(())
    }

    fn too_late(&self, event: L::Event) -> Error<L::Event, L::Error> {
        Error::Ended { state: self.state.name(), name: L::event_name(&event), event }
    }
}

impl<L: Lifecycle, O: Observer<L>> Machine<L, O> {
    /// Handles an event, after those that wait in the queue.
    ///
    /// # Errors
    ///
    /// Every [`Error`] there is. What waits behind an event that has failed stays in the queue.
    pub fn handle(&mut self, event: L::Event, context: &mut L::Context<'_>, now: Instant) -> Handled<L> {
        self.queue(event)?;
        self.run(context, now)
    }

    /// Enters the first state, if that has not been done, and handles what waits in the queue.
    ///
    /// # Errors
    ///
    /// Every [`Error`] there is. What waits behind an event that has failed stays in the queue.
    pub fn run(&mut self, context: &mut L::Context<'_>, now: Instant) -> Handled<L> {
        if self.wait == Wait::Entry {
            self.steps = MAX_STEPS;
            let step = self.enter(context, now);
            self.settle(step, ENTRY, context, now)?;
        }
        self.steps = MAX_STEPS;
        while let Some(event) = self.queue.pop_front() {
            if self.has_ended() {
                return Err(self.too_late(event));
            }
            let behind = self.queue.len();
            let name = L::event_name(&event);
            let step = self.state.handle(event, context, now);
            self.settle(step, name, context, now)?;
            if self.queue.len() == behind {
                self.steps = MAX_STEPS; // it is not handled again
            }
        }
        Ok(())
    }

    /// Acts on a deadline or a retry that is due at `now`, then handles what waits in the queue. Calling it early or
    /// late is harmless.
    ///
    /// # Errors
    ///
    /// Every [`Error`] there is.
    pub fn handle_timeout(&mut self, context: &mut L::Context<'_>, now: Instant) -> Handled<L> {
        self.steps = MAX_STEPS;
        match self.wait {
            Wait::Answer(Some(due)) if due <= now => {
                let overdue = Overdue { state: self.state.name() };
                self.wait = Wait::Nothing;
                self.settle(Err(overdue.into()), TIMEOUT, context, now)?;
            }
            Wait::Retry(due) if due <= now => {
                let name = self.state.name();
                self.take(Kind::Retry, RETRY, name, now, |_| {})?;
                let step = self.enter(context, now);
                self.settle(step, ENTRY, context, now)?;
            }
            _ => {}
        }
        self.run(context, now)
    }

    /// Carries an outcome out, and those of the states that are entered on the way.
    fn settle(
        &mut self,
        mut step: Step<L>,
        mut event: &'static str,
        context: &mut L::Context<'_>,
        now: Instant,
    ) -> Handled<L> {
        loop {
            let (kind, next, reprocess) = match step {
                Ok(Outcome::Done) => {
                    self.on_done();
                    return Ok(());
                }
                Ok(Outcome::Pending) => {
                    self.on_pending(context, now);
                    return Ok(());
                }
                Ok(Outcome::Unexpected(event)) => {
                    let name = L::event_name(&event);
                    return Err(Error::Unexpected { state: self.state.name(), name, event });
                }
                Ok(Outcome::Finalize) => {
                    return self
                        .take(Kind::Finalize, event, FINAL, now, |machine| machine.wait = Wait::Ended);
                }
                Ok(Outcome::Complete(next)) => (Kind::Complete, next, None),
                Ok(Outcome::Reset { next, reprocess }) => (Kind::Reset, next, reprocess),
                Err(error) => match self.on_failure(error, context, now)? {
                    Some(next) => (Kind::Fallback, next, None),
                    None => return Ok(()),
                },
            };
            if let Some(event) = reprocess {
                self.queue.push_front(event);
            }
            self.go(kind, event, next, now)?;
            step = self.enter(context, now);
            event = ENTRY;
        }
    }

    fn enter(&mut self, context: &mut L::Context<'_>, now: Instant) -> Step<L> {
        self.attempt = self.attempt.saturating_add(1);
        self.wait = Wait::Nothing;
        self.state.enter(self.attempt, context, now)
    }

    fn on_done(&mut self) {
        if let Wait::Answer(_) = self.wait {
            self.wait = Wait::Nothing;
        }
    }

    fn on_pending(&mut self, context: &L::Context<'_>, now: Instant) {
        if self.wait == Wait::Nothing {
            self.wait = Wait::Answer(self.state.deadline(context).map(|deadline| now + deadline));
        }
    }

    /// Where to go after a failure; `None` is to wait here for the next attempt.
    fn on_failure(
        &mut self,
        error: L::Error,
        context: &mut L::Context<'_>,
        now: Instant,
    ) -> Result<Option<L>, Error<L::Event, L::Error>> {
        if let Some(pause) = self.state.retry(&error, self.attempt, context) {
            if !matches!(self.wait, Wait::Retry(_)) {
                self.wait = Wait::Retry(now + pause);
            }
            return Ok(None);
        }
        self.state.fallback(error, context, now).map(Some).map_err(|error| {
            self.wait = Wait::Ended;
            Error::Failed { state: self.state.name(), error }
        })
    }

    fn go(&mut self, kind: Kind, event: &'static str, next: L, now: Instant) -> Handled<L> {
        if self.steps == 0 {
            self.wait = Wait::Ended;
            return Err(Error::Endless { state: self.state.name() });
        }
        self.steps -= 1;
        let to = next.name();
        self.take(kind, event, to, now, |machine| {
            machine.state = next;
            machine.attempt = 0;
        })
    }

    /// Takes a transition, if it is in the table, and shows it to the observer.
    fn take(
        &mut self,
        kind: Kind,
        event: &'static str,
        to: &'static str,
        at: Instant,
        change: impl FnOnce(&mut Self),
    ) -> Handled<L> {
        let transition = Transition { from: self.state.name(), event, to, kind, at };
        if !L::TABLE.has(transition.from, event, to) {
            self.wait = Wait::Ended;
            return Err(Error::NotInTable(transition));
        }
        self.observer.before(&transition, &self.state);
        change(self);
        self.observer.after(&transition, &self.state);
        Ok(())
    }
}
