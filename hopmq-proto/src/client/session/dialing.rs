use alloc::vec::Vec;
use core::time::Duration;

use super::recovery::{Backoff, Recovery};
use crate::Instant;

/// Which endpoint is tried next, and when: rounds over all of them, with a wait before each.
#[derive(Debug)]
pub(super) struct Dialing {
    endpoints: usize,
    /// Those that this round has still to try, the next one last.
    order: Vec<usize>,
    /// When this round must be over.
    deadline: Instant,
    /// How many rounds have begun since the last sound connection.
    rounds: u32,
    /// How many attempts were made, ever.
    attempts: u32,
    random: Random,
}

/// One attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) endpoint: usize,
    pub(super) number: u32,
    /// Dialling and handshake must be over then.
    pub(super) deadline: Instant,
}

impl Dialing {
    pub(super) fn new(endpoints: usize, seed: u64) -> Self {
        let deadline = Instant::ZERO;
        Self { endpoints, order: Vec::new(), deadline, rounds: 0, attempts: 0, random: Random(seed) }
    }

    /// Begins a round, which may take `timeout`.
    pub(super) fn start_round(&mut self, shuffle: bool, timeout: Duration, now: Instant) {
        self.rounds = self.rounds.saturating_add(1);
        self.deadline = now + timeout;
        self.order = (0..self.endpoints).rev().collect();
        if shuffle {
            for at in (1..self.order.len()).rev() {
                let other = usize::try_from(self.random.below(at as u64 + 1)).unwrap_or(at);
                self.order.swap(at, other);
            }
        }
    }

    /// The next attempt of this round: it gets its share of the time that is left.
    pub(super) fn next(&mut self, now: Instant) -> Option<Attempt> {
        let left = u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        let endpoint = self.order.pop()?;
        self.attempts = self.attempts.wrapping_add(1);
        let share = (self.deadline - now) / left.max(1);
        Some(Attempt { endpoint, number: self.attempts, deadline: now + share })
    }

    /// Whether this round has more endpoints to try.
    pub(super) fn has_next(&self) -> bool {
        !self.order.is_empty()
    }

    /// How many rounds were made since the last sound connection.
    pub(super) const fn rounds(&self) -> u32 {
        self.rounds
    }

    /// A connection has lasted.
    pub(super) fn on_stable(&mut self) {
        self.rounds = 0;
    }

    /// How long to wait before the next round.
    pub(super) fn wait(&mut self, recovery: &Recovery) -> Duration {
        let Backoff { initial, factor, max, jitter_percent } = recovery.backoff;
        let mut wait = initial.min(max);
        for _ in 0..self.rounds {
            if wait >= max || factor < 2 {
                break;
            }
            wait = wait.saturating_mul(factor).min(max);
        }
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let chance = nanos / 100 * u64::from(jitter_percent.min(100));
        Duration::from_nanos(nanos - self.random.below(chance.saturating_add(1)))
    }

    pub(super) fn random(&mut self) -> u64 {
        self.random.next()
    }
}

/// Numbers that look random and are not: the same for the same seed. `SplitMix64`, by Steele, Lea and Flood.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
