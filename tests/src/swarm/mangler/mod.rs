//! A transport that does what is legal and seldom: it understands frames, and rearranges them as any server, client or network might.
//!
//! | | |
//! |---|---|
//! | [`Habits`] | what it does, and how often |
//! | `frames` | frames out of bytes, and what of them may be rearranged |
//! | `confirms` | confirms of several messages in one, or in another order |
//! | `transport` | it, around another |

mod confirms;
mod frames;
mod transport;

pub(super) use transport::MangledDialer;

use hopmq_sim::{Heartbeat, Random};

/// What a mangler does, each of a hundred times.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Habits {
    /// Reads and writes are of a few bytes.
    pub(super) tiny: bool,
    /// A heartbeat comes before a frame.
    pub(super) heartbeats: u64,
    /// Frames of different channels overtake each other.
    pub(super) interleaves: bool,
    /// A piece of a body comes in two.
    pub(super) splits: u64,
    /// Confirms are merged, torn apart and shuffled.
    pub(super) confirms: bool,
    /// The server takes no publishes for a while.
    pub(super) blocks: u64,
    /// The server closes the connection, as an administrator makes it do.
    pub(super) closes: u64,
}

impl Habits {
    pub(super) fn draw(random: &mut Random, heartbeat: Heartbeat) -> Self {
        let mut often = |percent, times: &[u64]| {
            let is_on = random.percent(percent);
            times.get(random.below(times.len() as u64) as usize).copied().filter(|_| is_on).unwrap_or(0)
        };
        Self {
            tiny: often(15, &[1]) > 0,
            heartbeats: often(30, &[3, 50]),
            interleaves: often(40, &[1]) > 0,
            splits: often(30, &[10, 90]),
            confirms: often(50, &[1]) > 0,
            // Without heartbeats the frame may never come that ends it.
            blocks: if heartbeat == Heartbeat::Off { 0 } else { often(20, &[1, 10]) },
            closes: often(15, &[1, 3]),
        }
    }
}
