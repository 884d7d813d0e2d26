//! How each kind of exchange finds where a message goes.

mod headers;
mod topic;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::amqp::{FieldTable, ShortStr};
use crate::lookup::Lookup;

use super::exchange::{Binding, Destination, Kind};
use headers::{Criteria, Index};
use topic::Trie;

pub(super) use headers::check_arguments;

/// Destinations, each with the number of bindings that lead there.
#[derive(Debug, Default)]
pub(super) struct Targets(BTreeMap<Destination, u32>);

impl Targets {
    fn add(&mut self, destination: Destination) {
        *self.0.entry(destination).or_default() += 1;
    }

    /// Returns whether nothing is left.
    fn remove(&mut self, destination: Destination) -> bool {
        if let Some(count) = self.0.get_mut(&destination) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&destination);
            }
        }
        self.0.is_empty()
    }

    fn collect(&self, out: &mut Vec<Destination>) {
        out.extend(self.0.keys());
    }
}

/// The bindings of an exchange, arranged for its kind.
#[derive(Debug)]
pub(super) enum Routes {
    Direct(Lookup<ShortStr, Targets>),
    Fanout(Targets),
    Topic(Trie),
    Headers(BTreeMap<Binding, Criteria>),
}

impl Routes {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Direct => Self::Direct(Lookup::new()),
            Kind::Fanout => Self::Fanout(Targets::default()),
            Kind::Topic => Self::Topic(Trie::new()),
            Kind::Headers => Self::Headers(BTreeMap::new()),
        }
    }

    pub(super) fn add(&mut self, binding: &Binding, arguments: &FieldTable) {
        match self {
            Self::Direct(keys) => keys.or_default(binding.key.clone()).add(binding.destination),
            Self::Fanout(targets) => targets.add(binding.destination),
            Self::Topic(trie) => trie.add(binding.key.as_bytes(), binding.destination),
            Self::Headers(all) => {
                all.insert(binding.clone(), Criteria::new(arguments));
            }
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        match self {
            Self::Direct(keys) => {
                if keys.get_mut(&binding.key).is_some_and(|targets| targets.remove(binding.destination)) {
                    keys.remove(&binding.key);
                }
            }
            Self::Fanout(targets) => {
                targets.remove(binding.destination);
            }
            Self::Topic(trie) => trie.remove(binding.key.as_bytes(), binding.destination),
            Self::Headers(all) => {
                all.remove(binding);
            }
        }
    }

    pub(super) fn matches(&mut self, key: &[u8], headers: Option<&FieldTable>, out: &mut Vec<Destination>) {
        match self {
            Self::Direct(keys) => {
                if let Some(targets) = keys.get(key) {
                    targets.collect(out);
                }
            }
            Self::Fanout(targets) => targets.collect(out),
            Self::Topic(trie) => trie.matches(key, out),
            Self::Headers(all) => {
                let headers = Index::new(headers);
                let matching = all.iter().filter(|(_, criteria)| criteria.matches(&headers));
                out.extend(matching.map(|(binding, _)| binding.destination));
            }
        }
    }
}
