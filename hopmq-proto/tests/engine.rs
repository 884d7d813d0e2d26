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
    Finish(usize),
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

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![3 => vec(step(0), 0..30), 1 => vec(step(40), 0..30)]
}

/// `split` is the weight of frames in whose middle bytes may leave; whole ones have 20.
fn step(split: u32) -> impl Strategy<Value = Step> {
    let whole = |parts: Vec<_>| parts.into_iter().map(|part| (part, Leave::Nothing)).collect();
    prop_oneof![
        split => vec((part(), leave()), 1..4).prop_map(Step::Frame),
        20 => vec(part(), 1..4).prop_map(move |parts| Step::Frame(whole(parts))),
        8 => (0..40usize).prop_map(Step::Urgent),
        1 => (0..40usize).prop_map(Step::Finish),
        12 => leave().prop_map(Step::Leave),
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
    /// Bytes have left while something stayed, so that the outbox may start within a chunk and not know a boundary.
    blurred: bool,
    /// Bytes have left in the middle of a frame, which no owner does; boundaries are then missed, though not invented.
    split: bool,
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
            Step::Finish(len) => self.finish(*len),
            Step::Leave(leave) => self.leave(*leave),
        }
        self.check();
    }

    fn frame(&mut self, parts: &[(Part, Leave)]) {
        let frame = self.new_frame();
        for (part, leave) in parts {
            let (Part::Copied(len) | Part::Linked(len)) = *part;
            let octets = vec![Octet { frame, urgent: false, last: false }; len];
            match part {
                Part::Copied(_) => self.outbox.tail().extend_from_slice(&bytes(&octets)),
                Part::Linked(_) => self.outbox.link(bytes(&octets)),
            }
            self.stream.extend(octets);
            self.leave(*leave);
            self.split |= !matches!(leave, Leave::Nothing);
            self.check();
        }
        let end = Octet { frame, urgent: false, last: true };
        match parts.last() {
            Some((Part::Linked(_), _)) => self.outbox.link(bytes(&[end])), // as the codec ends a large body
            _ => self.outbox.tail().extend_from_slice(&bytes(&[end])),
        }
        self.stream.push(end);
        self.outbox.end_frame();
    }

    fn urgent(&mut self, len: usize) {
        let octets = self.new_octets(len, true);
        let before = held(&self.outbox);
        self.outbox.push_urgent(bytes(&octets));
        let after = held(&self.outbox);

        let first = self.first_boundary();
        let first = first + self.stream[first..].iter().take_while(|octet| octet.urgent).count();
        let at = self.place(first, |at| {
            after[..at] == before[..at]
                && after[at..].starts_with(&bytes(&octets))
                && after[at + octets.len()..] == before[at..]
        });
        self.stream.splice(at..at, octets);
    }

    fn finish(&mut self, len: usize) {
        let octets = self.new_octets(len, false);
        let before = held(&self.outbox);
        self.outbox.finish_with(bytes(&octets));
        let after = held(&self.outbox);

        let at = self
            .place(self.first_boundary(), |at| after[..at] == before[..at] && after[at..] == bytes(&octets));
        self.stream.splice(at.., octets);
    }

    /// The boundary at which a frame `is_there`, given how much of the outbox is before it: the `first`, or one not
    /// far behind it, since a chunk is sealed when it holds enough.
    fn place(&self, first: usize, is_there: impl Fn(usize) -> bool) -> usize {
        let mut allowed = (first..=self.stream.len()).filter(|at| self.is_boundary(*at));
        let at = allowed.find(|at| is_there(at - self.left));
        let at = at.expect("the frame is not at a boundary, or something else has moved");
        let largest = 3 * (SEAL_AT + 10) + 1;
        match (self.split, self.blurred) {
            (true, _) => {}
            (false, true) => {
                assert!(at - first <= SEAL_AT + 2 * largest, "the frame waits for {} bytes", at - first);
            }
            (false, false) => assert_eq!(at, first, "the frame waits behind what it may overtake"),
        }
        at
    }

    fn leave(&mut self, leave: Leave) {
        let left = self.left;
        self.pass(leave);
        self.blurred = (self.blurred || self.left > left) && !self.outbox.is_empty();
    }

    fn pass(&mut self, leave: Leave) {
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
        let expected = bytes(&self.stream);
        assert_eq!(held(&self.wire), &expected[self.written..self.left]);
        assert_eq!(held(&self.outbox), &expected[self.left..]);
    }

    fn new_frame(&mut self) -> usize {
        self.frames += 1;
        self.frames
    }

    fn new_octets(&mut self, len: usize, urgent: bool) -> Vec<Octet> {
        let frame = self.new_frame();
        let mut octets = vec![Octet { frame, urgent, last: false }; len];
        octets.push(Octet { frame, urgent, last: true });
        octets
    }

    fn is_boundary(&self, at: usize) -> bool {
        at == 0 || self.stream[at - 1].last
    }

    /// The first place where a frame may start.
    fn first_boundary(&self) -> usize {
        (self.left..).find(|at| self.is_boundary(*at)).unwrap()
    }
}

fn bytes(octets: &[Octet]) -> Bytes {
    octets.iter().map(|octet| octet.byte()).collect()
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
    fn an_outbox_keeps_its_bytes_in_order(steps in steps()) {
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
