//! Where the tasks of a run write down what happens.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::history::{Delivered, Erasure, History, Injected, MessageId, Outcome, Published};

/// How often what is waited for is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// The history of a run that is still being made.
#[derive(Debug)]
pub(super) struct Ledger {
    start: Instant,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) history: History,
    /// What is awaited of the client, and since when.
    pending: BTreeMap<u64, (&'static str, Duration)>,
    awaited: u64,
    /// How often the program had to repair something by itself.
    pub(super) repairs: u64,
    pub(super) log: Vec<String>,
    /// Faults that could not be made, or ended: others are disturbed then for longer than is on record.
    pub(super) failures: Vec<String>,
}

impl Ledger {
    pub(super) fn new(history: History) -> Self {
        let book = Mutex::new(Book { history, ..Book::default() });
        Self { start: Instant::now(), book }
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
        let entry = {
            let now = self.now();
            let mut book = self.book();
            book.awaited += 1;
            let entry = book.awaited;
            book.pending.insert(entry, (what, now));
            entry
        };
        let _tracked = Tracked { ledger: self, entry };
        future.await
    }

    /// What is awaited, each kind once, with how often and since when at the earliest.
    pub(super) fn pending(&self) -> Vec<String> {
        let now = self.now();
        let mut kinds: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
        for (what, since) in self.book().pending.values() {
            let (count, earliest) = kinds.entry(what).or_insert((0, *since));
            *count += 1;
            *earliest = (*earliest).min(*since);
        }
        let since = |earliest: Duration| now.saturating_sub(earliest).as_secs();
        kinds
            .into_iter()
            .map(|(what, (count, earliest))| format!("{count} x {what} for {} s", since(earliest)))
            .collect()
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

/// Something awaited, until it resolves or is given up.
struct Tracked<'a> {
    ledger: &'a Ledger,
    entry: u64,
}

impl Drop for Tracked<'_> {
    fn drop(&mut self) {
        self.ledger.book().pending.remove(&self.entry);
    }
}
