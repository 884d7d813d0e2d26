//! What has happened in a run, as the checker is told.

use std::collections::BTreeSet;
use std::time::Duration;

/// How long a queue and what is in it live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueKind {
    /// Durable, classic.
    Durable,
    /// Durable, quorum.
    Quorum,
    /// As long as its connection, under a name of ours.
    Exclusive,
    /// As long as its connection, under a name that the server chooses.
    ServerNamed,
}

impl QueueKind {
    /// Whether the queue dies with its connection, and what is in it.
    #[must_use]
    pub const fn dies_with_connection(self) -> bool {
        matches!(self, Self::Exclusive | Self::ServerNamed)
    }
}

/// How a publish has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The broker has it.
    Confirmed,
    /// The broker refused it.
    Nacked,
    /// No queue took it.
    Returned,
    /// It was not sent.
    NotSent(String),
    /// It was sent, and may or may not be on the broker.
    Unknown(String),
}

/// A message, when it was handed to the client, and what became of it.
#[derive(Debug, Clone)]
pub struct Published {
    /// When, from the beginning of the run.
    pub at: Duration,
    /// How it ended and when, if it has.
    pub outcome: Option<(Outcome, Duration)>,
}

/// Who published a message, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The publisher's number.
    pub publisher: u16,
    /// Its messages are counted from 0.
    pub number: u32,
}

/// A message that has come.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// When, from the beginning of the run.
    pub at: Duration,
    /// Which consumer has it.
    pub consumer: usize,
    /// What its body says; `None` when that makes no sense.
    pub id: Option<MessageId>,
    /// The server says that it was delivered before.
    pub redelivered: bool,
    /// The client that sent it says that it may have been sent before.
    pub possible_duplicate: bool,
}

impl Delivered {
    /// Whether it is said to be no first delivery.
    #[must_use]
    pub const fn is_marked(&self) -> bool {
        self.redelivered || self.possible_duplicate
    }
}

/// A fault that was injected.
#[derive(Debug, Clone)]
pub struct Injected {
    /// Its kind.
    pub kind: &'static str,
    /// From when, from the beginning of the run.
    pub from: Duration,
    /// Until when.
    pub until: Duration,
    /// Whether connections are lost by it.
    pub loses: bool,
}

/// What was deleted on purpose: messages handed to the client until then may be gone.
#[derive(Debug, Clone, Copy)]
pub struct Erasure {
    /// Which queue; all of them without.
    pub queue: Option<usize>,
    /// When the deletion was done.
    pub until: Duration,
    /// Only what was [transient](History::transient) is gone.
    pub transient: bool,
}

/// Everything that a run is judged by.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The queues.
    pub queues: Vec<QueueKind>,
    /// The queue that each publisher publishes to.
    pub queue_of: Vec<usize>,
    /// The messages of each publisher, in the order in which they were handed to the client.
    pub published: Vec<Vec<Published>>,
    /// What came, in the order in which it came.
    pub delivered: Vec<Delivered>,
    /// When the connection of each publisher was lost, where that is known: what was on its way then may come late, behind
    /// what was published since.
    pub lost_at: Vec<Vec<Duration>>,
    /// What went wrong on purpose.
    pub injected: Vec<Injected>,
    /// What was deleted on purpose.
    pub erasures: Vec<Erasure>,
    /// Publishers whose messages are not kept on a disk.
    pub transient: BTreeSet<u16>,
    /// Publishers that are not told when there is no queue for a message: what they publish is not mandatory.
    pub untold: BTreeSet<u16>,
    /// Queues that were deleted, and until when they were not there: what was published to them then by those who are not
    /// told may be gone.
    pub absences: Vec<Erasure>,
    /// From when on every queue was served again, with no fault after that.
    pub settled_from: Option<Duration>,
    /// What was to come back within the deadline once faults had stopped, and did not.
    pub not_recovered: Vec<String>,
    /// Quorum queues that the broker itself cannot reach then: they have no leader.
    pub leaderless: Vec<usize>,
    /// Futures that did not resolve within their deadline.
    pub pending: Vec<String>,
    /// The tags of the consumers that the client believes in.
    pub believed: Vec<String>,
    /// The tags of those that the broker lists.
    pub listed: Vec<String>,
    /// Connections that were open or opened after the close.
    pub after_close: u64,
}

impl History {
    /// What is known of a message, if it was ever handed to the client.
    #[must_use]
    pub fn message(&self, id: MessageId) -> Option<&Published> {
        self.published.get(usize::from(id.publisher))?.get(usize::try_from(id.number).ok()?)
    }

    /// Writes down how a publish has ended; returns how it had ended before.
    pub fn resolve(&mut self, id: MessageId, outcome: Outcome, at: Duration) -> Option<Outcome> {
        let messages = self.published.get_mut(usize::from(id.publisher))?;
        let message = messages.get_mut(usize::try_from(id.number).ok()?)?;
        Some(message.outcome.replace((outcome, at))?.0)
    }
}
