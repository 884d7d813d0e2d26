use alloc::collections::{BTreeMap, BTreeSet};

use super::Instant;

/// A set of named deadlines: at most one per key, the earliest first.
///
/// Two keys that are due at the same instant fire in the order of the keys, so a replay fires them alike.
///
/// ```
/// use hopmq_proto::{Deadlines, Instant};
///
/// let mut deadlines = Deadlines::new();
/// deadlines.set("reply", Instant::from_nanos(20));
/// deadlines.set("heartbeat", Instant::from_nanos(10));
/// assert_eq!(deadlines.next(), Some(Instant::from_nanos(10)));
/// assert_eq!(deadlines.pop_due(Instant::from_nanos(15)), Some("heartbeat"));
/// assert_eq!(deadlines.pop_due(Instant::from_nanos(15)), None);
/// ```
#[derive(Debug, Clone)]
pub struct Deadlines<K> {
    at: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Copy> Deadlines<K> {
    /// An empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// Sets the deadline of `key`, in place of an earlier one.
    pub fn set(&mut self, key: K, at: Instant) {
        if let Some(old) = self.at.insert(key, at) {
            self.order.remove(&(old, key));
        }
        self.order.insert((at, key));
    }

    /// Removes the deadline of `key`, if it has one.
    pub fn clear(&mut self, key: K) {
        if let Some(old) = self.at.remove(&key) {
            self.order.remove(&(old, key));
        }
    }

    /// Removes every deadline.
    pub fn clear_all(&mut self) {
        self.at.clear();
        self.order.clear();
    }

    /// Whether `key` has a deadline.
    #[must_use]
    pub fn is_set(&self, key: K) -> bool {
        self.at.contains_key(&key)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Removes and returns the earliest key that is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.order.pop_first();
        self.at.remove(&key);
        Some(key)
    }
}

impl<K: Ord + Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}
