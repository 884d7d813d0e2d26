use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::lookup::Lookup;

use super::super::exchange::Destination;
use super::Targets;

const ROOT: usize = 0;

/// The patterns of a topic exchange as one automaton.
///
/// A key is matched word by word, with the set of all nodes that the words so far can have led to. No node is in the
/// set twice, so a key costs at most its words times the nodes, whatever the patterns are.
#[derive(Debug)]
pub(in super::super) struct Trie {
    nodes: Vec<Node>,
    free: Vec<usize>,
    /// Counts the steps of all matches, to tell which nodes are in the set of this step already.
    step: u64,
    current: Vec<usize>,
    next: Vec<usize>,
}

#[derive(Debug, Default)]
struct Node {
    words: Lookup<Bytes, usize>,
    /// Behind `*`: exactly one word.
    star: Option<usize>,
    /// Behind `#`: any number of words.
    hash: Option<usize>,
    /// This node is behind a `#`, so any word leads back to it.
    loops: bool,
    targets: Targets,
    seen: u64,
}

impl Node {
    fn is_unused(&self) -> bool {
        self.words.is_empty() && self.star.is_none() && self.hash.is_none() && self.targets.0.is_empty()
    }
}

/// The words between the dots; an empty key has none.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = if key.is_empty() { 0 } else { usize::MAX };
    key.split(|octet| *octet == b'.').take(count)
}

impl Trie {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()], free: vec![], step: 0, current: vec![], next: vec![] }
    }

    pub(super) fn add(&mut self, pattern: &[u8], destination: Destination) {
        let mut at = ROOT;
        for word in words(pattern) {
            at = match self.child(at, word) {
                Some(child) => child,
                None => self.grow(at, word),
            };
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.targets.add(destination);
        }
    }

    pub(super) fn remove(&mut self, pattern: &[u8], destination: Destination) {
        let mut path = vec![];
        let mut at = ROOT;
        for word in words(pattern) {
            let Some(child) = self.child(at, word) else { return };
            path.push((at, word));
            at = child;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.targets.remove(destination);
        }
        for (parent, word) in path.into_iter().rev() {
            if !self.nodes.get(at).is_some_and(Node::is_unused) {
                break;
            }
            self.free.push(at);
            if let Some(node) = self.nodes.get_mut(parent) {
                match word {
                    b"*" => node.star = None,
                    b"#" => node.hash = None,
                    _ => {
                        node.words.remove(word);
                    }
                }
            }
            at = parent;
        }
    }

    fn child(&self, at: usize, word: &[u8]) -> Option<usize> {
        let node = self.nodes.get(at)?;
        match word {
            b"*" => node.star,
            b"#" => node.hash,
            _ => node.words.get(word).copied(),
        }
    }

    fn grow(&mut self, at: usize, word: &[u8]) -> usize {
        let fresh = Node { loops: word == b"#", ..Node::default() };
        let child = self.free.pop().unwrap_or(self.nodes.len());
        match self.nodes.get_mut(child) {
            Some(node) => *node = fresh,
            None => self.nodes.push(fresh),
        }
        if let Some(parent) = self.nodes.get_mut(at) {
            match word {
                b"*" => parent.star = Some(child),
                b"#" => parent.hash = Some(child),
                _ => {
                    parent.words.insert(Bytes::copy_from_slice(word), child);
                }
            }
        }
        child
    }

    pub(super) fn matches(&mut self, key: &[u8], out: &mut Vec<Destination>) {
        let Self { nodes, step, current, next, .. } = self;
        *step += 1;
        current.clear();
        enter(nodes, ROOT, *step, current);
        for word in words(key) {
            *step += 1;
            next.clear();
            for at in current.drain(..) {
                let Some(node) = nodes.get(at) else { continue };
                let (exact, star, loops) = (node.words.get(word).copied(), node.star, node.loops);
                for child in [exact, star, loops.then_some(at)].into_iter().flatten() {
                    enter(nodes, child, *step, next);
                }
            }
            core::mem::swap(current, next);
        }
        for node in current.iter().filter_map(|at| nodes.get(*at)) {
            node.targets.collect(out);
        }
    }
}

/// Adds `at` to the set, and what `#` reaches from it without a word.
fn enter(nodes: &mut [Node], at: usize, step: u64, set: &mut Vec<usize>) {
    let mut next = Some(at);
    while let Some(at) = next {
        let Some(node) = nodes.get_mut(at).filter(|node| node.seen != step) else { return };
        node.seen = step;
        set.push(at);
        next = node.hash;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::id::{QueueId, Slab};
    use super::*;

    fn matches(pattern: &str, key: &str) -> bool {
        let mut ids: Slab<QueueId, ()> = Slab::new();
        let mut trie = Trie::new();
        let destination = Destination::Queue(ids.insert(()));
        trie.add(pattern.as_bytes(), destination);
        let mut out = vec![];
        trie.matches(key.as_bytes(), &mut out);
        trie.remove(pattern.as_bytes(), destination);
        assert_eq!(trie.free.len() + 1, trie.nodes.len(), "{pattern} is gone");
        !out.is_empty()
    }

    /// The plain meaning, exponential in the number of `#`.
    fn oracle(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (["#", rest @ ..], _) => {
                oracle(rest, key) || key.split_first().is_some_and(|(_, key)| oracle(pattern, key))
            }
            ([word, pattern @ ..], [first, key @ ..]) => {
                (*word == "*" || word == first) && oracle(pattern, key)
            }
            _ => false,
        }
    }

    #[test]
    fn patterns_match_as_rabbitmq_matches_them() {
        for (pattern, key, answer) in [
            ("*", "", false),
            ("#", "", true),
            ("", "", true),
            ("#.#", "a.b", true),
            ("#.#", "", true),
            ("a.#.b", "a.b", true),
            ("a.#.b", "a.x.y.b", true),
            ("a.*.b", "a.b", false),
            ("*.orange.*", "quick.orange.rabbit", true),
            ("lazy.#", "lazy", true),
            ("lazy.#", "lazyx", false),
            ("a..b", "a..b", true),
            ("a.*.b", "a..b", true),
        ] {
            assert_eq!(matches(pattern, key), answer, "{pattern} {key}");
        }
    }

    #[test]
    fn every_short_pattern_and_key_agrees_with_the_plain_meaning() {
        let all = |alphabet: &[&'static str]| {
            let mut all: Vec<Vec<&'static str>> = vec![vec![]];
            let mut last = all.clone();
            for _ in 0..4 {
                last = last
                    .iter()
                    .flat_map(|words| alphabet.iter().map(|word| [&words[..], &[*word]].concat()))
                    .collect();
                all.extend(last.clone());
            }
            all
        };
        for pattern in all(&["a", "*", "#"]) {
            for key in all(&["a", "b"]) {
                let (p, k) = (pattern.join("."), key.join("."));
                assert_eq!(matches(&p, &k), oracle(&pattern, &key), "{p} {k}");
            }
        }
    }

    #[test]
    fn hostile_patterns_stay_cheap() {
        let mut ids: Slab<QueueId, ()> = Slab::new();
        let mut trie = Trie::new();
        trie.add("#.a.".repeat(60).trim_end_matches('.').as_bytes(), Destination::Queue(ids.insert(())));
        let mut out = vec![];
        for _ in 0..1000 {
            trie.matches("a.".repeat(120).as_bytes(), &mut out);
        }
        assert!(out.is_empty());
    }
}
