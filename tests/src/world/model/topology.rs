//! Exchanges and bindings, by the plainest code there is: routing by trying every binding.

use std::collections::{BTreeMap, BTreeSet};

use hopmq_proto::amqp::{FieldTable, FieldValue, exchange};

use super::queue::QueueNo;

/// Where a binding leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum To {
    Queue(QueueNo),
    Exchange(String),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Binding {
    pub(super) source: String,
    pub(super) to: To,
    pub(super) key: String,
    pub(super) criteria: Criteria,
}

/// The arguments of a binding to a headers exchange, as far as worlds use them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Criteria {
    any: bool,
    wanted: Vec<(String, String)>,
}

impl Criteria {
    pub(super) fn of(arguments: &FieldTable) -> Self {
        let any = arguments.get("x-match").and_then(FieldValue::as_str) == Some("any");
        let mut wanted: Vec<_> = texts(arguments).into_iter().filter(|(key, _)| key != "x-match").collect();
        wanted.sort();
        Self { any, wanted }
    }

    fn matches(&self, headers: Option<&FieldTable>) -> bool {
        let there = headers.map(texts).unwrap_or_default();
        let has = |wanted: &(String, String)| there.contains(wanted);
        if self.any { self.wanted.iter().any(has) } else { self.wanted.iter().all(has) }
    }
}

fn texts(table: &FieldTable) -> Vec<(String, String)> {
    table.iter().map(|(key, value)| (key.to_string(), format!("{value:?}"))).collect()
}

#[derive(Debug)]
struct Exchange {
    kind: String,
    durable: bool,
    auto_delete: bool,
}

#[derive(Debug)]
pub(super) struct Topology {
    exchanges: BTreeMap<String, Exchange>,
    bindings: BTreeSet<Binding>,
}

impl Default for Topology {
    fn default() -> Self {
        let predeclared = [("", "direct"), ("amq.direct", "direct"), ("amq.fanout", "fanout")];
        let exchanges = predeclared.map(|(name, kind)| {
            (name.to_owned(), Exchange { kind: kind.to_owned(), durable: true, auto_delete: false })
        });
        Self { exchanges: exchanges.into(), bindings: BTreeSet::new() }
    }
}

impl Topology {
    pub(super) fn has_exchange(&self, name: &str) -> bool {
        self.exchanges.contains_key(name)
    }

    /// Returns whether the declaration agrees with what is there.
    pub(super) fn declare(&mut self, declare: &exchange::Declare) -> bool {
        let name = declare.exchange.to_string();
        let (kind, durable, auto_delete) = (declare.kind.to_string(), declare.durable, declare.auto_delete);
        match self.exchanges.get(&name) {
            Some(known) => known.kind == kind && known.durable == durable && known.auto_delete == auto_delete,
            None => {
                self.exchanges.insert(name, Exchange { kind, durable, auto_delete });
                true
            }
        }
    }

    pub(super) fn is_source(&self, name: &str) -> bool {
        self.bindings.iter().any(|binding| binding.source == name)
    }

    pub(super) fn bind(&mut self, binding: Binding) {
        self.bindings.insert(binding);
    }

    pub(super) fn unbind(&mut self, binding: &Binding) {
        if self.bindings.remove(binding) {
            self.drop_orphan(&binding.source);
        }
    }

    /// Deletes an exchange; its bindings go with it.
    pub(super) fn delete(&mut self, name: &str) {
        self.exchanges.remove(name);
        self.bindings.retain(|binding| binding.source != name);
        self.drop_destination(&To::Exchange(name.to_owned()));
    }

    /// Removes every binding that leads there.
    pub(super) fn drop_destination(&mut self, to: &To) {
        let gone: Vec<_> = self.bindings.iter().filter(|binding| binding.to == *to).cloned().collect();
        for binding in gone {
            self.unbind(&binding);
        }
    }

    /// An auto-delete exchange goes with its last binding.
    fn drop_orphan(&mut self, source: &str) {
        let auto_delete = self.exchanges.get(source).is_some_and(|exchange| exchange.auto_delete);
        if auto_delete && !self.is_source(source) {
            self.delete(source);
        }
    }

    /// The queues behind an exchange other than the default one.
    pub(super) fn route(&self, start: &str, key: &str, headers: Option<&FieldTable>) -> BTreeSet<QueueNo> {
        let mut seen = BTreeSet::from([start]);
        let mut work = vec![start];
        let mut found = BTreeSet::new();
        while let Some(name) = work.pop() {
            let Some(exchange) = self.exchanges.get(name) else { continue };
            let own = self.bindings.iter().filter(|binding| binding.source == name);
            for binding in own.filter(|binding| matches(&exchange.kind, binding, key, headers)) {
                match &binding.to {
                    To::Queue(no) => {
                        found.insert(*no);
                    }
                    To::Exchange(next) => {
                        if seen.insert(next) {
                            work.push(next);
                        }
                    }
                }
            }
        }
        found
    }
}

fn matches(kind: &str, binding: &Binding, key: &str, headers: Option<&FieldTable>) -> bool {
    match kind {
        "fanout" => true,
        "direct" => binding.key == key,
        "topic" => {
            let words = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
            topic(&words(&binding.key), &words(key))
        }
        "headers" => binding.criteria.matches(headers),
        other => panic!("no exchange is a {other}"),
    }
}

fn topic(pattern: &[String], words: &[String]) -> bool {
    match (pattern.split_first(), words.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "#" => {
            topic(rest, words) || words.split_first().is_some_and(|(_, words)| topic(pattern, words))
        }
        (Some((first, rest)), Some((word, words))) => (first == "*" || first == word) && topic(rest, words),
        _ => false,
    }
}
