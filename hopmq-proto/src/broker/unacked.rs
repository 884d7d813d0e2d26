use alloc::collections::VecDeque;
use alloc::sync::Arc;

use super::id::{ConsumerId, QueueId};
use super::message::Message;

/// A message that a channel has been given and has not settled.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) queue: QueueId,
    /// Its place in the queue.
    pub(super) position: u64,
    pub(super) message: Arc<Message>,
    /// The consumer; none for `basic.get`.
    pub(super) consumer: Option<ConsumerId>,
}

/// The unsettled deliveries of a channel in the order of their tags.
///
/// Most are settled from the front. One that is settled from the middle leaves a gap, and gaps are swept out when they
/// outnumber the rest, so no order of acknowledgements costs more than a logarithm each.
#[derive(Debug, Default)]
pub(super) struct Unacked {
    entries: VecDeque<(u64, Option<Delivery>)>,
    live: usize,
}

impl Unacked {
    /// Adds a delivery with a tag higher than all before it.
    pub(super) fn push(&mut self, tag: u64, delivery: Delivery) {
        self.entries.push_back((tag, Some(delivery)));
        self.live += 1;
    }

    /// Takes the delivery with this tag.
    pub(super) fn take(&mut self, tag: u64) -> Option<Delivery> {
        let at = match self.entries.front() {
            Some((front, _)) if *front == tag => 0,
            _ => self.entries.binary_search_by_key(&tag, |(tag, _)| *tag).ok()?,
        };
        let delivery = self.entries.get_mut(at)?.1.take()?;
        self.live -= 1;
        self.sweep();
        Some(delivery)
    }

    /// Takes every delivery up to `tag`, which must be one of them, or 0 for all. Returns whether it was.
    pub(super) fn take_up_to(&mut self, tag: u64, out: &mut alloc::vec::Vec<Delivery>) -> bool {
        let count = if tag == 0 {
            self.entries.len()
        } else {
            match self.entries.binary_search_by_key(&tag, |(tag, _)| *tag) {
                Ok(at) if self.entries.get(at).is_some_and(|(_, delivery)| delivery.is_some()) => at + 1,
                _ => return false,
            }
        };
        let before = out.len();
        out.extend(self.entries.drain(..count).filter_map(|(_, delivery)| delivery));
        self.live -= out.len() - before;
        self.sweep();
        true
    }

    fn sweep(&mut self) {
        while self.entries.front().is_some_and(|(_, delivery)| delivery.is_none()) {
            self.entries.pop_front();
        }
        if self.entries.len() > 2 * self.live + 32 {
            self.entries.retain(|(_, delivery)| delivery.is_some());
        }
    }
}
