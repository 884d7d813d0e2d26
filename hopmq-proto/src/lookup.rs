//! A table that is looked up and never gone through: a hash map's order differs between runs, an engine's answers must not.
//!
//! This is the only place that may name a hash map (`clippy.toml`), and what goes through one is not here, so it cannot be
//! written. The hasher's own seed, which keeps a peer from choosing keys that collide, shows in nothing but that order.

#![allow(clippy::disallowed_types)]

use core::fmt;
use core::hash::Hash;

use hashbrown::{Equivalent, HashMap};

pub(crate) struct Lookup<K, V>(HashMap<K, V>);

impl<K: Hash + Eq, V> Lookup<K, V> {
    pub(crate) fn new() -> Self {
        Self(HashMap::new())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// What is there under this key, or else a default that is put there.
    pub(crate) fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.0.entry(key).or_default()
    }

    pub(crate) fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<&V> {
        self.0.get(key)
    }

    pub(crate) fn get_mut<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    /// The key as it is in the table, and what is there under it.
    pub(crate) fn get_key_value<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<(&K, &V)> {
        self.0.get_key_value(key)
    }

    pub(crate) fn contains_key<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn remove<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<V> {
        self.0.remove(key)
    }
}

impl<K: Hash + Eq, V> Default for Lookup<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// Without what is in it, which would come in the map's order.
impl<K, V> fmt::Debug for Lookup<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lookup({})", self.0.len())
    }
}
