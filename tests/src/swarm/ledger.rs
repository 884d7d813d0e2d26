//! What has happened in a world, as the checker is told.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use hopmq_sim::{CloseReason, PublishError, Sim};

use super::plan::{Plan, Trouble};
use super::tally::SwarmTally;
use crate::chaos::checker::Finding;
use crate::chaos::history::{Delivered, Erasure, History, MessageId, Outcome, Published};
use crate::chaos::judge::Judge;
use crate::chaos::place::Place;
use crate::pending::Pending;

/// How much later than its deadline something may end: nothing takes time here but what is said to.
const SLACK: Duration = Duration::from_millis(50);
/// How long a host may be frozen; then its timers are late.
pub(super) const FROZEN_AT_MOST: Duration = Duration::from_secs(12);

pub(super) struct Ledger {
    sim: Sim,
    /// Somebody reads of every message.
    is_told: bool,
    /// How much later than its deadline something may end.
    slack: Duration,
    pending: Pending,
    book: Mutex<Book>,
}

#[derive(Default)]
pub(super) struct Book {
    pub(super) history: History,
    pub(super) tally: SwarmTally,
    /// What must not be. The first of them ends the world.
    pub(super) findings: Vec<Finding>,
    judge: Judge,
    /// Who waits for one.
    waiting: Option<Waker>,
    /// How many have begun to consume.
    consumers: usize,
    /// The queue of each that is its only consumer, and what is known of their queues.
    alone: BTreeMap<usize, usize>,
    places: BTreeMap<usize, Place>,
    /// Queues that were deleted, and when; for all that is known nobody has declared them since.
    absent: BTreeMap<usize, Duration>,
    /// Who consumes at the moment, by the consumer's number: which queue.
    pub(super) consuming: BTreeMap<usize, usize>,
    /// Publishers, clients and others who are back.
    pub(super) back: BTreeSet<String>,
}

impl Ledger {
    pub(super) fn new(sim: Sim, plan: &Plan, is_told: bool) -> Self {
        let freezes = |trouble: &Trouble| matches!(trouble, Trouble::FreezeBroker | Trouble::FreezeClient);
        let frozen = if plan.troubles.iter().any(freezes) { FROZEN_AT_MOST } else { Duration::ZERO };
        let history = History {
            queues: plan.queues.iter().map(super::plan::QueuePlan::counts_as).collect(),
            queue_of: plan.publishers.iter().map(|publisher| publisher.queue).collect(),
            published: vec![Vec::new(); plan.publishers.len()],
            lost_at: vec![Vec::new(); plan.publishers.len()],
            untold: plan.publishers_that(|it| !it.mandatory),
            transient: plan.publishers_that(|it| it.transient),
            ..History::default()
        };
        let book = Mutex::new(Book { history, ..Book::default() });
        Self { sim, is_told, slack: SLACK + frozen * 2, pending: Pending::default(), book }
    }

    pub(super) fn now(&self) -> Duration {
        Duration::from_nanos(self.sim.now().as_nanos())
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, what: impl FnOnce(&mut SwarmTally)) {
        what(&mut self.book().tally);
    }

    pub(super) fn note(&self, text: impl Into<String>) {
        self.sim.note(text);
    }

    fn tell(&self, text: impl FnOnce() -> String) {
        if self.is_told {
            self.note(text());
        }
    }

    pub(super) fn find(&self, finding: Finding) {
        self.note(format!("FOUND {finding}"));
        let waiting = {
            let mut book = self.book();
            book.findings.push(finding);
            book.waiting.take()
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until something is found. One task may wait.
    pub(super) async fn found(&self) {
        poll_fn(|cx| {
            let mut book = self.book();
            if !book.findings.is_empty() {
                return Poll::Ready(());
            }
            book.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits for something that ends by itself; until then it is on record.
    pub(super) async fn track<T>(&self, what: &'static str, future: impl Future<Output = T>) -> T {
        self.pending.track(what, self.now(), future).await
    }

    /// Waits for something that ends within `limit`, whatever happens.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        what: &'static str,
        future: impl Future<Output = T>,
    ) -> T {
        let since = self.now();
        let output = self.track(what, future).await;
        let took = self.now() - since;
        if took > limit + self.slack {
            self.find(Finding::Stuck(format!("{what}: {took:?}, and {limit:?} was the limit")));
        }
        output
    }

    /// What is awaited, each kind once.
    pub(super) fn pending(&self) -> Vec<String> {
        self.pending.kinds(self.now())
    }

    /// A message is about to be handed to the client.
    pub(super) fn publishing(&self, publisher: usize) -> MessageId {
        let at = self.now();
        let mut book = self.book();
        book.tally.messages += 1;
        let messages = &mut book.history.published[publisher];
        messages.push(Published { at, outcome: None });
        MessageId { publisher: publisher as u16, number: messages.len() as u32 - 1 }
    }

    pub(super) fn resolved(&self, id: MessageId, outcome: Outcome) {
        let at = self.now();
        self.tell(|| format!("{id:?}: {outcome:?}"));
        let mut book = self.book();
        let tally = &mut book.tally;
        match &outcome {
            Outcome::Confirmed => tally.confirmed += 1,
            Outcome::Returned => tally.returned += 1,
            Outcome::Nacked => tally.nacks += 1,
            Outcome::NotSent(_) => tally.not_sent += 1,
            Outcome::Unknown(_) => tally.unknown += 1,
        }
        let Book { history, judge, .. } = &mut *book;
        history.resolve(id, outcome, at);
        let finding = judge.resolved(history, id);
        drop(book);
        finding.into_iter().for_each(|finding| self.find(finding));
    }

    /// What became of a publish that was awaited.
    pub(super) fn ended(&self, id: MessageId, result: &Result<(), PublishError>) {
        let outcome = match result {
            Ok(()) => Outcome::Confirmed,
            Err(PublishError::Nacked) => Outcome::Nacked,
            Err(PublishError::Returned(_)) => Outcome::Returned,
            Err(error @ PublishError::Unconfirmed(_)) => Outcome::Unknown(error.to_string()),
            Err(error) => Outcome::NotSent(error.to_string()),
        };
        if let Err(error) = result
            && let Some(reason) = error.close_reason()
        {
            self.inspect(reason);
        }
        self.resolved(id, outcome);
    }

    /// Another consumer, or the same on another connection.
    pub(super) fn consumer(&self) -> usize {
        let mut book = self.book();
        let number = book.consumers;
        book.consumers += 1;
        number
    }

    /// It is the only consumer of its queue.
    pub(super) fn is_alone(&self, consumer: usize, queue: usize) {
        self.book().alone.insert(consumer, queue);
    }

    /// What the only consumer of a queue may expect next.
    pub(super) fn place(&self, queue: usize, work: impl FnOnce(&mut Place)) {
        work(self.book().places.entry(queue).or_default());
    }

    /// A message has come; returns how many have come to a consumer that is alone.
    pub(super) fn delivered(
        &self,
        consumer: usize,
        id: Option<MessageId>,
        redelivered: bool,
        duplicate: bool,
    ) -> usize {
        let at = self.now();
        self.tell(|| {
            format!("{id:?} comes to {consumer}, redelivered: {redelivered}, duplicate: {duplicate}")
        });
        let mut book = self.book();
        book.tally.delivered += 1;
        book.tally.redelivered += u64::from(redelivered);
        book.tally.duplicates += u64::from(duplicate);
        let delivered = Delivered { at, consumer, id, redelivered, possible_duplicate: duplicate };
        let Book { history, judge, alone, places, .. } = &mut *book;
        let finding = judge.delivered(history, &delivered);
        let mut place = alone.get(&consumer).and_then(|queue| places.get_mut(queue));
        let misplaced = place.as_mut().and_then(|place| place.delivered(&delivered));
        let came = place.map_or(0, |place| place.came());
        history.delivered.push(delivered);
        drop(book);
        finding.or(misplaced).into_iter().for_each(|finding| self.find(finding));
        came
    }

    /// A connection is lost: what its publishers had on its way may come late, or never.
    pub(super) fn lost(&self, publishers: impl Iterator<Item = usize>) {
        let at = self.now();
        let mut book = self.book();
        for publisher in publishers {
            book.history.lost_at[publisher].push(at);
        }
    }

    /// Somebody begins to delete a queue.
    pub(super) fn erasing(&self, queue: usize) {
        self.place(queue, Place::going);
    }

    pub(super) fn erased(&self, queue: Option<usize>) {
        let until = self.now();
        let mut book = self.book();
        let places = book.places.iter_mut();
        let concerned = places.filter(|(number, _)| queue.is_none_or(|queue| queue == **number));
        concerned.for_each(|(_, place)| place.gone());
        book.history.erasures.push(Erasure { queue, until, transient: false });
        let all = 0..book.history.queues.len();
        book.absent
            .extend(all.filter(|number| queue.is_none_or(|queue| queue == *number)).map(|it| (it, until)));
    }

    /// The broker has crashed, with its disk: what was not on that is gone.
    pub(super) fn crashed(&self) {
        let until = self.now();
        let mut book = self.book();
        book.history.erasures.push(Erasure { queue: None, until, transient: true });
        let Book { history, places, .. } = &mut *book;
        for place in places.values_mut() {
            place.crashed(|id| history.transient.contains(&id.publisher));
        }
    }

    /// A queue was declared and bound, by calls that were made since a moment.
    pub(super) fn there_again(&self, queue: usize, since: Duration) {
        let until = self.now();
        let mut book = self.book();
        if book.absent.get(&queue).is_some_and(|erased| *erased < since) {
            book.absent.remove(&queue);
            book.history.absences.push(Erasure { queue: Some(queue), until, transient: false });
        }
    }

    /// Every queue is there and bound, whoever has seen to it.
    pub(super) fn all_there_again(&self) {
        let until = self.now();
        let mut book = self.book();
        let absent = std::mem::take(&mut book.absent);
        let absence = |queue| Erasure { queue: Some(queue), until, transient: false };
        book.history.absences.extend(absent.into_keys().map(absence));
    }

    /// Why a connection or channel has ended: nothing that a client of ours does may have made the server do it.
    pub(super) fn inspect(&self, reason: &CloseReason) {
        let is_fine = match reason {
            CloseReason::Server(close) => match close.code.0 {
                // There are channels that ask for what is not there, or is somebody else's.
                320 | 403 | 404 | 405 => true,
                406 => !close.text.as_bytes().windows(12).any(|text| text == b"delivery tag"),
                _ => false,
            },
            CloseReason::PeerMisbehaved(_)
            | CloseReason::BodyTooLarge { .. }
            | CloseReason::Unsendable(_) => false,
            _ => true,
        };
        if !is_fine {
            self.find(Finding::Failed(format!("ended: {reason}")));
        }
    }
}

/// A consumer that is believed in, until this is dropped.
pub(super) struct Consuming<'a> {
    ledger: &'a Ledger,
    number: usize,
}

impl<'a> Consuming<'a> {
    pub(super) fn new(ledger: &'a Ledger, number: usize, queue: usize) -> Self {
        ledger.book().consuming.insert(number, queue);
        Self { ledger, number }
    }
}

impl Drop for Consuming<'_> {
    fn drop(&mut self) {
        self.ledger.book().consuming.remove(&self.number);
    }
}
