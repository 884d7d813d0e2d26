use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::amqp::ShortStr;

/// Names that a queue keeps from its past: its first, which the user was given, and the latest.
const MAX_FORMER_NAMES: usize = 16;

/// The names that server-named queues had in earlier lives.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// By former name.
    current: BTreeMap<ShortStr, ShortStr>,
    /// By current name, the oldest first.
    former: BTreeMap<ShortStr, Vec<ShortStr>>,
}

impl Aliases {
    /// The name that the queue has now which once had this one.
    pub(super) fn resolve(&self, former: &[u8]) -> Option<&ShortStr> {
        self.current.get(former)
    }

    pub(super) fn rename(&mut self, old: &ShortStr, new: &ShortStr) {
        self.free(new);
        let mut names = self.former.remove(old).unwrap_or_default();
        if names.len() >= MAX_FORMER_NAMES {
            let forgotten = names.remove(1); // the user holds the first
            self.current.remove(&forgotten);
        }
        names.push(old.clone());
        for name in &names {
            self.current.insert(name.clone(), new.clone());
        }
        self.former.insert(new.clone(), names);
    }

    /// A queue is gone.
    pub(super) fn forget(&mut self, current: &ShortStr) {
        for name in self.former.remove(current).unwrap_or_default() {
            self.current.remove(&name);
        }
    }

    /// A queue has this name now: it means no other any more.
    pub(super) fn free(&mut self, name: &ShortStr) {
        if let Some(current) = self.current.remove(name)
            && let Some(names) = self.former.get_mut(&current)
        {
            names.retain(|former| former != name);
        }
    }
}
