mod channels;
mod phrase;
mod said;
mod talk;
mod voice;
mod words;

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::time::Duration;

use hopmq::Instant;

pub(crate) use said::Said;
pub(crate) use talk::Talk;

use crate::network::HostId;

/// How many lines a digest has before the beginning or the end of a fault, and from its own on.
const BEFORE: usize = 5;
const BEHIND: usize = 8;
/// What one side writes within this time, with nothing between, is one line.
const BURST: Duration = Duration::from_millis(10);

/// What happens in a world: all of it in a hash, the last of it to be read.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    last: VecDeque<(Instant, What)>,
    /// How many are kept.
    kept: usize,
    /// Everything is told at once, too.
    is_told: bool,
    names: Vec<String>,
    /// How many of what is kept there were when each fault began, or was over.
    marks: Vec<usize>,
}

/// Something that a reader wants to know of.
#[derive(Debug)]
pub(crate) enum What {
    /// A connection, by its number, from a host to a port of another.
    Open {
        line: u64,
        from: HostId,
        to: HostId,
        port: u16,
    },
    Refused {
        from: HostId,
        to: HostId,
        port: u16,
    },
    /// So many bytes were written, by one side, and what they say, if anybody reads it.
    Bytes {
        line: u64,
        side: usize,
        from: HostId,
        to: HostId,
        count: u64,
        said: Option<Said>,
    },
    /// One side will write no more.
    End {
        line: u64,
        from: HostId,
        to: HostId,
    },
    /// One side is told that there is no connection any more.
    Reset {
        line: u64,
        from: HostId,
        to: HostId,
    },
    /// Something happens to a host.
    Host {
        host: HostId,
        is: &'static str,
    },
    /// Something happens between two hosts.
    Between {
        from: HostId,
        to: HostId,
        is: &'static str,
    },
    /// What the test has to say.
    Note(String),
}

impl Trace {
    pub(crate) const fn new(kept: usize, is_told: bool) -> Self {
        Self {
            hash: 0xCBF2_9CE4_8422_2325,
            last: VecDeque::new(),
            kept,
            is_told,
            names: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// A host has been added.
    pub(crate) fn name(&mut self, name: &str) {
        self.names.push(name.to_owned());
        self.mix_bytes(name.as_bytes());
    }

    /// Whether anybody will read what has happened.
    pub(crate) const fn is_read(&self) -> bool {
        self.is_told || self.kept > 0
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Something that counts, and that nobody wants to read.
    pub(crate) const fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.hash ^= self.hash >> 29;
    }

    pub(crate) fn mix_bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
    }

    pub(crate) fn add(&mut self, now: Instant, what: What) {
        let (kind, values) = what.values();
        self.mix(kind << 56 ^ now.as_nanos());
        values.into_iter().for_each(|value| self.mix(value));
        match &what {
            What::Note(text) => self.mix_bytes(text.as_bytes()),
            What::Host { is, .. } | What::Between { is, .. } => self.mix_bytes(is.as_bytes()),
            _ => {}
        }
        if self.is_told {
            tell(&self.line(now, &what));
        }
        self.keep(now, what);
    }

    fn keep(&mut self, now: Instant, what: What) {
        if self.kept == 0 {
            return;
        }
        if matches!(&what, What::Bytes { said: Some(said), .. } if said.is_heartbeat()) {
            return; // they would be all that a report has to tell
        }
        let what = match self.last.back_mut() {
            Some((at, last)) if now - *at <= BURST => last.join(what),
            _ => Some(what),
        };
        let Some(what) = what else { return };
        if self.last.len() >= self.kept {
            self.last.pop_front();
        }
        self.last.push_back((now, what));
    }

    /// A fault begins, or is over.
    pub(crate) fn mark(&mut self) {
        self.marks.push(self.last.len());
    }

    /// What happened around each mark, and the last so many lines; for a trace that keeps everything. Of what opens a connection there is
    /// only that it is open.
    pub(crate) fn digest(&self, tail: usize) -> String {
        let worth = |at: &usize| !self.last.get(*at).is_some_and(|(_, what)| what.is_opening());
        let lines: Vec<usize> = (0..self.last.len()).filter(worth).collect();
        let marks: Vec<usize> =
            self.marks.iter().map(|mark| lines.partition_point(|line| line < mark)).collect();
        let is_told = |at: usize| {
            let is_near = |mark: &usize| at + BEFORE >= *mark && at < mark + BEHIND;
            at + tail >= lines.len() || marks.iter().any(is_near)
        };
        let (mut text, mut told) = (String::new(), 0);
        for (at, line) in lines.iter().enumerate().filter(|(at, _)| is_told(*at)) {
            let Some((time, what)) = self.last.get(*line) else { continue };
            if at > told {
                text.push_str("            ...\n");
            }
            told = at + 1;
            text.push_str(&self.line(*time, what));
            text.push('\n');
        }
        text
    }

    /// The first thing that both traces have at the same place, and that is not the same: what each has, if it has anything.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<[Option<String>; 2]> {
        let line = |trace: &Self, at: usize| trace.last.get(at).map(|(time, what)| trace.line(*time, what));
        let all = self.last.len().max(other.last.len());
        (0..all).map(|at| [line(self, at), line(other, at)]).find(|[one, other]| one != other)
    }

    /// The last of what happened, a line each.
    pub(crate) fn last(&self) -> String {
        let mut lines = String::new();
        for (at, what) in &self.last {
            lines.push_str(&self.line(*at, what));
            lines.push('\n');
        }
        lines
    }

    fn line(&self, at: Instant, what: &What) -> String {
        let mut line = format!("{:>14} ", Seconds(at));
        let name = |host: &HostId| self.names.get(host.0).map_or("?", String::as_str);
        // Writing to a string does not fail.
        let _ = match what {
            What::Open { line: number, from, to, port } => {
                write!(line, "{} → {}:{port}  connects, as #{number}", name(from), name(to))
            }
            What::Refused { from, to, port } => {
                write!(line, "{} → {}:{port}  is refused", name(from), name(to))
            }
            What::Bytes { line: number, from, to, count, said, .. } => {
                let said = said.as_ref().filter(|said| !said.is_nothing()).map(Said::to_string);
                let said = said.unwrap_or_else(|| format!("{count} bytes"));
                write!(line, "{} → {}  #{number} {said}", name(from), name(to))
            }
            What::End { line: number, from, to } => {
                write!(line, "{} → {}  #{number} ends", name(from), name(to))
            }
            What::Reset { line: number, from, to } => {
                write!(line, "{} → {}  #{number} is reset", name(from), name(to))
            }
            What::Host { host, is } => write!(line, "{} {is}", name(host)),
            What::Between { from, to, is } => write!(line, "{} – {}  {is}", name(from), name(to)),
            What::Note(text) => write!(line, "{text}"),
        };
        line
    }
}

#[allow(clippy::print_stderr)] // somebody has asked for it, and the test harness captures it
fn tell(line: &str) {
    eprintln!("{line}");
}

impl What {
    /// Whether nothing is said but what comes before a connection is open.
    fn is_opening(&self) -> bool {
        matches!(self, Self::Bytes { said: Some(said), .. } if said.is_opening())
    }

    /// Takes what comes next, if both are one burst on one connection; or else gives it back.
    fn join(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (
                Self::Bytes { line, side, count, said: own, .. },
                Self::Bytes { line: same_line, side: same_side, count: more, said, .. },
            ) if (*line, *side) == (same_line, same_side) => {
                *count += more;
                if let (Some(own), Some(said)) = (own, said) {
                    own.join(said);
                }
                None
            }
            (_, next) => Some(next),
        }
    }

    const fn values(&self) -> (u64, [u64; 4]) {
        match self {
            Self::Open { line, from, to, port } => (1, [*line, from.0 as u64, to.0 as u64, *port as u64]),
            Self::Refused { from, to, port } => (2, [from.0 as u64, to.0 as u64, *port as u64, 0]),
            Self::Bytes { line, from, to, count, .. } => (3, [*line, from.0 as u64, to.0 as u64, *count]),
            Self::End { line, from, to } => (4, [*line, from.0 as u64, to.0 as u64, 0]),
            Self::Reset { line, from, to } => (5, [*line, from.0 as u64, to.0 as u64, 0]),
            Self::Host { host, .. } => (6, [host.0 as u64, 0, 0, 0]),
            Self::Between { from, to, .. } => (7, [from.0 as u64, to.0 as u64, 0, 0]),
            Self::Note(text) => (8, [text.len() as u64, 0, 0, 0]),
        }
    }
}

/// A time of the world in seconds, as it is printed.
pub(crate) struct Seconds(pub(crate) Instant);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_nanos() / 1000;
        f.pad(&format!("{}.{:06} s", micros / 1_000_000, micros % 1_000_000))
    }
}
