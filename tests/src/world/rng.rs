//! Where every choice of a world comes from.

use bytes::{Buf, Bytes};
use hopmq_sim::Random;

/// What makes the choices: a script, as long as there is one, and then a seed.
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    script: Option<Bytes>,
    random: Random,
}

impl Rng {
    /// The choices of a seed.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self { script: None, random: Random::new(seed) }
    }

    /// The choices that a script makes: each takes as many bytes as its bound has.
    #[must_use]
    pub(crate) fn of_script(script: &[u8]) -> Self {
        Self { script: Some(Bytes::copy_from_slice(script)), random: Random::new(0) }
    }

    /// There was a script, and nothing is left of it.
    pub(crate) fn is_over(&self) -> bool {
        self.script.as_ref().is_some_and(Bytes::is_empty)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let number = match &mut self.script {
            Some(script) if !script.is_empty() => {
                let width = (u64::BITS - (bound - 1).leading_zeros()).div_ceil(8) as usize;
                script.get_uint(width.min(script.len()))
            }
            _ => self.random.next_u64(),
        };
        number % bound // the bias is far below what a test world could notice
    }

    /// An index into something of this length, which is not 0.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }
}
