//! The types that every engine is made of, against naive models of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use bytes::Bytes;
use hopmq_proto::{Deadlines, Instant, Outbox};
use proptest::collection::vec;
use proptest::prelude::*;

/// What an urgent frame may at most have to wait for, beside the frame that is being written.
const SEAL_AT: usize = 64 * 1024;

#[derive(Debug, Clone)]
enum Step {
    /// A frame of these parts; in between, bytes leave as [`Leave`] says.
    Frame(Vec<(Part, Leave)>),
    Urgent(usize),
    Leave(Leave),
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Copied(usize),
    Linked(usize),
}

#[derive(Debug, Clone, Copy)]
enum Leave {
    Nothing,
    /// The owner writes straight from the outbox.
    Consume(usize),
    /// The owner moves chunks to an outbox of its own, as a driver does, and writes from there.
    Move {
        limit: usize,
        consume: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => vec((part(), leave()), 1..4).prop_map(Step::Frame),
        3 => part().prop_map(|part| Step::Frame(vec![(part, Leave::Nothing)])),
        2 => (0..40usize).prop_map(Step::Urgent),
        3 => leave().prop_map(Step::Leave),
    ]
}

fn part() -> impl Strategy<Value = Part> {
    let size = || prop_oneof![20 => 0..50usize, 1 => Just(SEAL_AT - 1), 1 => Just(SEAL_AT + 10)];
    prop_oneof![size().prop_map(Part::Copied), size().prop_map(Part::Linked)]
}

fn leave() -> impl Strategy<Value = Leave> {
    let size = || prop_oneof![8 => 0..80usize, 1 => Just(usize::MAX), 1 => 0..SEAL_AT];
    prop_oneof![
        2 => Just(Leave::Nothing),
        2 => size().prop_map(Leave::Consume),
        2 => (size(), size()).prop_map(|(limit, consume)| Leave::Move { limit, consume }),
    ]
}

/// An outbox, the one its bytes are moved to, and what both should hold.
#[derive(Default)]
struct World {
    outbox: Outbox,
    wire: Outbox,
    /// Every byte that was ever queued, in the order in which it leaves, and for each what it is.
    stream: Vec<Octet>,
    /// How many bytes left the outbox, and how many the wire.
    left: usize,
    written: usize,
    frames: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Octet {
    frame: usize,
    urgent: bool,
    last: bool,
}

impl Octet {
    /// The byte that stands for it: two in a row differ wherever frames meet.
    fn byte(self) -> u8 {
        u8::try_from(self.frame % 64).unwrap() << 2 | u8::from(self.urgent) << 1 | u8::from(self.last)
    }
}

impl World {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Frame(parts) => self.frame(parts),
            Step::Urgent(len) => self.urgent(*len),
            Step::Leave(leave) => self.leave(*leave),
        }
        self.check();
    }

    fn frame(&mut self, parts: &[(Part, Leave)]) {
        let frame = self.new_frame();
        for (part, leave) in parts {
            let (Part::Copied(len) | Part::Linked(len)) = *part;
            let octets = vec![Octet { frame, urgent: false, last: false }; len];
            let bytes: Vec<u8> = octets.iter().map(|octet| octet.byte()).collect();
            match part {
                Part::Copied(_) => self.outbox.tail().extend_from_slice(&bytes),
                Part::Linked(_) => self.outbox.link(bytes.into()),
            }
            self.stream.extend(octets);
            self.leave(*leave);
            self.check();
        }
        let end = Octet { frame, urgent: false, last: true };
        self.outbox.tail().extend_from_slice(&[end.byte()]);
        self.stream.push(end);
        self.outbox.end_frame();
    }

    fn urgent(&mut self, len: usize) {
        let frame = self.new_frame();
        let mut octets = vec![Octet { frame, urgent: true, last: false }; len];
        octets.push(Octet { frame, urgent: true, last: true });
        let before = held(&self.outbox);
        self.outbox.push_urgent(octets.iter().map(|octet| octet.byte()).collect::<Vec<_>>().into());
        let after = held(&self.outbox);

        // It is at the first place that is allowed, or where a chunk ends that was sealed when it held enough.
        let first = self.first_boundary();
        let start = self.left;
        let mut allowed = (first..=self.stream.len()).filter(|at| self.is_boundary(*at));
        let at = allowed.find(|at| {
            let at = at - start;
            after[..at] == before[..at]
                && after[at..].starts_with(&octets.iter().map(|octet| octet.byte()).collect::<Vec<_>>())
                && after[at + octets.len()..] == before[at..]
        });
        let at = at.expect("the urgent frame is not at a boundary, or something else has moved");
        if self.is_boundary(start) {
            assert_eq!(at, first, "an urgent frame waits behind what it may overtake");
        } else {
            let largest = 3 * (SEAL_AT + 10) + 1;
            assert!(at - first <= SEAL_AT + largest, "an urgent frame waits for {} bytes", at - first);
        }
        self.stream.splice(at..at, octets);
    }

    fn leave(&mut self, leave: Leave) {
        match leave {
            Leave::Nothing => {}
            // The wire comes first: what was moved there is older.
            Leave::Consume(n) if self.wire.is_empty() => {
                self.outbox.consume(n);
                self.left += n.min(self.stream.len() - self.left);
                self.written = self.left;
            }
            Leave::Consume(n) => self.write(n),
            Leave::Move { limit, consume } => {
                let before = self.outbox.len() + self.wire.len();
                self.outbox.move_to(&mut self.wire, limit);
                assert_eq!(self.outbox.len() + self.wire.len(), before);
                assert!(
                    self.wire.len() >= limit || self.outbox.is_empty(),
                    "less was moved than was asked for"
                );
                self.left = self.stream.len() - self.outbox.len();
                self.write(consume);
            }
        }
    }

    fn write(&mut self, n: usize) {
        self.written += n.min(self.wire.len());
        self.wire.consume(n);
    }

    fn check(&self) {
        let expected: Vec<u8> = self.stream.iter().map(|octet| octet.byte()).collect();
        assert_eq!(held(&self.wire), &expected[self.written..self.left]);
        assert_eq!(held(&self.outbox), &expected[self.left..]);
    }

    fn new_frame(&mut self) -> usize {
        self.frames += 1;
        self.frames
    }

    fn is_boundary(&self, at: usize) -> bool {
        at == 0 || self.stream[at - 1].last
    }

    /// The first place where a frame may start, behind the urgent ones that are there.
    fn first_boundary(&self) -> usize {
        let boundary = (self.left..).find(|at| self.is_boundary(*at)).unwrap();
        let urgent = self.stream[boundary..].iter().take_while(|octet| octet.urgent).count();
        boundary + urgent
    }
}

/// The bytes of an outbox, after a look at its chunks.
fn held(outbox: &Outbox) -> Vec<u8> {
    assert!(outbox.chunks().all(|chunk| !chunk.is_empty()), "an empty chunk");
    let bytes: Vec<u8> = outbox.chunks().collect::<Vec<_>>().concat();
    assert_eq!(outbox.len(), bytes.len());
    assert_eq!(outbox.is_empty(), bytes.is_empty());
    bytes
}

#[derive(Debug, Clone)]
enum Change {
    Set(u8, u64),
    Clear(u8),
    ClearAll,
    PopDue(u64),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (0..6u8, 0..20u64).prop_map(|(key, at)| Change::Set(key, at)),
        2 => (0..6u8).prop_map(Change::Clear),
        1 => Just(Change::ClearAll),
        5 => (0..22u64).prop_map(Change::PopDue),
    ]
}

proptest! {
    #[test]
    fn an_outbox_keeps_its_bytes_in_order(steps in vec(step(), 0..30)) {
        let mut world = World::default();
        for step in &steps {
            world.step(step);
        }
        world.leave(Leave::Move { limit: usize::MAX, consume: usize::MAX });
        world.check();
        prop_assert_eq!(world.written, world.stream.len());
        prop_assert!(world.outbox.is_empty() && world.wire.is_empty());
    }

    #[test]
    fn deadlines_are_a_map_that_is_popped_by_time_then_key(changes in vec(change(), 0..60)) {
        let mut deadlines = Deadlines::new();
        let mut model: BTreeMap<u8, u64> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Set(key, at) => {
                    deadlines.set(key, Instant::from_nanos(at));
                    model.insert(key, at);
                }
                Change::Clear(key) => {
                    deadlines.clear(key);
                    model.remove(&key);
                }
                Change::ClearAll => {
                    deadlines.clear_all();
                    model.clear();
                }
                Change::PopDue(now) => {
                    let first = model.iter().map(|(key, at)| (*at, *key)).min();
                    let due = first.filter(|(at, _)| *at <= now).map(|(_, key)| key);
                    prop_assert_eq!(deadlines.pop_due(Instant::from_nanos(now)), due);
                    due.map(|key| model.remove(&key));
                }
            }
            prop_assert_eq!(deadlines.next().map(Instant::as_nanos), model.values().min().copied());
            for key in 0..6 {
                prop_assert_eq!(deadlines.is_set(key), model.contains_key(&key));
            }
        }
    }

    #[test]
    fn instants_saturate(at: u64, nanos: u64, secs: u64) {
        let (instant, duration) = (Instant::from_nanos(at), core::time::Duration::from_nanos(nanos));
        prop_assert_eq!((instant + duration).as_nanos(), at.saturating_add(nanos));
        prop_assert_eq!((instant + duration) - instant, duration.min(Instant::from_nanos(u64::MAX) - instant));
        let far = core::time::Duration::new(secs, 0);
        prop_assert_eq!((instant + far).as_nanos(), at.saturating_add(secs.saturating_mul(1_000_000_000)));
    }
}

#[test]
fn urgent_frames_keep_their_order() {
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(b"bulk");
    outbox.end_frame();
    for frame in [&b"one "[..], b"two ", b"", b"three "] {
        outbox.push_urgent(Bytes::from_static(frame));
    }
    assert_eq!(held(&outbox), b"one two three bulk");
}

#[test]
fn a_cleared_outbox_is_as_new() {
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(b"half");
    outbox.consume(1);
    outbox.clear();
    outbox.push_urgent(Bytes::from_static(b"urgent"));
    assert_eq!(held(&outbox), b"urgent");
}
