//! Where every choice of a world comes from.

use bytes::{Buf, Bytes};

/// What makes the choices: a script, as long as there is one, and then a seed.
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    script: Option<Bytes>,
    generator: Generator,
}

impl Rng {
    /// The choices of a seed.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self { script: None, generator: Generator::new(seed) }
    }

    /// The choices that a script makes: each takes as many bytes as its bound has.
    #[must_use]
    pub(crate) fn of_script(script: &[u8]) -> Self {
        Self { script: Some(Bytes::copy_from_slice(script)), generator: Generator::new(0) }
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
            _ => self.generator.next(),
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

/// xoshiro256**, seeded through splitmix64: small, fast, and the same on every machine.
#[derive(Debug, Clone)]
struct Generator([u64; 4]);

impl Generator {
    fn new(seed: u64) -> Self {
        let mut state = seed;
        Self([(); 4].map(|()| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut bits = state;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            bits ^ (bits >> 31)
        }))
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }
}
