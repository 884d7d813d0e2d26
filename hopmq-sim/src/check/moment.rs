use std::fmt;
use std::time::Duration;

use crate::sim::Sim;
pub use crate::watches::Does;
use crate::watches::{Sight, Watch};

/// What a fault waits for once its time has come: that a host sends, receives, or wakes. Heartbeats are not counted
/// among what is sent and received.
///
/// What is broken for a millisecond, between an acknowledgement and a confirm or between two writes to a disk, is seldom hit by a fault
/// at any time, and often by one just then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The host.
    pub host: String,
    /// What it does.
    pub does: Does,
    /// Whom it sends to or receives from: anybody unless it is said. There is nobody to [wake](Does::Wakes) with.
    pub peer: Option<String>,
    /// How often, from 1 on: 2 lets one of them pass.
    pub nth: u64,
    /// How long after that the fault happens.
    pub delay: Duration,
}

impl Moment {
    /// Whether it waits for a host to wake with another: it wakes by itself.
    pub(super) fn never_comes(&self) -> bool {
        self.does == Does::Wakes && self.peer.is_some()
    }

    /// The next time that this host does this.
    #[must_use]
    pub fn new(host: &str, does: Does) -> Self {
        Self { host: host.to_owned(), does, peer: None, nth: 1, delay: Duration::ZERO }
    }

    /// Looks out for it from `since` on.
    pub(super) fn watch(&self, sim: &Sim, since: hopmq::Instant) -> Sight {
        let id = |name: &str| sim.host(name).id();
        let peer = self.peer.as_deref().map(id);
        let watch = Watch { host: id(&self.host), does: self.does, peer, since, nth: self.nth };
        Sight::new(&sim.world, watch)
    }
}

/// `as pay sends to rabbit`, `0.120 ms after pay receives for the 2nd time`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, does, peer, nth, delay } = self;
        if delay.is_zero() {
            f.write_str("as")?;
        } else {
            write!(f, "{:.3} ms after", delay.as_secs_f64() * 1000.0)?;
        }
        let (does, preposition) = match does {
            Does::Sends => ("sends", "to"),
            Does::Receives => ("receives", "from"),
            Does::Wakes => ("wakes", "with"),
        };
        write!(f, " {host} {does}")?;
        if let Some(peer) = peer {
            write!(f, " {preposition} {peer}")?;
        }
        match nth {
            0 | 1 => Ok(()),
            2 => f.write_str(" for the 2nd time"),
            3 => f.write_str(" for the 3rd time"),
            nth => write!(f, " for the {nth}th time"),
        }
    }
}
