use std::fmt::{self, Write as _};

use hopmq::ProtocolVersion;
use hopmq_proto::amqp::Method;

use super::words::words;

/// A protocol header, by its name.
const HEADER: &str = "protocol header";

/// Something that is said, once or several times in a row: a method, with the content that it carries.
#[derive(Debug)]
pub(super) struct Phrase {
    name: &'static str,
    /// Of which delivery, or publish; the first and the last.
    tags: Option<(u64, u64)>,
    words: String,
    channel: Option<u16>,
    /// Of bodies.
    bytes: Option<u64>,
    times: u64,
}

impl Phrase {
    pub(super) const fn new(name: &'static str, channel: Option<u16>) -> Self {
        Self { name, tags: None, words: String::new(), channel, bytes: None, times: 1 }
    }

    /// A protocol header.
    pub(super) fn of_version(version: [u8; 4]) -> Self {
        Self { words: ProtocolVersion(version).to_string(), ..Self::new(HEADER, None) }
    }

    pub(super) fn of(method: &Method, channel: Option<u16>) -> Self {
        let tag = match method {
            Method::BasicDeliver(deliver) => Some(deliver.delivery_tag),
            Method::BasicGetOk(got) => Some(got.delivery_tag),
            Method::BasicAck(ack) => Some(ack.delivery_tag),
            Method::BasicNack(nack) => Some(nack.delivery_tag),
            Method::BasicReject(reject) => Some(reject.delivery_tag),
            _ => None,
        };
        let tags = tag.map(|tag| (tag, tag));
        Self { tags, words: words(method), ..Self::new(method.name(), channel) }
    }

    /// With a body of so many bytes.
    pub(super) fn with_bytes(self, bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    /// Something else has come in place of the rest of its content.
    pub(super) fn cut_short(self) -> Self {
        Self { words: self.words + " (cut short)", ..self }
    }

    /// Whether it comes before a connection is open: what opens it at last does not.
    pub(super) fn is_opening(&self) -> bool {
        let opening = [
            "connection.Start",
            "connection.StartOk",
            "connection.Tune",
            "connection.TuneOk",
            "connection.Open",
        ];
        self.name == HEADER || opening.contains(&self.name)
    }

    pub(super) const fn times(&self) -> u64 {
        self.times
    }

    /// Takes what follows, if it says the same of what comes next.
    pub(super) fn join(&mut self, next: &Self) -> bool {
        let is_next = match (self.tags, next.tags) {
            (Some((_, last)), Some((first, _))) => last.checked_add(1) == Some(first),
            (own, others) => own.is_none() && others.is_none(),
        };
        let is_same = self.name == next.name && self.channel == next.channel && self.words == next.words;
        if !is_next || !is_same || self.bytes.is_some() != next.bytes.is_some() {
            return false;
        }
        self.tags = self.tags.zip(next.tags).map(|((first, _), (_, last))| (first, last));
        self.bytes = self.bytes.zip(next.bytes).map(|(own, others)| own.saturating_add(others));
        self.times += next.times;
        true
    }
}

/// `3 x basic.deliver #1 to #3 of 'orders' on channel 2, 21 bytes`.
impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.times > 1 {
            write!(f, "{} x ", self.times)?;
        }
        write_name(f, self.name)?;
        match self.tags {
            Some((first, last)) if first == last => write!(f, " #{first}")?,
            Some((first, last)) => write!(f, " #{first} to #{last}")?,
            None => {}
        }
        if !self.words.is_empty() {
            write!(f, " {}", self.words.trim_start())?;
        }
        if let Some(channel) = self.channel {
            write!(f, " on channel {channel}")?;
        }
        match self.bytes {
            Some(1) => f.write_str(", 1 byte"),
            Some(bytes) => write!(f, ", {bytes} bytes"),
            None => Ok(()),
        }
    }
}

/// `queue.DeclareOk` as the specification has it: `queue.declare-ok`.
fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let mut before = '.';
    for char in name.chars() {
        if char.is_ascii_uppercase() && before != '.' {
            f.write_char('-')?;
        }
        f.write_char(char.to_ascii_lowercase())?;
        before = char;
    }
    Ok(())
}
