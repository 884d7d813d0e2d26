use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::Entity;
use crate::amqp::{FieldTable, ShortStr, exchange, queue};

/// Where a binding leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    Exchange(ShortStr),
    Queue(ShortStr),
}

/// What makes two bindings one: to the server a second one like it is the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    source: ShortStr,
    destination: Destination,
    routing_key: ShortStr,
    /// The arguments in canonical form.
    arguments: Bytes,
}

impl Key {
    pub(super) fn new(
        source: &ShortStr,
        destination: Destination,
        routing_key: &ShortStr,
        arguments: &FieldTable,
    ) -> Self {
        Self {
            source: source.without_line_breaks(),
            destination,
            routing_key: routing_key.clone(),
            // What cannot be encoded has not been sent.
            arguments: arguments.canonical().unwrap_or_default(),
        }
    }

    /// Before every binding from this source.
    const fn first_of(source: ShortStr) -> Self {
        Self {
            source,
            destination: Destination::Exchange(ShortStr::empty()),
            routing_key: ShortStr::empty(),
            arguments: Bytes::new(),
        }
    }

    fn entity(&self, arguments: &FieldTable) -> Entity {
        let (routing_key, arguments) = (self.routing_key.clone(), arguments.clone());
        let source = self.source.clone();
        match self.destination.clone() {
            Destination::Exchange(destination) => Entity::ExchangeBinding(exchange::Bind {
                destination,
                source,
                routing_key,
                no_wait: false,
                arguments,
            }),
            Destination::Queue(queue) => Entity::Binding(queue::Bind {
                queue,
                exchange: source,
                routing_key,
                no_wait: false,
                arguments,
            }),
        }
    }
}

/// The bindings of a session, by where they come from and by where they lead.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    /// With the arguments as they were given.
    all: BTreeMap<Key, FieldTable>,
    by_destination: BTreeSet<(Destination, Key)>,
}

impl Bindings {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.all.contains_key(key)
    }

    pub(super) fn insert(&mut self, key: Key, arguments: FieldTable) {
        self.by_destination.insert((key.destination.clone(), key.clone()));
        self.all.insert(key, arguments);
    }

    /// Removes one; gives its source, if it was there.
    pub(super) fn remove(&mut self, key: &Key) -> Option<ShortStr> {
        self.all.remove(key)?;
        self.by_destination.remove(&(key.destination.clone(), key.clone()));
        Some(key.source.clone())
    }

    /// Whether any comes from there.
    pub(super) fn has_source(&self, source: &ShortStr) -> bool {
        self.leaving(source).next().is_some()
    }

    fn leaving<'a>(&'a self, source: &'a ShortStr) -> impl Iterator<Item = &'a Key> {
        self.all
            .range(Key::first_of(source.clone())..)
            .map(|(key, _)| key)
            .take_while(move |key| key.source == *source)
    }

    fn leading_to<'a>(&'a self, destination: &'a Destination) -> impl Iterator<Item = &'a Key> {
        self.by_destination
            .range((destination.clone(), Key::first_of(ShortStr::empty()))..)
            .take_while(move |(to, _)| to == destination)
            .map(|(_, key)| key)
    }

    /// Removes all that come from there.
    pub(super) fn remove_source(&mut self, source: &ShortStr) {
        let keys: Vec<Key> = self.leaving(source).cloned().collect();
        for key in &keys {
            self.remove(key);
        }
    }

    /// Removes all that lead there; gives their sources.
    pub(super) fn remove_destination(&mut self, destination: &Destination) -> Vec<ShortStr> {
        let keys: Vec<Key> = self.leading_to(destination).cloned().collect();
        keys.iter().filter_map(|key| self.remove(key)).collect()
    }

    /// A queue has another name. Routing keys stay: who publishes with the old one still reaches it.
    pub(super) fn rename_queue(&mut self, old: &ShortStr, new: &ShortStr) {
        let old = Destination::Queue(old.clone());
        let keys: Vec<Key> = self.leading_to(&old).cloned().collect();
        for key in keys {
            if let Some(arguments) = self.all.remove(&key) {
                self.by_destination.remove(&(old.clone(), key.clone()));
                self.insert(Key { destination: Destination::Queue(new.clone()), ..key }, arguments);
            }
        }
    }

    pub(super) fn of_exchanges(&self) -> impl Iterator<Item = Entity> {
        self.entities(|destination| matches!(destination, Destination::Exchange(_)))
    }

    pub(super) fn of_queues(&self) -> impl Iterator<Item = Entity> {
        self.entities(|destination| matches!(destination, Destination::Queue(_)))
    }

    fn entities(&self, wanted: fn(&Destination) -> bool) -> impl Iterator<Item = Entity> {
        let wanted = self.all.iter().filter(move |(key, _)| wanted(&key.destination));
        wanted.map(|(key, arguments)| key.entity(arguments))
    }
}
