//! What must hold of a run, whatever went wrong in it.
//!
//! | | durable, quorum | exclusive, server-named |
//! |---|---|---|
//! | a confirmed message is consumed | yes, unless its queue or virtual host was deleted since, or was not there yet and the message not mandatory, or the broker has crashed since and the message is transient | only what was published once all faults were over and the queue was served again: the queue dies with its connection |
//! | nothing comes from nowhere, nothing comes altered | yes | yes |
//! | per publisher and consumer, what is not marked as redelivered or possibly duplicated comes in order and once | yes | yes |
//! | what a consumer that is alone puts back comes again before what was behind it | yes | yes |
//! | every future resolves | yes | yes |
//! | publishing and consuming go on once faults are over | yes | yes |
//! | the broker's consumers are those that the client believes in | yes | yes |
//!
//! The second and third row a [`Judge`] holds as things happen, and [`check`] of a run that is over; the fourth a
//! [`Place`](super::place::Place); the others are known at the end.
//!
//! Where the broker itself says that a quorum queue has no leader, the run is not judged by the last three rows: nothing that
//! concerns such a queue is answered, whoever asks.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use super::history::{Erasure, History, Injected, MessageId, Outcome, Published};
use super::judge::Judge;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It was confirmed and never came.
    Lost(MessageId),
    /// So many were confirmed and did not come, in a run in which not all queues were served again: the broker may have
    /// them yet.
    Undelivered(usize),
    /// It came, and nobody published it.
    FromNowhere(String),
    /// It came behind a later one, and neither is marked.
    OutOfOrder {
        /// It.
        late: MessageId,
        /// The number that had come before.
        behind: u32,
    },
    /// It came twice, and neither is marked.
    Unmarked(MessageId),
    /// It was put back into its queue, and not where it had been: a later one came before it.
    Misplaced {
        /// It.
        late: MessageId,
        /// The one that came before.
        behind: MessageId,
    },
    /// A publish has had an outcome, and then another one.
    Twice(MessageId),
    /// Its publisher was told that it was not sent, and it came.
    Sent(MessageId),
    /// A future did not resolve.
    Stuck(String),
    /// It did not come back once faults were over.
    NotRecovered(String),
    /// The broker has a consumer that the client does not know.
    Phantom(String),
    /// The client believes in a consumer that the broker has not.
    Missing(String),
    /// So many connections were there after the close.
    AfterClose(u64),
    /// So many bytes were held at once, more than the bound.
    Memory(usize),
    /// The run itself failed.
    Failed(String),
}

impl Finding {
    /// What it is counted as.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Lost(_) => "lost",
            Self::Undelivered(_) => "undelivered",
            Self::FromNowhere(_) => "from nowhere",
            Self::OutOfOrder { .. } => "out of order",
            Self::Unmarked(_) => "unmarked",
            Self::Misplaced { .. } => "misplaced",
            Self::Twice(_) => "an outcome twice",
            Self::Sent(_) => "sent after all",
            Self::Stuck(_) => "stuck",
            Self::NotRecovered(_) => "not recovered",
            Self::Phantom(_) => "phantom",
            Self::Missing(_) => "missing",
            Self::AfterClose(_) => "after close",
            Self::Memory(_) => "memory",
            Self::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        match self {
            Self::Lost(MessageId { publisher, number })
            | Self::Unmarked(MessageId { publisher, number })
            | Self::Twice(MessageId { publisher, number })
            | Self::Sent(MessageId { publisher, number }) => {
                write!(f, ": message {number} of publisher {publisher}")
            }
            Self::OutOfOrder { late: MessageId { publisher, number }, behind } => {
                write!(f, ": message {number} of publisher {publisher} behind {behind}")
            }
            Self::Misplaced { late, behind } => {
                let MessageId { publisher, number } = late;
                write!(
                    f,
                    ": message {number} of publisher {publisher} behind {} of {}",
                    behind.number, behind.publisher
                )
            }
            Self::FromNowhere(what)
            | Self::Stuck(what)
            | Self::NotRecovered(what)
            | Self::Phantom(what)
            | Self::Missing(what)
            | Self::Failed(what) => write!(f, ": {what}"),
            Self::Undelivered(count) => write!(f, ": {count} confirmed messages"),
            Self::AfterClose(count) => write!(f, ": {count} connections"),
            Self::Memory(bytes) => write!(f, ": {bytes} bytes"),
        }
    }
}

/// Everything that is wrong with a run.
#[must_use]
pub fn check(history: &History) -> Vec<Finding> {
    let mut findings = Judge::whole(history);
    findings.extend(check_end(history));
    findings
}

/// What is wrong with the end of a run, whose deliveries a [`Judge`] has seen.
#[must_use]
pub fn check_end(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    nothing_lost(history, &mut findings);
    if history.leaderless.is_empty() {
        findings.extend(history.pending.iter().cloned().map(Finding::Stuck));
        findings.extend(history.not_recovered.iter().cloned().map(Finding::NotRecovered));
    }
    if history.not_recovered.is_empty() {
        same_consumers(history, &mut findings);
    }
    if history.after_close > 0 {
        findings.push(Finding::AfterClose(history.after_close));
    }
    findings
}

/// Confirmed messages that are owed a delivery and have had none.
#[must_use]
pub fn owed(history: &History) -> Vec<MessageId> {
    let consumed: HashSet<MessageId> = history.delivered.iter().filter_map(|it| it.id).collect();
    let mut owed = Vec::new();
    for (publisher, messages) in (0u16..).zip(&history.published) {
        for (number, message) in (0u32..).zip(messages) {
            let id = MessageId { publisher, number };
            let confirmed = matches!(message.outcome, Some((Outcome::Confirmed, _)));
            if confirmed && !consumed.contains(&id) && !may_be_gone(history, publisher, message) {
                owed.push(id);
            }
        }
    }
    owed
}

fn nothing_lost(history: &History, findings: &mut Vec<Finding>) {
    let owed = owed(history);
    if history.not_recovered.is_empty() {
        findings.extend(owed.into_iter().map(Finding::Lost));
    } else if history.leaderless.is_empty() && !owed.is_empty() {
        findings.push(Finding::Undelivered(owed.len()));
    }
}

/// Whether a confirmed message need not come.
fn may_be_gone(history: &History, publisher: u16, message: &Published) -> bool {
    let queue = history.queue_of.get(usize::from(publisher)).copied().unwrap_or_default();
    let erased = |until: Duration| message.at <= until;
    if history.queues.get(queue).is_some_and(|kind| kind.dies_with_connection()) {
        return history.settled_from.is_none_or(erased);
    }
    let absences: &[Erasure] = if history.untold.contains(&publisher) { &history.absences } else { &[] };
    let all = history.erasures.iter().chain(absences);
    let is_transient = history.transient.contains(&publisher);
    let concerned =
        all.filter(|it| it.queue.is_none_or(|which| which == queue) && (is_transient || !it.transient));
    concerned.map(|erasure| erasure.until).any(erased)
}

fn same_consumers(history: &History, findings: &mut Vec<Finding>) {
    let mut believed = history.believed.clone();
    for listed in &history.listed {
        match believed.iter().position(|it| it == listed) {
            Some(at) => drop(believed.swap_remove(at)),
            None => findings.push(Finding::Phantom(listed.clone())),
        }
    }
    findings.extend(believed.into_iter().map(Finding::Missing));
}

/// How long it took from the end of each fault that loses connections until something that was published after it was
/// confirmed, and until it was delivered. Faults that the next one follows before that say nothing.
#[must_use]
pub fn recovery_times(history: &History) -> Vec<RecoveryTime> {
    let mut faults: Vec<&Injected> = history.injected.iter().collect();
    faults.sort_by_key(|it| it.from);
    let mut times = Vec::new();
    // Where nothing was published yet, there was nothing to recover.
    let first = history.published.iter().flatten().map(|it| it.at).min().unwrap_or(Duration::MAX);
    for (n, fault) in faults.iter().enumerate().filter(|(_, it)| it.loses && it.from > first) {
        let next = faults.iter().skip(n + 1).map(|it| it.from).min().unwrap_or(Duration::MAX);
        let confirmed = history.published.iter().flatten().filter(|it| it.at >= fault.until);
        let confirmed = confirmed.filter_map(|it| match it.outcome {
            Some((Outcome::Confirmed, at)) => Some(at),
            _ => None,
        });
        let delivered = history.delivered.iter().filter(|it| {
            let at = it.id.and_then(|id| published_at(history, id));
            at.is_some_and(|at| at >= fault.until)
        });
        let (confirm, delivery) = (confirmed.min(), delivered.map(|it| it.at).min());
        if let (Some(confirm), Some(delivery)) = (confirm, delivery)
            && confirm < next
            && delivery < next
        {
            let since = |at: Duration| at.saturating_sub(fault.until);
            times.push(RecoveryTime { kind: fault.kind, confirm: since(confirm), delivery: since(delivery) });
        }
    }
    times
}

fn published_at(history: &History, id: MessageId) -> Option<Duration> {
    Some(history.message(id)?.at)
}

/// How long it took until all was well again.
#[derive(Debug, Clone, Copy)]
pub struct RecoveryTime {
    /// After which kind of fault.
    pub kind: &'static str,
    /// Until the first confirm.
    pub confirm: Duration,
    /// Until the first delivery.
    pub delivery: Duration,
}
