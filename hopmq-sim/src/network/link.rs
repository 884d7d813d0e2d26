use std::fmt;
use std::time::Duration;

use hopmq::Instant;

use crate::random::Random;

/// Half a millisecond, as in a data centre.
const LATENCY: Duration = Duration::from_micros(500);
/// As much as Linux buffers for a connection that does not need more.
const WINDOW: usize = 256 * 1024;

/// What the network is like from one host to another.
///
/// Bytes of one connection arrive in their order. Unless it is said, they take half a millisecond and up to as much again, and
/// any number of them may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    pub(crate) bandwidth: Option<u64>,
    pub(crate) window: usize,
    pub(crate) segment: usize,
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

impl Link {
    /// As in a data centre.
    #[must_use]
    pub const fn new() -> Self {
        Self { latency: LATENCY, jitter: LATENCY, bandwidth: None, window: WINDOW, segment: usize::MAX }
    }

    /// From a host to itself.
    pub(crate) const fn loopback() -> Self {
        Self { latency: Duration::from_micros(10), jitter: Duration::ZERO, ..Self::new() }
    }

    /// How long each byte takes at least.
    #[must_use]
    pub const fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// How much longer a write may take; drawn anew for each.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Bytes per second, at least 1, of each connection. What is written at once arrives at once, when the last of it does.
    #[must_use]
    pub const fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = Some(if bytes_per_second == 0 { 1 } else { bytes_per_second });
        self
    }

    /// Bytes of a connection, at least 1, that may be on their way or unread before its writer has to wait: small ones
    /// make slow readers felt. For connections that are opened from now on.
    #[must_use]
    pub const fn window(mut self, bytes: usize) -> Self {
        self.window = if bytes == 0 { 1 } else { bytes };
        self
    }

    /// Bytes, at least 1, that one read gets at most: 1 makes every byte a read of its own.
    #[must_use]
    pub const fn segment(mut self, bytes: usize) -> Self {
        self.segment = if bytes == 0 { 1 } else { bytes };
        self
    }

    /// How long something takes that is sent now.
    pub(super) fn delay(&self, random: &mut Random) -> Duration {
        let jitter = u64::try_from(self.jitter.as_nanos()).unwrap_or(u64::MAX);
        if jitter == 0 {
            return self.latency;
        }
        self.latency.saturating_add(Duration::from_nanos(random.below(jitter)))
    }

    /// How long so many bytes keep the wire busy.
    pub(super) fn transmission(&self, bytes: usize) -> Duration {
        let Some(bandwidth) = self.bandwidth else { return Duration::ZERO };
        let nanos = (bytes as u128 * 1_000_000_000) / u128::from(bandwidth);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many bytes, begun ones among them, keep the wire busy for so long.
    pub(super) fn carries(&self, time: Duration) -> usize {
        let Some(bandwidth) = self.bandwidth else { return 0 };
        let bytes = (time.as_nanos() * u128::from(bandwidth)).div_ceil(1_000_000_000);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// `latency 0.500 ms, jitter 0.500 ms`, and what else is said of it.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |duration: Duration| format!("{:.3} ms", duration.as_secs_f64() * 1000.0);
        write!(f, "latency {}, jitter {}", millis(self.latency), millis(self.jitter))?;
        if let Some(bandwidth) = self.bandwidth {
            write!(f, ", {bandwidth} bytes a second")?;
        }
        if self.window != WINDOW {
            write!(f, ", windows of {} bytes", self.window)?;
        }
        if self.segment != usize::MAX {
            write!(f, ", at most {} bytes a read", self.segment)?;
        }
        Ok(())
    }
}

/// What becomes of connections that are dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Dials {
    #[default]
    Answered,
    Refused,
    /// Nobody answers at all.
    Swallowed,
}

/// What the network is like from one host to another at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    pub(super) link: Link,
    /// Nothing gets through.
    pub(super) is_partitioned: bool,
    pub(super) dials: Dials,
}

impl Path {
    pub(super) const fn new(link: Link) -> Self {
        Self { link, is_partitioned: false, dials: Dials::Answered }
    }
}

/// A time that does not come.
pub(super) const NEVER: Instant = Instant::from_nanos(u64::MAX);
