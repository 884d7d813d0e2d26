//! What can be judged of a run while it goes on.

use std::collections::{BTreeMap, HashSet};

use super::checker::Finding;
use super::history::{Delivered, History, MessageId, Outcome};

/// Holds each delivery and each outcome, as it comes, against what came before.
///
/// It finds what nothing that may come later can excuse. Where a message comes behind a later one and its outcome is not
/// known, that is known when its outcome is.
#[derive(Debug, Default)]
pub struct Judge {
    /// What has come.
    came: HashSet<MessageId>,
    /// What has come without a mark.
    unmarked: HashSet<MessageId>,
    /// By consumer and publisher: the highest number that has come without a mark.
    latest: BTreeMap<(usize, u16), u32>,
    /// What came behind this number, and may yet turn out to have been on its way when a connection was lost.
    suspects: BTreeMap<MessageId, u32>,
    /// What has had an outcome.
    ended: HashSet<MessageId>,
}

impl Judge {
    /// All of a run that is over.
    #[must_use]
    pub fn whole(history: &History) -> Vec<Finding> {
        let mut judge = Self::default();
        let delivered = history.delivered.iter();
        delivered.filter_map(|delivered| judge.delivered(history, delivered)).collect()
    }

    /// A message has come to a consumer.
    pub fn delivered(&mut self, history: &History, delivered: &Delivered) -> Option<Finding> {
        let from_nowhere =
            |what: String| Some(Finding::FromNowhere(format!("{what}, at consumer {}", delivered.consumer)));
        let Some(id) = delivered.id else { return from_nowhere("an altered body".to_owned()) };
        let Some(message) = history.message(id) else { return from_nowhere(format!("{id:?}")) };
        self.came.insert(id);
        if let Some((Outcome::NotSent(_), _)) = message.outcome {
            return Some(Finding::Sent(id));
        }
        if delivered.is_marked() {
            return None;
        }
        if !self.unmarked.insert(id) {
            return Some(Finding::Unmarked(id));
        }
        let latest = self.latest.entry((delivered.consumer, id.publisher)).or_insert(id.number);
        let behind = *latest;
        *latest = id.number.max(behind);
        if id.number == *latest {
            return None;
        }
        match way(history, id) {
            Way::Straight => Some(Finding::OutOfOrder { late: id, behind }),
            Way::Unsure => None,
            Way::Unknown => {
                self.suspects.insert(id, behind);
                None
            }
        }
    }

    /// A message has got its outcome, which is in the history.
    pub fn resolved(&mut self, history: &History, id: MessageId) -> Option<Finding> {
        if !self.ended.insert(id) {
            return Some(Finding::Twice(id));
        }
        if self.came.contains(&id)
            && let Some((Outcome::NotSent(_), _)) = history.message(id)?.outcome
        {
            return Some(Finding::Sent(id));
        }
        let behind = self.suspects.remove(&id)?;
        matches!(way(history, id), Way::Straight).then_some(Finding::OutOfOrder { late: id, behind })
    }
}

/// How a message has come to the broker.
enum Way {
    /// On one connection, that was there until its outcome was known. What its publisher handed to the client after it
    /// was sent after it, on that connection or on a later one, and so is behind it in the queue.
    Straight,
    /// It was on its way when its publisher's connection was lost, or nobody knows when it was sent: the broker may read
    /// it late.
    Unsure,
    /// That is so unless its outcome shows otherwise, which it has not yet.
    Unknown,
}

fn way(history: &History, id: MessageId) -> Way {
    let Some(message) = history.message(id) else { return Way::Unsure };
    let Some(lost_at) = history.lost_at.get(usize::from(id.publisher)) else { return Way::Straight };
    match &message.outcome {
        None => Way::Unknown,
        Some((Outcome::Unknown(_), _)) => Way::Unsure,
        Some((_, until)) if lost_at.iter().any(|lost| message.at <= *lost && lost <= until) => Way::Unsure,
        Some(_) => Way::Straight,
    }
}
