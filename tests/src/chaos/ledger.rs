//! Where the tasks of a run write down what happens.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::history::{Delivered, Erasure, History, Injected, MessageId, Outcome, Published};
use crate::pending::Pending;

/// How often what is waited for is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// The history of a run that is still being made.
#[derive(Debug)]
pub(super) struct Ledger {
    start: Instant,
    pending: Pending,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) history: History,
    /// How often the program had to repair something by itself.
    pub(super) repairs: u64,
    pub(super) log: Vec<String>,
    /// Faults that could not be made, or ended: others are disturbed then for longer than is on record.
    pub(super) failures: Vec<String>,
}

impl Ledger {
    pub(super) fn new(history: History) -> Self {
        let book = Mutex::new(Book { history, ..Book::default() });
        Self { start: Instant::now(), pending: Pending::default(), book }
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn since(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    pub(super) const fn start(&self) -> Instant {
        self.start
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a future of the client's; until it resolves it is on record.
    pub(super) async fn track<T>(&self, what: &'static str, future: impl Future<Output = T>) -> T {
        self.pending.track(what, self.now(), future).await
    }

    /// What is awaited, each kind once, with how often and since when at the earliest.
    pub(super) fn pending(&self) -> Vec<String> {
        self.pending.kinds(self.now())
    }

    /// A message is about to be handed to the client.
    pub(super) fn publishing(&self, publisher: u16) -> MessageId {
        let at = self.now();
        let mut book = self.book();
        let Some(messages) = book.history.published.get_mut(usize::from(publisher)) else {
            return MessageId { publisher, number: 0 };
        };
        let number = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        messages.push(Published { at, outcome: None });
        MessageId { publisher, number }
    }

    pub(super) fn resolved(&self, id: MessageId, outcome: Outcome) {
        let at = self.now();
        let mut book = self.book();
        if let Some(before) = book.history.resolve(id, outcome, at) {
            book.failures.push(format!("{id:?} has had an outcome: {before:?}"));
        }
    }

    pub(super) fn delivered(
        &self,
        consumer: usize,
        id: Option<MessageId>,
        redelivered: bool,
        possible_duplicate: bool,
    ) {
        let at = self.now();
        let delivered = Delivered { at, consumer, id, redelivered, possible_duplicate };
        self.book().history.delivered.push(delivered);
    }

    pub(super) fn injected(&self, injected: Injected) {
        self.log(&format!("{} ended", injected.kind));
        self.book().history.injected.push(injected);
    }

    pub(super) fn erased(&self, queue: Option<usize>) {
        let until = self.now();
        self.book().history.erasures.push(Erasure { queue, until, transient: false });
    }

    pub(super) fn repaired(&self, what: &str) {
        self.book().repairs += 1;
        self.log(what);
    }

    pub(super) fn log(&self, what: &str) {
        let now = self.now();
        self.book().log.push(format!("{:8.3} {what}", now.as_secs_f64()));
    }

    /// Waits until `what` holds, or the time is over.
    pub(super) async fn until(&self, what: impl Fn(&History) -> bool, time: Duration) -> bool {
        let deadline = self.now() + time;
        loop {
            if what(&self.book().history) {
                return true;
            }
            if self.now() > deadline {
                return false;
            }
            sleep(LOOK).await;
        }
    }
}
