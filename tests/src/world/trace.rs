//! What happened, as a hash, and as lines when somebody wants to read it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hopmq_proto::Instant;

/// The lines of a trace, which outlive a world that panics.
#[derive(Debug, Clone)]
pub struct Lines {
    kept: Arc<Mutex<VecDeque<String>>>,
    last: usize,
}

impl Lines {
    /// Keeps the last so many lines.
    #[must_use]
    pub fn keeping(last: usize) -> Self {
        Self { kept: Arc::default(), last }
    }

    /// The lines kept.
    #[must_use]
    pub fn text(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().flat_map(|line| [line, "\n"]).collect()
    }

    fn push(&self, line: String) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == self.last {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

/// Hashes every event and every byte in the order they happen. Two runs with the same hash did the same.
#[derive(Debug)]
pub(super) struct Trace {
    hash: Hash,
    lines: Option<Lines>,
    steps: u64,
}

impl Trace {
    pub(super) fn new(lines: Option<Lines>) -> Self {
        Self { hash: Hash::default(), lines, steps: 0 }
    }

    pub(super) fn note(&mut self, now: Instant, what: fmt::Arguments<'_>) {
        self.steps += 1;
        self.hash.word(now.as_nanos());
        // Hashing cannot fail.
        let _ = fmt::write(&mut self.hash, what);
        if let Some(lines) = &self.lines {
            lines.push(format!("{now:?} {what}"));
        }
    }

    pub(super) fn bytes(&mut self, now: Instant, label: fmt::Arguments<'_>, bytes: &[u8]) {
        self.steps += 1;
        self.hash.bytes(bytes);
        if let Some(lines) = &self.lines {
            let shown = &bytes[..bytes.len().min(24)];
            lines.push(format!("{now:?} {label} {} bytes {shown:02x?}", bytes.len()));
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.0
    }

    /// How many things have been noted.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }
}

/// FNV-1a over words of eight bytes.
#[derive(Debug)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Hash {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        for octet in rest {
            self.word(u64::from(*octet));
        }
    }
}

impl fmt::Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}
