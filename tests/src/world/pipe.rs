//! One direction of a connection: bytes under way, in order, late, in pieces, or lost with all that follows.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hopmq_proto::{Instant, Outbox};

use super::rng::Rng;

/// What comes out of a pipe.
#[derive(Debug, Clone)]
pub(super) enum Arrival {
    Bytes(Bytes),
    /// The writer has shut its side down.
    Eof,
    /// The connection broke.
    Reset,
}

/// How a pipe cuts what goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    Whole,
    /// Octet by octet, up to a point: nobody needs a large body that way.
    Octets,
    Small,
    Mixed,
}

/// The stream from one side to the other.
#[derive(Debug)]
pub(super) struct Pipe {
    queue: VecDeque<(Instant, Arrival)>,
    in_flight: usize,
    pub(super) capacity: usize,
    /// The longest that a piece takes.
    pub(super) latency: Duration,
    split: Split,
    stalled_until: Instant,
    last_at: Instant,
    /// Nothing more goes in.
    pub(super) ended: bool,
    /// Nobody reads any more, so what goes in is lost.
    pub(super) deaf: bool,
    octets: usize,
}

impl Pipe {
    pub(super) fn new(rng: &mut Rng, capacity: usize, latency: Duration) -> Self {
        let split = rng.pick(&[Split::Whole, Split::Octets, Split::Small, Split::Mixed, Split::Mixed]);
        Self {
            queue: VecDeque::new(),
            in_flight: 0,
            capacity,
            latency,
            split,
            stalled_until: Instant::ZERO,
            last_at: Instant::ZERO,
            ended: false,
            deaf: false,
            octets: 0,
        }
    }

    /// Takes what there is room for out of `outbox`, and tells how much that was.
    pub(super) fn send(
        &mut self,
        rng: &mut Rng,
        now: Instant,
        outbox: &mut Outbox,
        mut seen: impl FnMut(&[u8]),
    ) -> usize {
        let before = outbox.len();
        if self.deaf || self.ended {
            outbox.consume(before);
            return before;
        }
        if self.in_flight > self.capacity / 2 {
            return 0; // as sockets do: no room is told of until it is worth a write
        }
        while !outbox.is_empty() && self.in_flight < self.capacity {
            let size = self.piece(rng).min(outbox.len()).min(self.capacity - self.in_flight);
            let piece = front(outbox, size);
            outbox.consume(size);
            seen(&piece);
            self.in_flight += size;
            self.push(rng, now, Arrival::Bytes(piece));
        }
        before - outbox.len()
    }

    fn piece(&mut self, rng: &mut Rng) -> usize {
        self.octets += 1;
        match self.split {
            Split::Octets if self.octets < 1200 => 1,
            Split::Whole | Split::Octets => usize::MAX,
            Split::Small if self.octets < 1200 => rng.between(1, 40) as usize,
            Split::Small => rng.between(1, 8000) as usize,
            Split::Mixed if self.octets > 1200 => usize::MAX,
            Split::Mixed => match rng.below(4) {
                0 => 1,
                1 => rng.between(2, 30) as usize,
                _ => rng.between(1, 9000) as usize,
            },
        }
    }

    fn push(&mut self, rng: &mut Rng, now: Instant, arrival: Arrival) {
        let nanos = self.latency.as_nanos() as u64;
        let late = if rng.percent(70) { nanos / 8 } else { nanos };
        self.last_at = self.last_at.max(now + Duration::from_nanos(rng.below(late + 1)));
        self.queue.push_back((self.last_at, arrival));
    }

    /// Nothing more follows.
    pub(super) fn end(&mut self, rng: &mut Rng, now: Instant) {
        if !self.ended {
            self.ended = true;
            self.push(rng, now, Arrival::Eof);
        }
    }

    /// The connection breaks: what is under way is lost, in part, and the reader learns of it some time.
    pub(super) fn cut(&mut self, rng: &mut Rng, now: Instant, learns_after: Duration) {
        self.queue.truncate(rng.index(self.queue.len() + 1));
        self.ended = true;
        self.stalled_until = Instant::ZERO;
        self.last_at = self.last_at.max(now + learns_after);
        let arrival = if rng.percent(50) { Arrival::Eof } else { Arrival::Reset };
        self.queue.push_back((self.last_at, arrival));
    }

    /// Nothing comes out for so long.
    pub(super) fn stall(&mut self, until: Instant) {
        self.stalled_until = self.stalled_until.max(until);
    }

    /// The network is good again.
    pub(super) fn heal(&mut self, now: Instant) {
        self.stalled_until = self.stalled_until.min(now);
        self.capacity = self.capacity.max(1 << 16);
        self.latency = self.latency.min(Duration::from_millis(5));
        for (at, _) in &mut self.queue {
            *at = (*at).min(now + self.latency);
        }
        self.last_at = self.last_at.min(now + self.latency);
    }

    /// When something comes out next.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.queue.front().map(|(at, _)| (*at).max(self.stalled_until))
    }

    pub(super) fn pop(&mut self) -> Option<Arrival> {
        let (_, arrival) = self.queue.pop_front()?;
        if let Arrival::Bytes(bytes) = &arrival {
            self.in_flight -= bytes.len();
        }
        Some(arrival)
    }

    /// Nobody reads any more.
    pub(super) fn close_reader(&mut self) {
        self.deaf = true;
        self.queue.clear();
        self.in_flight = 0;
    }
}

fn front(outbox: &Outbox, size: usize) -> Bytes {
    let mut piece = Vec::with_capacity(size);
    for chunk in outbox.chunks() {
        let missing = size - piece.len();
        piece.extend_from_slice(&chunk[..chunk.len().min(missing)]);
        if piece.len() == size {
            break;
        }
    }
    piece.into()
}
