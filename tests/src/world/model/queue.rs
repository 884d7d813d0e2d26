//! What a queue must hold.

use std::collections::BTreeMap;

use crate::world::ledger::{LinkNo, MessageNo};

/// A queue from its declaration to its end; a name can be used again, this cannot.
pub(super) type QueueNo = u64;

#[derive(Debug)]
pub(super) struct Queue {
    /// Empty until the broker has said how it is called.
    pub(super) name: String,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    pub(super) owner: Option<LinkNo>,
    pub(super) unacked: usize,
    /// By the order in which they came.
    ready: BTreeMap<u64, Ready>,
    places: BTreeMap<MessageNo, u64>,
    last_place: u64,
    /// The furthest place that a message was taken from in this step.
    taken: Option<u64>,
    pub(super) exclusive: bool,
}

#[derive(Debug, Clone, Copy)]
struct Ready {
    message: MessageNo,
    redelivered: bool,
}

impl Queue {
    pub(super) fn new(name: String, durable: bool, auto_delete: bool, owner: Option<LinkNo>) -> Self {
        Self {
            name,
            durable,
            auto_delete,
            owner,
            unacked: 0,
            ready: BTreeMap::new(),
            places: BTreeMap::new(),
            last_place: 0,
            taken: None,
            exclusive: false,
        }
    }

    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn push(&mut self, message: MessageNo) {
        self.last_place += 1;
        self.ready.insert(self.last_place, Ready { message, redelivered: false });
        self.places.insert(message, self.last_place);
    }

    /// Puts a message back where it was.
    pub(super) fn put_back(&mut self, place: u64, message: MessageNo) {
        self.ready.insert(place, Ready { message, redelivered: true });
        self.places.insert(message, place);
        self.unacked -= 1;
    }

    pub(super) fn purge(&mut self) -> usize {
        let count = self.ready.len();
        self.ready.clear();
        self.places.clear();
        count
    }

    /// The broker has given this message out; returns its place.
    pub(super) fn take(&mut self, message: MessageNo, redelivered: bool) -> u64 {
        let place = self.places.remove(&message);
        let place = place.unwrap_or_else(|| panic!("message {message} is not in queue '{}'", self.name));
        let ready = self.ready.remove(&place);
        let marked = ready.is_some_and(|ready| ready.redelivered);
        assert_eq!(redelivered, marked, "the mark of redelivery of message {message}");
        self.taken = self.taken.max(Some(place));
        place
    }

    /// What was taken in this step was taken from the front.
    pub(super) fn end_step(&mut self) {
        if let (Some(taken), Some((next, ready))) = (self.taken.take(), self.ready.first_key_value()) {
            assert!(taken < *next, "queue '{}' has passed over message {}", self.name, ready.message);
        }
    }
}
