use std::collections::BTreeMap;
use std::task::{Context, Waker};

use hopmq_proto::{Deadlines, Instant};

/// Those who wait until a time, in the order in which they came: handles have no timer of their own, so the driver
/// wakes them.
#[derive(Debug)]
pub(crate) struct Waits {
    due: Deadlines<u64>,
    wakers: BTreeMap<u64, Waker>,
    tickets: u64,
}

/// A place among those who wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    number: u64,
    due: Instant,
}

impl Ticket {
    /// Whether the time is over.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }
}

impl Waits {
    pub(crate) const fn new() -> Self {
        Self { due: Deadlines::new(), wakers: BTreeMap::new(), tickets: 0 }
    }

    /// A place until `due`.
    pub(crate) fn join(&mut self, due: Instant) -> Ticket {
        self.tickets += 1;
        self.due.set(self.tickets, due);
        Ticket { number: self.tickets, due }
    }

    /// Asks to be woken. Gives the waker of an earlier call.
    pub(crate) fn wait(&mut self, cx: &Context<'_>, ticket: Ticket) -> Option<Waker> {
        match self.wakers.get(&ticket.number) {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            _ => self.wakers.insert(ticket.number, cx.waker().clone()),
        }
    }

    /// Waits no more.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        self.due.clear(ticket.number);
        self.wakers.remove(&ticket.number)
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.next()
    }

    /// Wakes those who are due.
    pub(crate) fn wake_due(&mut self, now: Instant, woken: &mut Vec<Waker>) {
        while let Some(number) = self.due.pop_due(now) {
            woken.extend(self.wakers.remove(&number));
        }
    }

    /// Wakes all.
    pub(crate) fn wake_all(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(std::mem::take(&mut self.wakers).into_values());
    }
}
