//! What is awaited of a client, and since when.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Futures that have not resolved.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Awaited>);

#[derive(Debug, Default)]
struct Awaited {
    entries: BTreeMap<u64, (&'static str, Duration)>,
    count: u64,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Awaited> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a future from `now` on; until it resolves, or nobody waits any more, it is on record.
    pub(crate) async fn track<T>(
        &self,
        what: &'static str,
        now: Duration,
        future: impl Future<Output = T>,
    ) -> T {
        let entry = {
            let mut awaited = self.lock();
            awaited.count += 1;
            let entry = awaited.count;
            awaited.entries.insert(entry, (what, now));
            entry
        };
        let _tracked = Tracked { pending: self, entry };
        future.await
    }

    /// What is awaited `now`, each kind once, with how often and for how long at most.
    pub(crate) fn kinds(&self, now: Duration) -> Vec<String> {
        let mut kinds: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
        for (what, since) in self.lock().entries.values() {
            let (count, earliest) = kinds.entry(what).or_insert((0, *since));
            *count += 1;
            *earliest = (*earliest).min(*since);
        }
        let line = |(what, (count, since)): (&str, (usize, Duration))| {
            format!("{count} x {what} for {:?}", now.saturating_sub(since))
        };
        kinds.into_iter().map(line).collect()
    }
}

/// Something awaited.
struct Tracked<'a> {
    pending: &'a Pending,
    entry: u64,
}

impl Drop for Tracked<'_> {
    fn drop(&mut self) {
        self.pending.lock().entries.remove(&self.entry);
    }
}
