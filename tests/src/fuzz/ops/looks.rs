use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::BytesMut;
use hopmq_proto::client::ChannelId;
use hopmq_proto::{Instant, Want};

use super::engine::Client;

/// An owner who looks at everything all the time, or as little as the contract demands.
///
/// Which of the two it is, must not matter: whatever is asked, the engine does the same.
pub(super) struct Looks {
    curious: bool,
    state: u64,
    cuts: Cuts,
    cut: u64,
}

/// Who hands in the input in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cuts {
    Nobody,
    /// Only who looks: it must not matter.
    Curious,
    /// Everybody, and at the same places: it may matter what is answered first.
    Both,
}

impl Looks {
    pub(super) const fn new(curious: bool, cuts: Cuts) -> Self {
        let state = 0x9E37_79B9_7F4A_7C15;
        Self { curious, state, cuts, cut: state }
    }

    /// A number below `bound`; 0 for who does not look.
    pub(super) fn draw(&mut self, bound: u64) -> u64 {
        if self.curious { next(&mut self.state) % bound } else { 0 }
    }

    /// How many bytes are handed in next.
    pub(super) fn piece(&mut self, len: usize) -> usize {
        match self.cuts {
            Cuts::Curious if self.curious => {}
            Cuts::Both => {}
            Cuts::Nobody | Cuts::Curious => return len,
        }
        let most = [1, 2, 7, 8, 13, 64, 1000, usize::MAX];
        len.min(most[usize::try_from(next(&mut self.cut) % 8).unwrap_or(0)])
    }

    /// Asks this and that.
    pub(super) fn look<C: Client>(&mut self, engine: &mut C, now: Instant, channel: Option<ChannelId>) {
        for _ in 0..self.draw(4) {
            match self.draw(9) {
                0 => assert_eq!(engine.poll_timeout(), engine.poll_timeout()),
                1 => assert_eq!(engine.want(), engine.want()),
                2 => {
                    let outbox = engine.outbox();
                    assert_eq!(outbox.chunks().map(<[u8]>::len).sum::<usize>(), outbox.len());
                }
                3 => engine.outbox().consume(0),
                4 => engine.handle_input(&mut BytesMut::new(), now),
                // One that wants its transport closed has time again when it is.
                5 | 6
                    if engine.want() != Want::Shutdown
                        && engine.poll_timeout().is_none_or(|due| due > now) =>
                {
                    engine.handle_timeout(now);
                }
                7 => {
                    if let Some(channel) = channel {
                        let (open, _) = (engine.check_channel(channel), engine.last_queue(channel));
                        assert_eq!(open, engine.check_channel(channel));
                    }
                }
                _ => engine.look(),
            }
        }
    }
}

/// Knuth's linear congruence: which numbers does not matter, that they are the same does.
const fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// What came of each step, as a number.
#[derive(Default)]
pub(super) struct Trace {
    hasher: DefaultHasher,
    steps: Vec<u64>,
}

impl Trace {
    pub(super) fn note(&mut self, what: impl Hash) {
        what.hash(&mut self.hasher);
    }

    pub(super) fn end_step(&mut self) {
        self.steps.push(self.hasher.finish());
    }

    /// Holds two runs of one script against each other.
    pub(super) fn assert_same(&self, other: &Self) {
        let differs = self.steps.iter().zip(&other.steps).position(|(one, other)| one != other);
        assert_eq!(differs, None, "from this step on it matters who looks, or how the input is cut");
        assert_eq!(self.steps.len(), other.steps.len());
    }
}
